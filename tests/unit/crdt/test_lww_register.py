"""Last-writer-wins registers: the greatest stamp, then writer, then value."""

import pytest

from chrysalis_memory import HybridLogicalClock, LWWRegister
from chrysalis_memory.crdt.clock import STAMP_MAX
from chrysalis_memory.errors import InvalidDocument, InvalidValue


def written(value, writer="ann", *, timestamp=5):
    register = LWWRegister()
    register.set(value, writer, timestamp=timestamp)
    return register


def winner(a, b):
    """Return the value after a merge, the same in both directions."""
    assert a.merge(b) == b.merge(a)
    return a.merge(b).value


def test_the_later_write_wins():
    assert "tea" == winner(written("tea", timestamp=6), written("water", "zoe", timestamp=5))


def test_writes_at_one_instant_are_settled_by_the_writer():
    assert "coffee" == winner(written("tea", "alice"), written("coffee", "bob"))


@pytest.mark.parametrize(
    ("one", "other"), [("a", "b"), (1, True), (1, 1.0), (0.0, -0.0), ([1], [2]), (None, "a")]
)
def test_two_values_of_one_writer_at_one_instant_are_settled_alike_everywhere(one, other):
    a, b = written(one), written(other)
    assert a.merge(b) == b.merge(a)
    assert a.merge(b).to_bytes() == b.merge(a).to_bytes()


def test_one_never_written_reads_as_none_and_loses_to_every_write():
    register = LWWRegister()
    assert (None, 0, None) == (register.value, register.timestamp, register.writer)
    assert "" == winner(register, written("", timestamp=1))


def test_a_written_none_is_a_value():
    assert None is winner(written("tea", timestamp=1), written(None, timestamp=2))


def test_a_later_write_wins_even_with_an_older_stamp():
    register = written("old", timestamp=50)
    register.set("new", timestamp=1)
    assert ("new", 51) == (register.value, register.timestamp)


def test_stamps_come_from_the_clock_of_the_register():
    register = LWWRegister("x", "ann", clock=HybridLogicalClock(wall_us=lambda: 77))
    assert (77, "ann") == (register.timestamp, register.writer)


def test_a_value_can_be_given_at_construction():
    register = LWWRegister("tea", "ann", timestamp=5)
    assert register == written("tea")
    assert "tea" == register.get() == register.value


def test_the_register_does_not_follow_later_changes_of_a_value_it_was_given():
    value = {"list": [1]}
    register = written(value)
    value["list"].append(2)
    assert {"list": [1]} == register.value


def test_the_register_does_not_follow_changes_of_a_value_it_gave_out():
    register = written([1])
    copy = register.merge(LWWRegister())
    copy.value.append(2)
    assert [1] == register.value == copy.value


def test_merge_changes_neither_register():
    a, b = written("a", timestamp=1), written("b", timestamp=2)
    a.merge(b).set("c", timestamp=3)
    assert ("a", "b") == (a.value, b.value)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -float("inf"), [float("nan")], b"x", {1: 2}, {"a": {1, 2}},
     "\ud800", {"\ud800": 1}, "nul\0", 2**63, -(2**63) - 1, 10**5000, object()],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_json_cannot_hold_is_refused_and_changes_nothing(value):
    register = written("tea")
    with pytest.raises(InvalidValue):
        register.set(value)
    assert written("tea") == register


@pytest.mark.parametrize(
    "value", ["", "ü", 0, -1, 2**63 - 1, 0.5, True, [], {}, {"a": [1, {"b": None}]}]
)
def test_every_json_value_comes_back(value):
    register = written(value)
    assert value == register.value
    assert register == LWWRegister.from_json(register.to_json())
    assert register == LWWRegister.from_bytes(register.to_bytes())


def test_the_deepest_value_that_can_be_set_can_be_written_out():
    value = 1
    for _ in range(32):
        value = [value]
    register = written(value)
    assert register == LWWRegister.from_json(register.to_json())


@pytest.mark.parametrize("stamp", [0, -1, STAMP_MAX, 1.5, True, float("nan"), "1"])
def test_an_unusable_stamp_is_refused_and_changes_nothing(stamp):
    register = written("tea")
    with pytest.raises(InvalidValue):
        register.set("coffee", timestamp=stamp)
    assert written("tea") == register


@pytest.mark.parametrize("writer", [None, 1, "nul\0", "\ud800"])
def test_a_writer_must_be_text(writer):
    register = written("tea")
    with pytest.raises(InvalidValue):
        register.set("coffee", writer)
    assert written("tea") == register


def test_json_is_the_whole_triple():
    assert '[5,"ann",{"a":1,"b":2}]' == written({"b": 2, "a": 1}).to_json()
    assert "null" == LWWRegister().to_json()
    assert LWWRegister() == LWWRegister.from_json("null")


@pytest.mark.parametrize(
    "text", ["{}", "1", "[]", '[1,"a"]', '["1","a",1]', '[0,"a",1]', '[1,2,3]', '[true,"a",1]']
)  # fmt: skip
def test_json_of_another_shape_is_refused(text):
    with pytest.raises(InvalidValue):
        LWWRegister.from_json(text)


def test_what_is_not_json_or_messagepack_is_refused():
    with pytest.raises(InvalidDocument):
        LWWRegister.from_json("[")
    with pytest.raises(InvalidDocument):
        LWWRegister.from_bytes(b"\xa5ab")
    with pytest.raises(InvalidValue):
        LWWRegister.from_bytes(b"\x01")


def test_a_register_equals_only_registers_and_has_no_hash():
    assert LWWRegister() != None  # noqa: E711 - the comparison is what is tested
    assert written(1) != written(True)
    with pytest.raises(TypeError):
        hash(LWWRegister())


def test_repr_shows_value_writer_and_stamp():
    assert "LWWRegister('tea', writer='ann', timestamp=5)" == repr(written("tea"))
