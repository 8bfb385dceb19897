"""Vector clocks tell whether two versions knew of one another."""

import pytest

from chrysalis_memory import VectorClock
from chrysalis_memory.errors import InvalidDocument, InvalidValue


def test_ticking_counts_the_events_of_one_replica():
    clock = VectorClock()
    assert [1, 2] == [clock.tick("laptop"), clock.tick("laptop")]
    assert (2, 0) == (clock.get("laptop"), clock.get("server"))


def test_clocks_that_each_know_something_the_other_does_not_are_concurrent():
    a, b = VectorClock({"laptop": 2, "server": 1}), VectorClock({"laptop": 1, "server": 2})
    assert a.concurrent(b)
    assert not a.happened_before(b)
    assert not b.happened_before(a)


def test_a_clock_happened_before_one_that_knows_more():
    a, b = VectorClock({"laptop": 1}), VectorClock({"laptop": 1, "server": 1})
    assert a.happened_before(b)
    assert not b.happened_before(a)
    assert not a.concurrent(b)


def test_an_empty_clock_happened_before_every_other():
    assert VectorClock().happened_before(VectorClock({"laptop": 1}))
    assert not VectorClock().happened_before(VectorClock())


def test_equal_clocks_are_neither_ordered_nor_concurrent():
    a, b = VectorClock({"laptop": 1, "server": 2}), VectorClock({"server": 2, "laptop": 1})
    assert a == b
    assert not a.happened_before(b)
    assert not a.concurrent(b)


def test_merge_knows_what_both_know_and_changes_neither():
    a, b = VectorClock({"laptop": 3, "server": 1}), VectorClock({"server": 2})
    assert VectorClock({"laptop": 3, "server": 2}) == a.merge(b)
    assert ({"laptop": 3, "server": 1}, {"server": 2}) == (a.to_dict(), b.to_dict())


def test_a_merged_clock_is_independent_of_its_inputs():
    a = VectorClock({"laptop": 1})
    a.merge(VectorClock()).tick("laptop")
    VectorClock().merge(a).tick("laptop")
    assert {"laptop": 1} == a.to_dict()


def test_a_clock_does_not_share_the_mapping_it_was_made_from_or_gives_out():
    counts = {"laptop": 1}
    clock = VectorClock(counts)
    counts["laptop"] = 9
    clock.to_dict()["laptop"] = 9
    assert 1 == clock.get("laptop")


def test_json_is_canonical():
    assert '{"a":1,"b":2}' == VectorClock({"b": 2, "a": 1}).to_json()


def test_bytes_do_not_depend_on_the_order_of_writing():
    assert VectorClock({"b": 2, "a": 1}).to_bytes() == VectorClock({"a": 1, "b": 2}).to_bytes()


def test_a_clock_does_not_equal_another_type():
    assert VectorClock() != {}


def test_a_clock_has_no_hash_because_it_changes():
    with pytest.raises(TypeError):
        hash(VectorClock())


def test_repr_shows_the_counts_in_order():
    assert "VectorClock({'a': 1, 'b': 2})" == repr(VectorClock({"b": 2, "a": 1}))


@pytest.mark.parametrize("name", [None, 1, b"laptop", "nul\0", "\ud800"])
def test_a_replica_name_must_be_text_and_a_refused_tick_changes_nothing(name):
    clock = VectorClock({"laptop": 1})
    with pytest.raises(InvalidValue):
        clock.tick(name)
    assert {"laptop": 1} == clock.to_dict()


@pytest.mark.parametrize("counts", [{"a": 0}, {"a": -1}, {"a": True}, {"a": 1.0}, {1: 1}, "ab"])
def test_counts_are_positive_integers_by_name(counts):
    with pytest.raises(InvalidValue):
        VectorClock(counts)


@pytest.mark.parametrize("text", ["[]", "null", "0", "false", '""', '["a"]', '{"a":"1"}'])
def test_json_of_another_shape_is_refused(text):
    with pytest.raises(InvalidValue):
        VectorClock.from_json(text)


@pytest.mark.parametrize("text", ["", "{", "NaN", '{"a":1,"a":2}'])
def test_what_is_not_json_is_refused(text):
    with pytest.raises(InvalidDocument):
        VectorClock.from_json(text)


@pytest.mark.parametrize("data", [b"", b"\x80\x80", b"\xc1", b"\xff\xff", b"\x81\xa1a"])
def test_what_is_not_one_messagepack_value_is_refused(data):
    with pytest.raises(InvalidDocument):
        VectorClock.from_bytes(data)
