"""Documents from elsewhere: what is read back, what is refused, what is passed on unknown."""

import copy
import json
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import CHANGES, LAWS, clock_at

from chrysalis_memory import MemoryDocument, wire
from chrysalis_memory import state as states
from chrysalis_memory.crdt.clock import STAMP_MAX
from chrysalis_memory.errors import ChrysalisError, InvalidDocument, InvalidValue


def document(*, at=10):
    return MemoryDocument("m", "text", source_instance="ann", clock=clock_at(at))


def full_document():
    """Return a document in which every field was written, some more than once."""
    memory = document()
    for method, arguments in CHANGES:
        getattr(memory, method)(*arguments)
    memory.add_tag("red", "bob")
    memory.set_importance(0.7, "bob")
    return memory


def plain(**fields: Any) -> dict[str, Any]:
    """Return the JSON form of a full document with some fields replaced."""
    return json.loads(full_document().to_json()) | fields


def read(fields: Any) -> MemoryDocument:
    return MemoryDocument.from_json(json.dumps(fields))


def parts() -> list[Any]:
    """Return the items of the canonical bytes of a full document."""
    return msgpack.unpackb(full_document().to_bytes())


# The JSON form


def test_the_json_form_is_the_documented_one():
    memory = document()
    memory.add_tag("red")
    memory.set_metadata({"key": [1]})
    expected = (
        '{"clock":{"ann":3},"content":[10,"ann","text"],"created":[10,"ann"],"format":1,"id":"m",'
        '"life":1,"metadata":{"key":[12,"ann",[1]]},"tags":{"red":{"ann":[11,0.0,0]}}}'
    )
    assert expected == memory.to_json()


def test_bytes_list_elements_and_keys_in_order():
    memory = document()
    for name in "hgbdacfe":
        memory.add_evidence(name)
        memory.add_tag(name)
        memory.set_metadata({name: 1})
        memory.record_access(name)
        memory = memory.merge(read(plain(importance={name: [5, 0.5, 0]})))
    items = dict(zip(states.State._fields, msgpack.unpackb(memory.to_bytes())[2:], strict=True))
    for field in ("evidence", "tags", "metadata", "access", "importance"):
        assert sorted(items[field]) == list(items[field])
        assert set("abcdefgh") <= set(items[field])


def test_json_is_read_whatever_its_order_and_spacing_and_written_canonically():
    memory = full_document()
    fields = json.loads(memory.to_json())
    shuffled = json.dumps(dict(reversed(fields.items())), indent=3, ensure_ascii=True)
    assert memory.to_json() == MemoryDocument.from_json(shuffled).to_json()
    assert memory == MemoryDocument.from_json(memory.to_json().encode())


def test_integers_stand_for_floats_in_json_of_other_languages():
    fields = plain(importance={"ann": [5, 1, 0]})
    assert read(fields).to_bytes() == read(plain(importance={"ann": [5, 1.0, 0]})).to_bytes()


def test_a_memory_type_of_a_newer_version_is_kept():
    memory = read(plain(memory_type=[5, "ann", "prophetic"]))
    assert "prophetic" == memory.memory_type
    assert memory == MemoryDocument.from_bytes(memory.to_bytes())


def test_a_tombstone_keeps_nothing_that_came_with_it():
    assert '{"format":1,"id":"m","life":2}' == read(plain(life=2)).to_json()


# Fields of newer versions


def test_an_unknown_field_is_kept_and_passed_on():
    fields = plain(mood=[5, "bob", {"happy": 1.0, "sad": [True, None]}])
    memory = read(fields)
    assert fields == json.loads(memory.to_json())
    assert memory == MemoryDocument.from_bytes(memory.to_bytes())
    memory.add_tag("green")
    assert fields["mood"] == json.loads(memory.copy().to_json())["mood"]


@pytest.mark.parametrize("name", ["mood", "extra", "Content", "ü"])
def test_unknown_fields_are_merged_as_registers(name):
    a, b = read(plain(**{name: [5, "bob", 1]})), read(plain(**{name: [5, "cid", True]}))
    c = read(plain())
    for merged in (a.merge(b).merge(c), c.merge(b).merge(a), b.merge(c).merge(a)):
        assert [5, "cid", True] == json.loads(merged.to_json())[name]
        assert merged == MemoryDocument.from_bytes(merged.to_bytes())


