"""Score registers: a later write replaces what it knows, concurrent writes take the maximum."""

import pytest

from chrysalis_memory import HybridLogicalClock, ScoreRegister
from chrysalis_memory.crdt.clock import STAMP_MAX
from chrysalis_memory.errors import InvalidDocument, InvalidValue


def written(value, writer="ann", *, timestamp=None):
    register = ScoreRegister()
    register.set(value, writer, timestamp=timestamp)
    return register


def copy_of(register):
    return register.merge(ScoreRegister())


def value_of_both(a, b):
    """Return the value after a merge, the same in both directions."""
    assert a.merge(b) == b.merge(a)
    return a.merge(b).value


def test_a_score_nobody_set_is_one_half_and_loses_to_every_score():
    assert 0.5 == ScoreRegister().value == ScoreRegister().get()
    assert 0.1 == value_of_both(ScoreRegister(), written(0.1))


def test_a_lowered_score_stays_lowered_when_an_old_copy_is_merged():
    register = written(0.9)
    old = copy_of(register)
    register.set(0.2, "ann")
    assert 0.2 == value_of_both(register, old)


def test_a_score_can_be_lowered_by_another_who_has_seen_it():
    ann = written(0.9, "ann")
    bob = copy_of(ann)
    bob.set(0.1, "bob")
    assert 0.1 == value_of_both(ann, bob)


def test_the_greater_of_two_concurrent_scores_counts_whichever_is_later():
    low, high = written(0.3, "ann", timestamp=9), written(0.8, "bob", timestamp=1)
    assert 0.8 == value_of_both(low, high)


def test_one_who_has_seen_both_concurrent_scores_replaces_both():
    ann, bob = written(0.3, "ann"), written(0.8, "bob")
    both = ann.merge(bob)
    both.set(0.0, "cid")
    assert 0.0 == value_of_both(both, ann) == value_of_both(both, bob)


def test_one_who_has_seen_only_one_score_replaces_only_that():
    ann, bob = written(0.3, "ann"), written(0.8, "bob")
    ann.set(0.1, "ann")
    assert 0.8 == value_of_both(ann, bob)


def test_copies_that_share_a_name_are_settled_by_their_stamps_and_then_by_the_maximum():
    assert 0.1 == value_of_both(written(0.9, timestamp=1), written(0.1, timestamp=2))
    assert 0.9 == value_of_both(written(0.9, timestamp=2), written(0.1, timestamp=2))


def test_a_write_with_an_older_stamp_still_replaces_what_it_knows():
    register = written(0.9, timestamp=50)
    old = copy_of(register)
    register.set(0.2, "ann", timestamp=1)
    assert 0.2 == value_of_both(register, old)


def test_stamps_come_from_the_clock_of_the_register():
    register = ScoreRegister(clock=HybridLogicalClock(wall_us=lambda: 7))
    register.set(0.25, "ann")
    register.set(0.5, "bob")
    assert '{"ann":[0,0.0,7],"bob":[8,0.5,0]}' == register.to_json()


def test_an_integer_score_and_the_same_float_give_the_same_bytes():
    assert written(1, timestamp=5).to_bytes() == written(1.0, timestamp=5).to_bytes()
    assert written(-0.0, timestamp=5).to_bytes() == written(0.0, timestamp=5).to_bytes()


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, 0.5, 5e-324])
def test_scores_from_0_to_1_are_accepted(value):
    assert value == written(value).value


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), -0.001, 1.001, -1, 2, 10**5000, True, "0.5", None, [0.5], 1j],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_refused_and_changes_nothing(value):
    register = written(0.9, timestamp=5)
    with pytest.raises(InvalidValue):
        register.set(value, "ann")
    assert written(0.9, timestamp=5) == register


@pytest.mark.parametrize("writer", [None, 1, "nul\0", "\ud800"])
def test_a_writer_must_be_text(writer):
    register = written(0.9, timestamp=5)
    with pytest.raises(InvalidValue):
        register.set(0.1, writer)
    assert written(0.9, timestamp=5) == register


@pytest.mark.parametrize("stamp", [0, -1, STAMP_MAX, 1.5, True, float("nan"), "1"])
def test_an_unusable_stamp_is_refused_and_changes_nothing(stamp):
    register = written(0.9, timestamp=5)
    with pytest.raises(InvalidValue):
        register.set(0.1, "ann", timestamp=stamp)
    assert written(0.9, timestamp=5) == register


def test_state_comes_back_from_json_and_bytes_with_what_was_replaced():
    register = written(0.9)
    old = copy_of(register)
    register.set(0.2, "bob")
    for restored in (
        ScoreRegister.from_json(register.to_json()),
        ScoreRegister.from_bytes(register.to_bytes()),
    ):
        assert register == restored
        assert 0.2 == value_of_both(restored, old)


def test_an_entry_below_what_it_cleared_is_read_as_cleared():
    register = ScoreRegister.from_json('{"ann":[3,0.9,4]}')
    assert 0.5 == register.value
    assert '{"ann":[0,0.0,4]}' == register.to_json()


@pytest.mark.parametrize(
    "text",
    ["[]", "null", "0.5", '{"a":0.5}', '{"a":[1,0.5]}', '{"a":[1,1.5,0]}', '{"a":[1,true,0]}',
     '{"a":[-1,0.5,0]}', '{"a":[1,0.5,-1]}', '{"a":[1.0,0.5,0]}', '{"\\ud800":[1,0.5,0]}',
     '{"a":[4611686018427387903,0.5,0]}', '{"a":{"0":1,"1":0.5,"2":0}}'],
)  # fmt: skip
def test_json_of_another_shape_is_refused(text):
    with pytest.raises(InvalidValue):
        ScoreRegister.from_json(text)


def test_what_is_not_json_or_messagepack_is_refused():
    with pytest.raises(InvalidDocument):
        ScoreRegister.from_json("{")
    with pytest.raises(InvalidDocument):
        ScoreRegister.from_bytes(b"")


def test_a_register_equals_only_registers_and_has_no_hash():
    assert ScoreRegister() != 0.5
    with pytest.raises(TypeError):
        hash(ScoreRegister())


def test_repr_shows_the_score():
    assert "ScoreRegister(0.25)" == repr(written(0.25))
