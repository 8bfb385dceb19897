"""Collections of memories in main memory."""

import json
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import LAWS, History, clock_at, histories

from chrysalis_memory import Filter, MemoryCollection, MemoryDocument
from chrysalis_memory.errors import InvalidDocument, InvalidValue, MemoryForgotten

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def document(memory_id="m", content="text", *, at=10, writer="ann"):
    return MemoryDocument(memory_id, content, source_instance=writer, clock=clock_at(at))


def collection(*documents, instance="here"):
    made = MemoryCollection(instance)
    for memory in documents:
        made.put(memory)
    return made


def ids(memories):
    return [memory.id for memory in memories]


def test_an_empty_collection_holds_nothing():
    memories = MemoryCollection()
    assert memories.is_empty()
    assert ([], 0, None) == (memories.all(), len(memories), memories.get("m"))
    assert "m" not in memories
    assert memories.instance_id != MemoryCollection().instance_id


def test_a_memory_that_was_put_is_found_by_its_id():
    memories = MemoryCollection("here")
    assert "m" == memories.put(document("m"))
    assert document("m") == memories.get("m")
    assert ("m" in memories, 1 in memories, len(memories)) == (True, False, 1)
    assert not memories.is_empty()


def test_putting_a_known_id_merges_and_overwrites_nothing():
    first, second = document(at=1), document(at=2, content="later", writer="bob")
    first.add_tag("red")
    second.add_tag("blue")
    memories = collection(first, second)
    assert (1, "later", ["red", "blue"]) == (
        len(memories),
        memories.get("m").content,
        memories.get("m").get_tags(),
    )


def test_a_removed_tag_stays_removed_when_an_old_copy_is_put():
    memory = document()
    memory.add_tag("red")
    old = memory.copy()
    memory.remove_tag("red")
    assert [] == collection(memory, old).get("m").get_tags()
    assert [] == collection(old, memory).get("m").get_tags()


def test_a_lowered_importance_stays_lowered_when_an_old_copy_is_put():
    memory = document()
    memory.set_importance(0.9)
    old = memory.copy()
    memory.set_importance(0.1)
    assert 0.1 == collection(memory, old).get("m").get_importance()


def test_what_goes_in_and_comes_out_are_copies():
    memory = document()
    memories = collection(memory)
    memory.add_tag("changed outside")
    for handle in (memories.get("m"), memories.all()[0], next(iter(memories))):
        handle.set_content("changed outside")
    assert collection(document()) == memories


def test_memories_are_listed_oldest_first_and_by_id_when_of_one_age():
    memories = collection(
        document("c", at=5), document("b", at=5), document("a", at=9), document("d", at=1)
    )
    assert ["d", "b", "c", "a"] == memories.ids() == ids(memories) == ids(memories.all())


# Forgetting


def test_a_forgotten_memory_is_gone_and_its_id_is_remembered():
    memories = collection(document("m"), document("n"))
    assert memories.forget("m")
    assert (None, 1, ["n"]) == (memories.get("m"), len(memories), memories.ids())
    assert "m" not in memories
    assert ["m", "n"] == ids(memories.states())
    assert collection(document("m")) != memories


def test_forgetting_what_is_not_there_says_so():
    memories = collection(document("m"))
    memories.forget("m")
    assert (False, False) == (memories.forget("m"), memories.forget("unknown"))


def test_putting_a_forgotten_id_raises_and_changes_nothing():
    memories = collection(document("m"))
    memories.forget("m")
    before = memories.to_json()
    for old in (document("m"), document("m", at=99, writer="bob")):
        with pytest.raises(MemoryForgotten, match=r"'m'.*on purpose"):
            memories.put(old)
    assert before == memories.to_json()


def test_merging_an_old_copy_of_a_forgotten_memory_changes_nothing():
    old = collection(document("m"))
    memories = collection(document("m"))
    memories.forget("m")
    for merged in (memories.merge(old), old.merge(memories)):
        assert memories == merged
        assert merged.is_empty()
    memories.merge_memory(document("m", at=99))
    assert memories.is_empty()


def test_a_memory_revived_on_purpose_can_be_put():
    memories = collection(document("m"))
    memories.forget("m")
    (forgotten,) = memories.states()
    memories.put(document("m", "again").revived(forgotten.state.life))
    assert "again" == memories.get("m").content


# Merging


def test_merging_two_collections_keeps_everything_and_changes_neither():
    one = collection(document("a", at=1), document("both", at=2), instance="one")
    two = collection(document("both", "later", at=3), document("b", at=4), instance="two")
    before = one.to_json(), two.to_json()
    merged = one.merge(two)
    assert ["a", "both", "b"] == merged.ids()
    assert ("one", "later") == (merged.instance_id, merged.get("both").content)
    merged.forget("a")
    assert before == (one.to_json(), two.to_json())


def test_merging_in_place_gives_what_merge_returns():
    one, two = collection(document("a")), collection(document("b"))
    expected = one.merge(two)
    one.merge_into(two)
    assert expected == one