def test_an_unknown_field_stays_out_of_the_way_of_known_ones():
    memory = read(plain(mood=[STAMP_MAX - 5, "bob", 1]))
    assert STAMP_MAX - 5 == states.greatest_stamp(memory.state)
    assert "coffee" == memory.content


@pytest.mark.parametrize(
    "value", [1, "happy", None, [], {}, [5, "bob"], [0, "bob", 1], ["5", "b", 1]]
)
def test_an_unknown_field_that_is_no_register_is_refused(value):
    with pytest.raises(InvalidDocument):
        read(plain(mood=value))


# What is refused

LONG = "x" * 513
NOT_REGISTERS = (1, "x", [], {}, [5, "ann"], [5, "ann", "x", 1], [0, "ann", "x"], [5, 1, "x"])
NOT_ENTRIES = (
    1, [], {"ann": 1}, {"ann": [1, 0.5]}, {"ann": [1, 2, 0]}, {"ann": [-1, 0.5, 0]},
    {"ann": [STAMP_MAX, 0.5, 0]}, {"ann": [1, 0.5, STAMP_MAX]}, {"ann": [1.5, 0.5, 0]},
    {"ann": [1, True, 0]}, {"ann": [True, 0.5, 0]}, {"\ud800": [1, 0.5, 0]}, {"ann": None},
)  # fmt: skip
NOT_COUNTS = (1, [], {"ann": 0}, {"ann": -1}, {"ann": 1.0}, {"ann": True}, {"ann": 2**62})
NOT_NAMES = (1, "x", {}, [1], [""], [LONG], ["nul\0"], ["\ud800"], [None], [["x"]])
WRONG = {
    "format": (None, 0, 2, "1", [1]),
    "id": (None, 1, "", LONG, "nul\0", "\ud800"),
    "life": (None, 0, -1, 1.0, "1", True, 2**31),
    "created": (None, [], [1], [0, "ann"], [1, ""], [1, "ann", 1], {"0": 1}, [STAMP_MAX, "ann"]),
    "content": (None, *NOT_REGISTERS, [5, "ann", ""], [5, "ann", "\n"], [5, "ann", 1],
                [5, "ann", "x" * (2**20 + 1)], [STAMP_MAX, "ann", "x"], [5, "\ud800", "x"]),
    "memory_type": (*NOT_REGISTERS, [5, "ann", ""], [5, "ann", None], [5, "ann", LONG]),
    "namespace": (*NOT_REGISTERS, [5, "ann", "a//b"], [5, "ann", None], [5, "ann", "/"]),
    "episode": (*NOT_REGISTERS, [5, "ann", ""], [5, "ann", 1]),
    "position": (*NOT_REGISTERS, [5, "ann", -1], [5, "ann", 1.0], [5, "ann", 2**53]),
    "expires_at": (*NOT_REGISTERS, [5, "ann", -1], [5, "ann", STAMP_MAX], [5, "ann", 1.5]),
    "archived": (*NOT_REGISTERS, [5, "ann", 1], [5, "ann", None]),
    "metadata": (1, [], {"": [5, "ann", 1]}, {"k": 1}, {"k": [0, "ann", 1]}, {LONG: [5, "ann", 1]}),
    "tags": (1, [], ["red"], {"red": 1}, {"\ud800": {}}, *({"red": e} for e in NOT_ENTRIES)),
    "importance": NOT_ENTRIES,
    "confidence": NOT_ENTRIES,
    "related": NOT_NAMES,
    "parents": NOT_NAMES,
    "evidence": NOT_NAMES,
    "clock": NOT_COUNTS,
    "access": NOT_COUNTS,
}  # fmt: skip
WRONG_FIELDS = [
    pytest.param(name, value, id=f"{name}-{number}")
    for name, values in WRONG.items()
    for number, value in enumerate(values)
]


@pytest.mark.parametrize(("name", "value"), WRONG_FIELDS)
def test_json_with_a_wrong_field_is_no_document(name, value):
    with pytest.raises(InvalidDocument):
        read(plain(**{name: value}))


