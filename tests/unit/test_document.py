"""What one memory document does; what merging means for histories is in tests/property."""

from datetime import UTC, datetime, timedelta, timezone
from functools import reduce

import pytest
from strategies import clock_at

from chrysalis_memory import MemoryDocument
from chrysalis_memory.errors import (
    DocumentMismatch,
    InvalidValue,
    MemoryForgotten,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAN = float("nan")
HUGE = 10**5000


def document(memory_id="m", content="Water boils at 100 °C", *, at=10, writer="ann"):
    return MemoryDocument(memory_id, content, source_instance=writer, clock=clock_at(at))


def both_ways(a, b):
    """Return the merged document, the same in both directions."""
    merged = a.merge(b)
    assert merged == b.merge(a)
    assert merged.to_bytes() == b.merge(a).to_bytes()
    return merged


# The README's samples


def test_a_document_is_made_as_in_the_readme():
    memory = MemoryDocument(
        id="mem-1",
        content="Learning about distributed systems",
        memory_type="semantic",
        source_instance="agent-001",
    )
    memory.add_tag("distributed")
    memory.set_importance(0.9, "agent-001")
    assert ("mem-1", "Learning about distributed systems") == (memory.id, memory.content)
    assert ("semantic", "agent-001") == (memory.memory_type, memory.source_instance)
    assert (["distributed"], 0.9) == (memory.get_tags(), memory.get_importance())


def test_a_blind_write_under_the_same_id_gives_both_tags_and_the_latest_text():
    memory = document("mem-1", "Learning about distributed systems", at=1, writer="agent-001")
    memory.add_tag("distributed")
    other = document("mem-1", "Learning about CRDT", at=2, writer="agent-002")
    other.add_tag("crdt")
    merged = both_ways(memory, other)
    assert ["distributed", "crdt"] == merged.get_tags()
    assert "Learning about CRDT" == merged.content


# Reading


READS = {
    "memory_type": "semantic", "namespace": "", "episode": None, "position": None,
    "expires_at": None, "archived": False, "metadata": {}, "is_forgotten": False,
    "get_tags": [], "get_related": [], "get_parents": [], "get_evidence": [],
    "get_importance": 0.5, "get_confidence": 0.5, "get_access_count": 0,
}  # fmt: skip
"""What a new document answers, by property or method."""


def reads(memory):
    found = {name: getattr(memory, name) for name in READS}
    return {name: value() if callable(value) else value for name, value in found.items()}


def test_a_new_document_has_the_documented_defaults():
    memory = MemoryDocument(content="text")
    assert READS == reads(memory)
    assert {"unknown": 1} == memory.get_vector_clock()
    assert "unknown" == memory.source_instance
    assert 32 == len(memory.id)
    assert memory.id != MemoryDocument(content="text").id


def test_every_field_reads_back_what_was_set():
    memory = document()
    moment = datetime(2030, 5, 6, 7, 8, 9, 123456, tzinfo=timezone(timedelta(hours=2)))
    memory.set_content("new text")
    memory.set_memory_type("procedural")
    memory.set_namespace("user/ann")
    memory.set_episode("talk", 3)
    memory.set_expires_at(moment)
    memory.set_archived(True)
    memory.set_metadata({"b": [1, {"c": None}], "a": "ü"})
    memory.set_confidence(1)
    memory.add_related("r2")
    memory.add_related("r1")
    memory.add_parent("p")
    memory.add_evidence("e")
    memory.record_access("laptop", 2)
    memory.record_access("server")
    expected = READS | {
        "memory_type": "procedural", "namespace": "user/ann", "episode": "talk", "position": 3,
        "expires_at": moment, "archived": True, "metadata": {"a": "ü", "b": [1, {"c": None}]},
        "get_related": ["r1", "r2"], "get_parents": ["p"], "get_evidence": ["e"],
        "get_confidence": 1.0, "get_access_count": 3,
    }  # fmt: skip
    assert expected == reads(memory)
    assert "new text" == memory.content
    assert memory == MemoryDocument.from_json(memory.to_json())
    assert memory == MemoryDocument.from_bytes(memory.to_bytes())


def test_what_was_set_can_be_unset():
    memory = document()
    memory.set_episode("talk", 3)
    memory.set_expires_at(EPOCH + timedelta(days=1))
    memory.set_namespace("user")
    memory.set_metadata({"a": 1, "b": 2})
    memory.set_episode(None)
    memory.set_expires_at(None)
    memory.set_namespace("")
    memory.set_metadata({"a": None})
    assert READS | {"metadata": {"b": 2}} == reads(memory)


def test_times_come_from_the_stamps_in_the_document():
    memory = document(at=1_000_000)
    memory.add_tag("red")
    assert EPOCH + timedelta(seconds=1) == memory.created_at
    assert EPOCH + timedelta(seconds=1, microseconds=1) == memory.updated_at


def test_version_counts_the_writes_and_merging_twice_counts_nothing_twice():
    ann, bob = document(writer="ann"), document(writer="bob")
    ann.add_tag("red")
    merged = both_ways(ann, bob)
    assert (2, 1, 3) == (ann.version, bob.version, merged.version)
    assert 3 == merged.merge(bob).merge(ann).version
    assert {"ann": 2, "bob": 1} == merged.get_vector_clock()


def test_every_change_is_stamped_above_all_stamps_in_the_document():
    memory = MemoryDocument.of("m", document(at=5_000).state, writer="bob", clock=clock_at(3))
    memory.set_content("written with a slow clock")
    assert "written with a slow clock" == both_ways(memory, document(at=5_000)).content
    assert EPOCH + timedelta(microseconds=5_001) == memory.updated_at


# Merging


def test_a_removed_tag_stays_removed_when_an_old_copy_is_merged():
    memory = document()
    memory.add_tag("red")
    old = memory.copy()
    memory.remove_tag("red")
    assert [] == both_ways(memory, old).get_tags()


def test_a_tag_added_elsewhere_meanwhile_survives_a_remove():
    memory = document()
    memory.add_tag("red")
    other = memory.copy()
    memory.remove_tag("red")
    other.add_tag("red", "bob")
    assert ["red"] == both_ways(memory, other).get_tags()


def test_a_lowered_importance_stays_lowered_when_an_old_copy_is_merged():
    memory = document()
    memory.set_importance(0.9)
    old = memory.copy()
    memory.set_importance(0.2, "bob")
    assert 0.2 == both_ways(memory, old).get_importance()


def test_setting_the_importance_does_not_carry_old_content_over_new():
    memory = document(content="old")
    other = memory.copy()
    other.set_content("new", "bob")
    memory.set_importance(0.9)
    memory.set_importance(0.8)
    merged = both_ways(memory, other)
    assert ("new", 0.8) == (merged.content, merged.get_importance())


def test_five_blind_writes_by_one_writer_keep_all_five_tags():
    writes = []
    for number in range(5):
        memory = document(at=7)
        memory.add_tag(f"tag-{number}")
        writes.append(memory)
    for order in (writes, writes[::-1]):
        assert [f"tag-{n}" for n in range(5)] == reduce(MemoryDocument.merge, order).get_tags()


def test_a_blind_write_overwrites_no_field_it_was_not_given():
    known = document(at=1)
    known.set_memory_type("procedural")
    known.set_namespace("user")
    known.set_importance(0.1)
    merged = both_ways(known, document(at=50, content="blind"))
    written = {"memory_type": "procedural", "namespace": "user", "get_importance": 0.1}
    assert READS | written == reads(merged)
    assert "blind" == merged.content


def test_metadata_keys_merge_one_by_one():
    memory = document()
    other = memory.copy()
    memory.set_metadata({"mine": 1, "shared": "ann"}, "ann")
    other.set_metadata({"theirs": 2, "shared": "bob"}, "bob")
    assert {"mine": 1, "theirs": 2, "shared": "bob"} == both_ways(memory, other).metadata


def test_documents_of_different_ids_are_not_merged():
    memory, other = document("one"), document("other")
    for merge in (memory.merge, memory.merge_into):
        with pytest.raises(DocumentMismatch, match=r"'one'.*'other'"):
            merge(other)
    assert document("one") == memory


def test_copies_and_merged_documents_are_independent():
    memory = document()
    memory.set_metadata({"list": [1]})
    before = memory.to_bytes()
    for other in (memory.copy(), memory.merge(memory), memory.merge(document(writer="bob"))):
        other.add_tag("red")
        other.metadata["list"].append(2)
        other.get_tags().append("blue")
        other.get_vector_clock()["ann"] = 99
    assert before == memory.to_bytes()


# Forgetting


def test_forgetting_purges_everything_but_the_id():
    memory = document(content="a secret", writer="ann")
    memory.add_tag("secret tag")
    memory.forget()
    assert '{"format":1,"id":"m","life":2}' == memory.to_json()
    assert READS | {"is_forgotten": True} == reads(memory)
    assert ("", None, None) == (memory.content, memory.created_at, memory.updated_at)


def test_forgetting_beats_concurrent_edits_and_old_copies():
    memory = document()
    edited = memory.copy()
    edited.set_content("edited meanwhile", "bob")
    memory.forget()
    assert both_ways(memory, edited).is_forgotten
    assert both_ways(memory, document()).is_forgotten


def test_a_forgotten_memory_revived_on_purpose_lives_and_old_copies_stay_out():
    memory = document(content="before", at=900)
    memory.add_tag("old tag")
    old = memory.copy()
    memory.forget()
    revived = memory.merge(document(content="after", at=1).revived(memory.state.life))
    merged = both_ways(revived, old)
    assert ("after", []) == (merged.content, merged.get_tags())
    merged.forget()
    assert both_ways(merged, revived).is_forgotten


def test_only_what_was_forgotten_can_be_revived():
    for life in (1, 3, 0, -2):
        with pytest.raises(InvalidValue):
            document().revived(life)


CHANGES = [
    ("set_content", ("x",)), ("set_memory_type", ("working",)), ("set_namespace", ("x",)),
    ("set_episode", ("x",)), ("set_expires_at", (None,)), ("set_archived", (True,)),
    ("set_metadata", ({"x": 1},)), ("set_importance", (0.1,)), ("set_confidence", (0.1,)),
    ("add_tag", ("x",)), ("remove_tag", ("x",)), ("add_related", ("x",)), ("add_parent", ("x",)),
    ("add_evidence", ("x",)), ("record_access", ("x",)), ("forget", ()),
]  # fmt: skip


@pytest.mark.parametrize(("method", "arguments"), CHANGES)
def test_no_change_is_made_to_a_forgotten_memory(method, arguments):
    memory = document()
    memory.forget()
    before = memory.to_bytes()
    with pytest.raises(MemoryForgotten, match="'m'"):
        getattr(memory, method)(*arguments)
    assert before == memory.to_bytes()


# Refusing

LONG = "x" * 513
BAD_TEXT = (None, 1, b"x", "nul\0", "\ud800")
BAD_NAMES = (*BAD_TEXT, "", LONG)
BAD_SCORES = (NAN, float("inf"), -0.1, 1.1, True, "0.5", None, HUGE)
REFUSED = {
    "set_content": (*BAD_TEXT, "", " \n\t", "x" * (2**20 + 1), "ü" * (2**19 + 1)),
    "set_memory_type": (None, 1, "", "Semantic", "emotional", ["semantic"]),
    "set_namespace": (*BAD_TEXT, LONG, "/", "a/", "/a", "a//b"),
    "set_episode": (1, b"x", "nul\0", "\ud800", "", LONG),
    "set_expires_at": (0, "2030-01-01", datetime(2030, 1, 1), EPOCH - timedelta(days=1)),
    "set_archived": (None, 1, 0, "yes"),
    "set_importance": BAD_SCORES,
    "set_confidence": BAD_SCORES,
    "set_metadata": (
        None, 1, "x", [1], [("a", 1)], {"": 1}, {1: 1}, {LONG: 1}, {"a": NAN}, {"a": b"x"},
        {"a": {1: 2}}, {"a": object()}, {"a": "\ud800"}, {"a": HUGE}, {"good": 1, "bad": NAN},
        {"a": "x" * 70_000},
    ),
    "add_tag": BAD_NAMES,
    "add_related": BAD_NAMES,
    "add_parent": BAD_NAMES,
    "add_evidence": BAD_NAMES,
    "record_access": BAD_NAMES,
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "value"),
    [
        pytest.param(method, value, id=f"{method}-{number}")
        for method, values in REFUSED.items()
        for number, value in enumerate(values)
    ],
)
def test_a_refused_value_changes_nothing(method, value):
    memory = document()
    memory.set_metadata({"key": 1})
    state = memory.state
    with pytest.raises(InvalidValue):
        getattr(memory, method)(value)
    assert state is memory.state