def test_a_collection_merged_into_itself_is_unchanged():
    memories = collection(document("a"), document("b"))
    before = memories.to_json()
    memories.merge_into(memories)
    assert before == memories.to_json()


def renamed(memory, memory_id):
    return MemoryDocument.of(memory_id, memory.state)


def replicas_of(drawn: list[History]):
    """Return three collections, each with one replica's copy of every history."""
    replicas = [MemoryCollection("replica") for _ in range(3)]
    for number, history in enumerate(drawn):
        for replica, memory in zip(replicas, history.latest, strict=True):
            replica.merge_memory(renamed(memory, f"m{number}"))
    return replicas


@settings(LAWS, max_examples=100)
@given(st.lists(histories(), min_size=1, max_size=3))
def test_every_merge_order_of_three_collections_gives_the_same_json(drawn):
    replicas = replicas_of(drawn)
    results = set()
    for a, b, c in permutations(replicas):
        results |= {a.merge(b).merge(c).to_json(), a.merge(b.merge(c)).to_json()}
    assert len(results) == 1


@settings(LAWS, max_examples=100)
@given(st.lists(histories(), min_size=1, max_size=3))
def test_an_export_comes_back_whole_with_what_was_forgotten(drawn):
    for replica in replicas_of(drawn):
        restored = MemoryCollection.from_json(replica.to_json())
        assert replica == restored
        assert replica.to_json() == restored.to_json()
        assert replica.ids() == restored.ids()


def test_the_export_is_a_list_of_documents_by_id():
    memories = collection(document("b"), document("a"))
    memories.forget("b")
    exported = json.loads(memories.to_json())
    assert ["a", "b"] == [fields["id"] for fields in exported]
    assert {"format": 1, "id": "b", "life": 2} == exported[1]
    assert document("a") == MemoryDocument.from_json(json.dumps(exported[0]))


def test_an_export_with_one_id_twice_is_merged():
    one, two = document("m", at=1), document("m", at=2)
    one.add_tag("red")
    two.add_tag("blue")
    restored = MemoryCollection.from_json(f"[{one.to_json()},{two.to_json()}]", instance_id="new")
    assert ("new", ["red", "blue"]) == (restored.instance_id, restored.get("m").get_tags())


@pytest.mark.parametrize(
    "text", ["", "{}", "null", "[1]", "[[]]", "[{}]", '[{"format":1}]', b"\xff"]
)
def test_what_is_no_export_is_refused(text):
    with pytest.raises(InvalidDocument):
        MemoryCollection.from_json(text)


def test_an_export_with_one_bad_document_is_refused_whole():
    with pytest.raises(InvalidDocument):
        MemoryCollection.from_json(f"[{document().to_json()},{{}}]")


# Finding


@pytest.fixture
def memories():
    made = [document(name, at=at) for at, name in enumerate("abcd", start=1)]
    made[0].set_importance(0.2)
    made[1].set_memory_type("episodic")
    made[2].set_importance(0.9)
    made[2].add_tag("red")
    made[3].add_tag("red")
    made[3].set_importance(0.9)
    return collection(*made)


def test_memories_are_found_by_type_tag_and_importance(memories):
    assert ["b"] == ids(memories.query_by_type("episodic"))
    assert ["a", "c", "d"] == ids(memories.query_by_type("semantic"))
    assert ["c", "d"] == ids(memories.query_by_tag("red"))
    assert [] == memories.query_by_tag("blue")
    assert ["c", "d", "b"] == ids(memories.query_by_importance(0.5))


def test_memories_are_found_by_a_filter_at_a_moment(memories):
    soon = memories.get("a")
    soon.set_expires_at(EPOCH + timedelta(seconds=1))
    memories.put(soon)
    wanted = Filter(memory_type="semantic")
    assert ["a", "c", "d"] == ids(memories.find(wanted, now=EPOCH))
    assert ["c", "d"] == ids(memories.find(wanted, now=EPOCH + timedelta(seconds=1)))
    assert ["c", "d"] == ids(memories.find(wanted))


def test_forgotten_memories_are_not_found(memories):
    memories.forget("c")
    assert ["d"] == ids(memories.query_by_tag("red"))


@pytest.mark.parametrize(
    ("method", "value"),
    [("query_by_type", "emotional"), ("query_by_importance", float("nan")),
     ("query_by_importance", 2), ("query_by_tag", ""), ("query_by_tag", 1)],
)  # fmt: skip
def test_a_refused_question_raises(memories, method, value):
    with pytest.raises(InvalidValue):
        getattr(memories, method)(value)


@pytest.mark.parametrize("instance", ["", 1, "nul\0", "x" * 513])
def test_a_refused_instance_name_raises(instance):
    with pytest.raises(InvalidValue):
        MemoryCollection(instance)


def test_equality_is_of_the_memories_not_of_the_name():
    assert collection(document(), instance="one") == collection(document(), instance="two")
    assert collection() != []
    with pytest.raises(TypeError):
        hash(collection())


def test_repr_shows_name_and_size(memories):
    memories.forget("a")
    assert "MemoryCollection('here', 3 memories)" == repr(memories)