@pytest.mark.parametrize(("name", "value"), WRONG_FIELDS)
def test_bytes_with_a_wrong_field_are_no_document(name, value):
    wrong = parts()
    layout = ("format", "id", *states.State._fields)
    wrong[layout.index(name)] = value
    data = msgpack.packb(wrong, unicode_errors="surrogatepass")
    with pytest.raises(InvalidDocument):
        MemoryDocument.from_bytes(data)


@pytest.mark.parametrize("name", ["format", "id", "life", "created", "content"])
def test_a_document_without_a_needed_field_is_refused(name):
    fields = plain()
    del fields[name]
    with pytest.raises(InvalidDocument):
        read(fields)


@pytest.mark.parametrize("text", ["", "null", "1", "[]", '"m"', "{", "{}", b"\xff", "[" * 100_000])
def test_what_is_no_json_object_is_no_document(text):
    with pytest.raises(InvalidDocument):
        MemoryDocument.from_json(text)


def test_a_field_given_twice_is_refused():
    text = document().to_json()
    with pytest.raises(InvalidDocument, match="same key twice"):
        MemoryDocument.from_json(text.replace('"id":"m"', '"id":"m","id":"n"'))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(number):
    text = full_document().to_json().replace("0.8", number)
    with pytest.raises(InvalidDocument):
        MemoryDocument.from_json(text)


def test_a_format_of_a_newer_version_says_what_to_do():
    with pytest.raises(InvalidDocument, match=r"format 2 is not format 1.*install the version"):
        read(plain(format=2))
    with pytest.raises(InvalidDocument, match=r"format 2 is not format 1.*install the version"):
        MemoryDocument.from_bytes(msgpack.packb([2, *parts()[1:]]))


def test_the_error_names_the_document_and_the_value():
    with pytest.raises(InvalidDocument, match=r"'m'.*archived.*'yes'"):
        read(plain(archived=[5, "ann", "yes"]))


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\xc0", b"\x90", b"\x80", b"\xd4\x01\x00", b"text"]
)
def test_bytes_of_another_shape_are_no_document(data):
    with pytest.raises(InvalidDocument):
        MemoryDocument.from_bytes(data)


def test_bytes_cut_short_or_with_more_behind_are_no_document():
    data = full_document().to_bytes()
    for wrong in (*(data[:length] for length in range(len(data))), data + b"\x00", data + data):
        with pytest.raises(InvalidDocument):
            MemoryDocument.from_bytes(wrong)


@pytest.mark.parametrize("name", ["format", "id", "life", "content", "tags"])
def test_bytes_cannot_name_a_known_field_as_one_of_a_newer_version(name):
    wrong = parts()
    wrong[-1] = {name: [5, "bob", '"smuggled"']}
    with pytest.raises(InvalidDocument):
        MemoryDocument.from_bytes(msgpack.packb(wrong))


@pytest.mark.parametrize("depth", [40, 500, 1000, 1020, 100_000])
@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b""), (b"\x93", b"\xa1m\x02"), (b"\x93\x01", b"\x02"), (b"\x93\x01\xa1m", b"")],
    ids=["whole", "format", "id", "life"],
)
def test_bytes_nested_however_deeply_are_refused(before, after, depth):
    with pytest.raises(InvalidDocument):
        MemoryDocument.from_bytes(before + b"\x91" * depth + b"\x01" + after)


@pytest.mark.parametrize("name", ["id", "format", "life", "content", "tags", "related", "mood"])
def test_json_nested_however_deeply_is_refused(name):
    for depth in (40, *range(800, 1000, 3), 100_000):
        text = json.dumps(plain(**{name: "deep"})).replace('"deep"', "[" * depth + "]" * depth)
        with pytest.raises(InvalidDocument):
            MemoryDocument.from_json(text)


# Mutations: whatever happens to a document on its way, reading it raises nothing else

json_values = st.recursive(
    st.sampled_from([None, True, 0, 1, -1, 2**53, 2**64, 0.5, "", "ann", "nul\0", "\ud800", LONG]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["ann", "content", "", "\ud800"]), inner, max_size=2),
    ),
    max_leaves=5,
)


