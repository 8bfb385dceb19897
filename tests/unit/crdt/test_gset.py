"""Grow-only sets."""

import pytest

from chrysalis_memory import GSet
from chrysalis_memory.errors import InvalidDocument, InvalidValue


def test_two_sets_merge_as_printed_in_the_readme():
    tags = GSet()
    tags.add("important")
    tags.add("learning")
    other_tags = GSet()
    other_tags.add("learning")
    other_tags.add("crdt")
    assert ["important", "learning", "crdt"] == tags.merge(other_tags).elements()


def test_merge_changes_neither_set():
    a, b = GSet(["x"]), GSet(["y"])
    a.merge(b)
    assert (["x"], ["y"]) == (a.elements(), b.elements())


def test_a_merged_set_does_not_learn_what_its_inputs_learn_later():
    a, b = GSet(["x"]), GSet(["y"])
    merged = a.merge(b)
    a.add("later")
    b.add("later too")
    assert ["x", "y"] == merged.elements()
    assert "later" not in merged


def test_a_merged_set_can_grow_without_its_inputs():
    a, b = GSet(["x"]), GSet()
    for merged in (a.merge(b), b.merge(a)):
        merged.add("new")
        assert ["x", "new"] == merged.elements()
    assert (["x"], []) == (a.elements(), b.elements())


def test_the_order_holds_over_many_merges():
    merged = GSet(["0"])
    for number in range(1, 30):
        merged = merged.merge(GSet([str(number), "0"]))
    assert [str(number) for number in range(30)] == merged.elements()


def test_a_set_merged_with_itself_is_itself():
    tags = GSet(["b", "a"])
    assert ["b", "a"] == tags.merge(tags).elements()


def test_adding_again_keeps_the_first_place():
    assert ["b", "a"] == GSet(["b", "a", "b"]).elements()


def test_the_order_is_no_part_of_the_value():
    a, b = GSet(["x", "y"]), GSet(["y", "x"])
    assert a == b
    assert a.to_bytes() == b.to_bytes()
    assert '["x","y"]' == a.to_json() == b.to_json()


def test_a_set_answers_membership_length_and_iteration():
    tags = GSet(["b", "a"])
    assert "a" in tags
    assert "z" not in tags
    assert 2 == len(tags)
    assert ["b", "a"] == list(tags)


def test_elements_are_a_copy():
    tags = GSet(["a"])
    tags.elements().append("b")
    assert ["a"] == tags.elements()


@pytest.mark.parametrize("element", [None, 1, b"x", ["x"], "nul\0", "\ud800"])
def test_an_element_must_be_text_and_a_refused_one_changes_nothing(element):
    tags = GSet(["a"])
    with pytest.raises(InvalidValue):
        tags.add(element)
    assert GSet(["a"]) == tags


@pytest.mark.parametrize("text", ["{}", "null", '"ab"', "1", "[1]", "[null]", '["\\u0000"]'])
def test_json_of_another_shape_is_refused(text):
    with pytest.raises(InvalidValue):
        GSet.from_json(text)


@pytest.mark.parametrize("text", ["", "[", '["a",]', "'a'"])
def test_what_is_not_json_is_refused(text):
    with pytest.raises(InvalidDocument):
        GSet.from_json(text)


@pytest.mark.parametrize("data", [b"", b"\x91", b"\xc1", b"\x90\x90"])
def test_what_is_not_one_messagepack_value_is_refused(data):
    with pytest.raises(InvalidDocument):
        GSet.from_bytes(data)


def test_a_set_equals_only_grow_only_sets_and_has_no_hash():
    assert GSet(["a"]) != {"a"}
    with pytest.raises(TypeError):
        hash(GSet())


def test_repr_shows_the_elements():
    assert "GSet(['b', 'a'])" == repr(GSet(["b", "a"]))