@pytest.mark.parametrize("writer", BAD_NAMES[1:])
@pytest.mark.parametrize(("method", "arguments"), CHANGES[:11])
def test_a_refused_writer_changes_nothing(method, arguments, writer):
    memory = document()
    state = memory.state
    with pytest.raises(InvalidValue):
        getattr(memory, method)(*arguments, writer=writer)
    assert state is memory.state


@pytest.mark.parametrize("position", [-1, 1.0, "1", True, 2**53])
def test_a_refused_position_leaves_the_episode_as_it_was(position):
    memory = document()
    with pytest.raises(InvalidValue):
        memory.set_episode("talk", position)
    assert document() == memory


@pytest.mark.parametrize("count", [0, -1, 1.0, True, None, 2**62, 2**64])
def test_a_refused_access_count_changes_nothing(count):
    memory = document()
    with pytest.raises(InvalidValue):
        memory.record_access("laptop", count)
    assert document() == memory


@pytest.mark.parametrize(
    "arguments",
    [
        {"id": ""}, {"id": 1}, {"id": LONG}, {"content": ""}, {"content": None},
        {"memory_type": "emotional"}, {"source_instance": ""}, {"source_instance": None},
    ],
)  # fmt: skip
def test_a_document_is_not_made_of_refused_values(arguments):
    with pytest.raises(InvalidValue):
        MemoryDocument(**({"content": "text"} | arguments))


def test_a_text_in_any_script_is_kept_to_the_character():
    text = "ü 猫 \U0001f98b e\u0301 \u202e \r\n\t trailing "
    memory = document(content=text)
    assert text == memory.content == MemoryDocument.from_bytes(memory.to_bytes()).content


# Handles


def test_a_document_equals_only_documents_of_the_same_id_and_state():
    assert document() == document()
    assert document("one") != document("other")
    assert document() != "m"
    with pytest.raises(TypeError):
        hash(document())


def test_repr_shows_id_text_and_tags_and_shortens_long_text():
    memory = document(content="x" * 100)
    assert f"MemoryDocument(id='m', content={'x' * 57 + '...'!r}, tags=[])" == repr(memory)
    memory.forget()
    assert "MemoryDocument(id='m', forgotten)" == repr(memory)