def mutate(value: Any, path: list[int], replacement: Any) -> Any:
    """Return ``value`` with one place inside it replaced; the path chooses which."""
    if not path or not isinstance(value, dict | list) or not value:
        return replacement
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = keys[path[0] % len(keys)]
    value[key] = mutate(value[key], path[1:], replacement)
    return value


def read_or_refuse(read_one: Any, data: Any) -> None:
    try:
        memory = read_one(data)
    except InvalidValue:
        return
    assert memory == MemoryDocument.from_json(memory.to_json())
    assert memory == MemoryDocument.from_bytes(memory.to_bytes())
    merged = memory.merge(MemoryDocument.of(memory.id, full_document().state))
    assert merged == MemoryDocument.from_bytes(merged.to_bytes())
    assert repr(memory)
    assert memory.updated_at is None or memory.updated_at >= memory.created_at


paths = st.lists(st.integers(0, 40), min_size=1, max_size=4)


@settings(LAWS, max_examples=600)
@given(paths, json_values)
@example([10, 0, 0], 2**61)
def test_changed_json_is_read_whole_or_refused(path, replacement):
    changed = mutate(plain(), path, copy.deepcopy(replacement))
    read_or_refuse(read, changed)


@settings(LAWS, max_examples=600)
@given(paths, json_values)
def test_changed_messagepack_is_read_whole_or_refused(path, replacement):
    changed = mutate(parts(), path, copy.deepcopy(replacement))
    data = msgpack.packb(changed, unicode_errors="surrogatepass", default=str)
    read_or_refuse(MemoryDocument.from_bytes, data)


DATA = full_document().to_bytes()


@settings(LAWS, max_examples=600)
@given(
    st.lists(st.tuples(st.integers(0, len(DATA) - 1), st.integers(0, 255)), min_size=1, max_size=3)
)
def test_bytes_with_any_byte_changed_are_read_whole_or_refused(changes):
    data = bytearray(DATA)
    for position, byte in changes:
        data[position] = byte
    read_or_refuse(MemoryDocument.from_bytes, bytes(data))


@settings(LAWS)
@given(st.binary(max_size=40))
def test_random_bytes_are_refused(data):
    for read_one in (MemoryDocument.from_bytes, MemoryDocument.from_json):
        with pytest.raises(InvalidValue):
            read_one(data)


# Limits hold for one write; what merging makes of several is never refused


def test_the_largest_text_comes_back():
    memory = MemoryDocument("m", "ü" * 2**19)
    assert memory == MemoryDocument.from_json(memory.to_json())


def test_metadata_of_two_replicas_that_is_large_together_comes_back():
    a, b = document(), document()
    a.set_metadata({"a": "x" * 60_000})
    b.set_metadata({"b": "x" * 60_000})
    merged = a.merge(b)
    assert merged == MemoryDocument.from_json(merged.to_json())
    assert merged == MemoryDocument.from_bytes(merged.to_bytes())


def test_evidence_of_two_replicas_that_is_much_together_comes_back():
    fields = [plain(evidence=[f"{name}{n}" for n in range(6_000)]) for name in "ab"]
    merged = read(fields[0]).merge(read(fields[1]))
    assert 12_000 == len(merged.get_evidence())
    assert merged == MemoryDocument.from_json(merged.to_json())


def test_the_deepest_metadata_that_can_be_set_comes_back():
    value: Any = 1
    for _ in range(32):
        value = [value]
    memory = document()
    memory.set_metadata({"deep": value})
    assert memory == MemoryDocument.from_bytes(memory.to_bytes())
    assert memory == MemoryDocument.from_json(memory.to_json())


def test_a_change_after_the_last_usable_stamp_is_refused_or_comes_back():
    memory = document(at=STAMP_MAX - 1)
    before = memory.to_bytes()
    try:
        memory.set_content("later than the year 9999")
    except ChrysalisError:
        assert before == memory.to_bytes()
    assert memory == MemoryDocument.from_json(memory.to_json())


def test_checks_name_the_value_and_the_limit():
    with pytest.raises(InvalidValue, match=r"tag must have 1 to 512 characters, got 513"):
        wire.check_name(LONG, what="tag")
    with pytest.raises(InvalidValue, match=r"1,048,577 bytes is over the limit of 1,048,576"):
        wire.check_content("x" * (2**20 + 1))
