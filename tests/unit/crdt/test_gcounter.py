"""Grow-only counters: each replica counts for itself."""

import pytest

from chrysalis_memory import GCounter
from chrysalis_memory.errors import InvalidDocument, InvalidValue

HUGE = pytest.param(10**5000, id="more digits than Python prints")


def test_the_value_is_the_sum_over_all_replicas():
    counter = GCounter()
    assert 0 == counter.value
    assert 2 == counter.increment("laptop", 2)
    assert 1 == counter.increment("server")
    assert 3 == counter.increment("laptop")
    assert 4 == counter.value


def test_counts_of_different_replicas_add_up_when_merged():
    a, b = GCounter({"laptop": 2}), GCounter({"server": 3})
    assert 5 == a.merge(b).value == b.merge(a).value


def test_a_count_seen_twice_is_counted_once():
    a = GCounter({"laptop": 2})
    b = a.merge(GCounter())
    b.increment("laptop")
    assert 3 == a.merge(b).value == b.merge(a).merge(b).value


def test_a_merged_counter_is_independent_of_its_inputs():
    a = GCounter({"laptop": 1})
    a.merge(GCounter()).increment("laptop")
    GCounter().merge(a).increment("laptop")
    assert {"laptop": 1} == a.to_dict()


@pytest.mark.parametrize("amount", [0, -1, 1.0, True, "1", None, float("nan")])
def test_a_counter_grows_by_a_positive_integer_only(amount):
    counter = GCounter({"laptop": 1})
    with pytest.raises(InvalidValue):
        counter.increment("laptop", amount)
    assert {"laptop": 1} == counter.to_dict()


@pytest.mark.parametrize("amount", [2**62, 2**64, HUGE])
def test_a_count_that_could_not_be_written_is_refused(amount):
    counter = GCounter({"laptop": 1})
    with pytest.raises(InvalidValue):
        counter.increment("laptop", amount)
    assert counter == GCounter.from_bytes(counter.to_bytes())


@pytest.mark.parametrize("name", [None, 1, "nul\0", "\ud800"])
def test_a_replica_name_must_be_text(name):
    counter = GCounter()
    with pytest.raises(InvalidValue):
        counter.increment(name)
    assert {} == counter.to_dict()


def test_json_is_canonical_and_comes_back():
    counter = GCounter({"b": 2, "a": 1})
    assert '{"a":1,"b":2}' == counter.to_json()
    assert counter == GCounter.from_json(counter.to_json())
    assert counter == GCounter.from_bytes(counter.to_bytes())


def test_bytes_do_not_depend_on_the_order_of_writing():
    assert GCounter({"b": 2, "a": 1}).to_bytes() == GCounter({"a": 1, "b": 2}).to_bytes()


@pytest.mark.parametrize("text", ["[]", "null", "0", "false", '""', '{"a":0}', '{"a":1.5}'])
def test_json_of_another_shape_is_refused(text):
    with pytest.raises(InvalidValue):
        GCounter.from_json(text)


def test_what_is_not_json_is_refused():
    with pytest.raises(InvalidDocument):
        GCounter.from_json("{")


def test_a_counter_equals_only_counters_and_has_no_hash():
    assert GCounter() != {}
    with pytest.raises(TypeError):
        hash(GCounter())


def test_repr_shows_the_counts_in_order():
    assert "GCounter({'a': 1, 'b': 2})" == repr(GCounter({"b": 2, "a": 1}))
