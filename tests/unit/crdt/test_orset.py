"""Observed-remove sets: a remove undoes what it has seen, a concurrent add wins."""

import pytest

from chrysalis_memory import HybridLogicalClock, ORSet
from chrysalis_memory.crdt.clock import STAMP_MAX
from chrysalis_memory.errors import InvalidDocument, InvalidValue


def copy_of(tags, writer):
    return ORSet(writer).merge(tags)


def both_ways(a, b):
    """Return the elements after a merge, the same in both directions."""
    merged = a.merge(b)
    assert merged == b.merge(a)
    return merged.elements()


@pytest.fixture
def shared():
    """Return a set that holds "draft", and a copy of it elsewhere."""
    ann = ORSet("ann")
    ann.add("draft")
    return ann, copy_of(ann, "bob")


def test_an_added_element_is_in_the_set_and_a_removed_one_is_not():
    tags = ORSet("ann")
    tags.add("draft")
    assert (True, 1, ["draft"]) == ("draft" in tags, len(tags), list(tags))
    tags.remove("draft")
    assert (False, 0, []) == ("draft" in tags, len(tags), list(tags))


def test_a_removed_element_stays_removed_when_an_old_copy_is_merged(shared):
    ann, old = shared
    ann.remove("draft")
    assert [] == both_ways(ann, old)


def test_a_concurrent_add_wins_over_a_remove(shared):
    ann, bob = shared
    ann.remove("draft")
    bob.add("draft")
    assert ["draft"] == both_ways(ann, bob)


def test_a_remove_that_has_seen_the_concurrent_add_removes_it(shared):
    ann, bob = shared
    bob.add("draft")
    ann = ann.merge(bob)
    ann.remove("draft")
    assert [] == both_ways(ann, bob)


def test_adding_again_after_a_remove_works(shared):
    ann, old = shared
    ann.remove("draft")
    ann.add("draft")
    assert ["draft"] == both_ways(ann, old)


def test_adding_again_works_with_a_stamp_older_than_the_removed_one():
    tags = ORSet("ann")
    tags.add("draft", timestamp=50)
    tags.remove("draft")
    tags.add("draft", timestamp=1)
    assert ["draft"] == tags.elements()


def test_a_remove_without_the_add_undoes_nothing(shared):
    ann, _ = shared
    other = ORSet("cid")
    other.remove("draft")
    assert ["draft"] == both_ways(ann, other)


def test_removing_an_absent_element_changes_nothing():
    tags = ORSet("ann")
    tags.add("draft")
    before = tags.to_bytes()
    tags.remove("absent")
    assert before == tags.to_bytes()


def test_copies_that_share_a_writer_name_lose_no_element():
    sets = []
    for element in "abcde":
        tags = ORSet("ann")
        tags.add(element, timestamp=7)
        sets.append(tags)
    merged = sets[0]
    for other in sets[1:]:
        merged = merged.merge(other)
    assert list("abcde") == merged.elements()


def test_elements_come_earliest_add_first_and_by_name_when_added_at_once():
    tags = ORSet("ann")
    for element, stamp in (("late", 9), ("b", 3)):
        other = ORSet("ann")
        other.add(element, timestamp=stamp)
        tags = tags.merge(other)
    other = ORSet("bob")
    other.add("a", timestamp=3)
    assert ["a", "b", "late"] == both_ways(tags, other)


def test_an_element_added_twice_at_once_takes_the_place_of_the_earlier_add():
    ann, bob = ORSet("ann"), ORSet("bob")
    ann.add("twice", timestamp=3)
    bob.add("between", timestamp=5)
    bob.add("twice", timestamp=9)
    assert ["twice", "between"] == both_ways(ann, bob)


def test_stamps_come_from_the_clock_of_the_set():
    tags = ORSet("ann", clock=HybridLogicalClock(wall_us=lambda: 5))
    tags.add("x")
    assert '{"x":{"ann":[5,0.0,0]}}' == tags.to_json()


def test_a_writer_named_in_the_call_writes_instead_of_the_owner():
    tags = ORSet("ann")
    tags.add("x", writer="bob", timestamp=5)
    assert '{"x":{"bob":[5,0.0,0]}}' == tags.to_json()


def test_merge_changes_neither_set(shared):
    ann, bob = shared
    bob.add("other")
    before = ann.to_bytes(), bob.to_bytes()
    ann.merge(bob).remove("draft")
    assert before == (ann.to_bytes(), bob.to_bytes())


def test_the_set_does_not_grow_with_its_history():
    tags = ORSet("ann")
    for stamp in range(1, 200):
        tags.add("x", timestamp=stamp)
        tags.remove("x")
    tags.add("x", timestamp=1)
    assert len(tags.to_bytes()) < 40


@pytest.mark.parametrize("element", [None, 1, b"x", "nul\0", "\ud800"])
def test_an_element_must_be_text_and_a_refused_one_changes_nothing(element):
    tags = ORSet("ann")
    with pytest.raises(InvalidValue):
        tags.add(element)
    assert ORSet() == tags


@pytest.mark.parametrize("writer", [1, b"ann", "nul\0", "\ud800"])
def test_a_writer_must_be_text(writer):
    tags = ORSet("ann")
    with pytest.raises(InvalidValue):
        tags.add("x", writer=writer)
    assert ORSet() == tags


@pytest.mark.parametrize("stamp", [0, -1, STAMP_MAX, 1.5, True, float("nan"), "1"])
def test_an_unusable_stamp_is_refused_and_changes_nothing(stamp):
    tags = ORSet("ann")
    with pytest.raises(InvalidValue):
        tags.add("x", timestamp=stamp)
    assert ORSet() == tags


def test_state_comes_back_from_json_and_bytes_with_what_was_removed(shared):
    ann, old = shared
    ann.remove("draft")
    for restored in (ORSet.from_json(ann.to_json()), ORSet.from_bytes(ann.to_bytes())):
        assert ann == restored
        assert [] == both_ways(restored, old)


@pytest.mark.parametrize(
    "text",
    [
        "[]", "null", '{"x":[]}', '{"x":{"a":[1,0]}}', '{"x":{"a":[-1,0,0]}}',
        '{"x":{"a":[1,2,0]}}', '{"x":{"a":[1.5,0,0]}}', '{"x":{"a":[true,0,0]}}',
        '{"x":{"a":[1,true,0]}}', '{"x":{"a":[1,"0",0]}}', '{"x":{"a":[4611686018427387903,0,0]}}',
        '{"x":{"\\ud800":[1,0,0]}}', '{"\\ud800":{"a":[1,0,0]}}',
    ],
)  # fmt: skip
def test_json_of_another_shape_is_refused(text):
    with pytest.raises(InvalidValue):
        ORSet.from_json(text)


def test_what_is_not_json_or_messagepack_is_refused():
    with pytest.raises(InvalidDocument):
        ORSet.from_json("{")
    with pytest.raises(InvalidDocument):
        ORSet.from_bytes(b"\x81")


def test_a_set_asked_for_something_that_is_no_text_says_no():
    assert 1 not in ORSet()
    assert ["x"] not in ORSet()


def test_a_set_equals_only_observed_remove_sets_and_has_no_hash():
    assert ORSet() != set()
    with pytest.raises(TypeError):
        hash(ORSet())


def test_repr_shows_the_elements(shared):
    assert "ORSet(['draft'])" == repr(shared[0])
