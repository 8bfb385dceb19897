"""Canonical encodings: one value, one text, one string of bytes."""

import json
import tracemalloc
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import LAWS

from chrysalis_memory import codec
from chrysalis_memory.errors import InvalidDocument, InvalidValue

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=10,
)


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def reordered(value):
    """Return an equal value whose objects list their keys in another order."""
    if isinstance(value, dict):
        return {key: reordered(item) for key, item in reversed(value.items())}
    return [reordered(item) for item in value] if isinstance(value, list) else value


@settings(LAWS)
@given(json_values)
def test_json_gives_back_every_value_with_its_types(value):
    text = codec.canonical_json(value)
    assert value == codec.parse_json(text)
    assert text == codec.canonical_json(codec.parse_json(text))


@settings(LAWS)
@given(json_values)
def test_json_does_not_depend_on_the_order_of_keys(value):
    assert codec.canonical_json(value) == codec.canonical_json(reordered(value))


@settings(LAWS)
@given(json_values)
def test_json_is_what_every_parser_reads(value):
    assert value == json.loads(codec.canonical_json(value))


def test_json_has_sorted_keys_no_spaces_and_plain_unicode():
    assert '{"a":[1,2.0,true,null],"ü":"猫"}' == codec.canonical_json(
        {"ü": "猫", "a": (1, 2.0, True, None)}
    )


def test_any_mapping_is_a_json_object():
    assert '{"a":{"b":1}}' == codec.canonical_json(
        MappingProxyType({"a": MappingProxyType({"b": 1})})
    )


def test_numbers_and_booleans_of_equal_value_have_different_texts():
    assert 3 == len({codec.canonical_json(value) for value in (1, 1.0, True)})


@pytest.mark.parametrize(
    "value", [2**63 - 1, -(2**63), 5e-324, 1.7976931348623157e308, "x" * 10_000]
)
def test_the_largest_values_are_accepted(value):
    assert value == codec.parse_json(codec.canonical_json(value))


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), float("-inf"), 2**63, -(2**63) - 1, 10**5000, b"x", {1}, object(),
     1j, {1: 2}, {None: 1}, {b"a": 1}, "nul\0", "\ud800", {"\udfff": 1}, {"a": [{"b": b""}]}],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(InvalidValue):
        codec.canonical_json(value)


def test_nesting_is_refused_beyond_32_levels():
    assert "[" * 32 + "1" + "]" * 32 == codec.canonical_json(nested(32))
    with pytest.raises(InvalidValue, match="32 levels"):
        codec.canonical_json(nested(33))


def test_a_value_that_contains_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(InvalidValue):
        codec.canonical_json(value)


@pytest.mark.parametrize(
    "text",
    ["", " ", "nul", "{", "[1,]", "{'a':1}", "NaN", "Infinity", "[-Infinity]", '{"a":1,"a":1}',
     '{"b":{"a":1,"a":2}}', "1 2", '"\n"', "[" * 100_000, "1" * 5_000, b"\xff", b"\x80abc"],
    ids=range(17),
)  # fmt: skip
def test_what_is_not_strict_json_is_refused(text):
    with pytest.raises(InvalidDocument):
        codec.parse_json(text)


def test_json_is_read_from_text_and_from_bytes():
    assert {"ü": [1]} == codec.parse_json('{"ü": [1]}') == codec.parse_json('{"ü": [1]}'.encode())


@settings(LAWS)
@given(json_values)
def test_bytes_give_back_every_value_with_tuples_for_lists(value):
    def tupled(item):
        if isinstance(item, dict):
            return {key: tupled(inner) for key, inner in item.items()}
        return tuple(map(tupled, item)) if isinstance(item, list) else item

    assert tupled(value) == codec.unpack(codec.pack(value))


@settings(LAWS, max_examples=400)
@given(st.binary(max_size=30))
def test_any_bytes_are_read_or_refused(data):
    try:
        codec.unpack(data)
    except InvalidDocument:
        return


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x01\x01", b"\xa5ab", b"\x81\x01\x01", b"\xa1\xff"]
)
def test_bytes_that_are_not_one_messagepack_value_are_refused(data):
    with pytest.raises(InvalidDocument):
        codec.unpack(data)


def test_ordered_sorts_keys_by_code_point():
    assert ["B", "a", "ü", "猫", "\U0001f98b"] == list(
        codec.ordered({"\U0001f98b": 1, "猫": 1, "ü": 1, "a": 1, "B": 1})
    )


def test_a_digest_has_the_size_asked_for_and_tells_contents_apart():
    assert (16, 8) == (len(codec.digest(b"x")), len(codec.digest(b"x", size=8)))
    assert codec.digest(b"x") == codec.digest(b"x") != codec.digest(b"y")
    assert "cae66941d9efbd404e4d88758ea67670" == codec.text_hash("").hex()


@pytest.mark.parametrize("value", ["", "a", "ü", "\U0001f98b", "\x01", "\n"])
def test_text_is_what_utf8_holds_without_nul(value):
    assert value is codec.check_text(value, what="name")


@pytest.mark.parametrize(
    ("value", "problem"),
    [(1, "int"), (None, "NoneType"), (b"a", "bytes"), ("a\0", "NUL"), ("ab\ud800", "position 2")],
)
def test_refused_text_is_named_with_its_problem(value, problem):
    with pytest.raises(InvalidValue, match=rf"^tag .*{problem}"):
        codec.check_text(value, what="tag")


@pytest.mark.parametrize(
    "text",
    [
        "[" + "[]," * codec.VALUES_MAX + "[]]",
        "[" * codec.VALUES_MAX * 2,
        '{"a":' * codec.VALUES_MAX * 2,
        "[" + '"",' * codec.VALUES_MAX + "0]",
        b"[" + b"0," * codec.VALUES_MAX + b"0]",
    ],
    ids=["lists", "depth", "objects", "strings", "bytes"],
)
def test_json_of_more_values_than_a_memory_can_have_is_not_parsed(text):
    with pytest.raises(InvalidDocument, match="300,000 values"):
        codec.parse_json(text)


@pytest.mark.parametrize("text", [",[{", '",\\"[', "\\" * 3, '"'])
def test_what_stands_in_strings_is_not_counted_as_values(text):
    values = [text * 400_000, text * 399_999]
    assert codec.parse_json(json.dumps(values)) == values


PACKED_BOMBS = {
    "lists within lists, each of 65,535": b"\xdc\xff\xff" * 1000 + b"\xc0" * (1 << 20),
    "a million empty maps": b"\xdd\x00\x10\x00\x00" + b"\x80" * (1 << 20),
    "lists of maps": b"\xdc\x40\x00" + (b"\xdc\x03\xfd" + b"\x80" * 1021) * (1 << 14),
    "a million levels": b"\x91" * (1 << 20),
}


@pytest.mark.parametrize("data", PACKED_BOMBS.values(), ids=PACKED_BOMBS)
def test_bytes_from_elsewhere_take_little_memory_whatever_they_say(data):
    tracemalloc.start()
    try:
        with pytest.raises(InvalidDocument):
            codec.unpack_foreign(data)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


def test_bytes_of_many_values_from_elsewhere_are_read_as_any_others():
    value = tuple({f"k{number}": (number, "v", None)} for number in range(20_000))
    assert codec.unpack_foreign(codec.pack(value)) == value
