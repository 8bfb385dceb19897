"""Learning and changing inside a transaction: what joins, what stays apart, what comes back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import combinations
from typing import Any

import pytest

from chrysalis_memory import MemoryDocument, MemoryStorage, NewMemory, learning
from chrysalis_memory.errors import InvalidValue, MemoryForgotten
from chrysalis_memory.history import history
from chrysalis_memory.learning import MemoryChange
from chrysalis_memory.provenance import sources_of, writers_of

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime.now(UTC) + timedelta(days=1000)


def learn(storage: MemoryStorage, content: str, **fields: Any) -> str:
    new = NewMemory.of(content=content, **fields)
    return storage.submit(lambda transaction: learning.learn(transaction, new, None)).result().id


def change(storage: MemoryStorage, memory_id: str, **changes: Any) -> MemoryDocument:
    return storage.update(memory_id, MemoryChange.of(**changes).apply)


# Sources


def test_what_is_learned_knows_its_source_and_its_writer(store: MemoryStorage) -> None:
    memory = store.get(learn(store, "text", source="web:a", tags="t", importance=0.9))

    assert memory.source_instance == "web:a"
    assert memory.get_evidence() == ["source:web:a"]
    assert {write.writer for write in history(memory) if write.field != "created"} == {"ada"}
    assert writers_of(memory) == ("ada",)


def test_without_a_named_source_it_is_the_writer(store: MemoryStorage) -> None:
    memory = store.get(learn(store, "text"))
    assert (memory.source_instance, memory.get_evidence()) == ("ada", [])


def test_a_source_that_repeats_a_text_is_noted_and_does_not_become_its_source(
    store: MemoryStorage,
) -> None:
    memory_id = learn(store, "text", source="user")
    assert learn(store, "text", source="web:a") == memory_id
    memory = store.get(memory_id)
    assert sources_of(memory) == ("user", "web:a")
    assert memory.source_instance == "user"


def test_another_source_changes_nothing_that_is_written(store: MemoryStorage) -> None:
    written = {"importance": 0.2, "metadata": {"k": 1}, "expires_at": FUTURE}
    memory_id = learn(store, "text", source="user", **written)
    change(store, memory_id, archived=True)

    learn(
        store, "text", source="web:a", memory_type="episodic", importance=0.9,
        metadata={"k": 2, "new": 3}, expires_at=PAST, tags="t",
    )  # fmt: skip

    memory = store.get(memory_id)
    assert (memory.memory_type, memory.get_importance()) == ("semantic", 0.2)
    assert (memory.metadata, memory.expires_at) == ({"k": 1, "new": 3}, FUTURE)
    assert (memory.archived, memory.get_tags()) == (True, ["t"])


def test_the_same_source_may_write_over_what_it_taught(store: MemoryStorage) -> None:
    memory_id = learn(store, "text", source="web:a", metadata={"k": 1})
    learn(store, "text", source="web:a", metadata={"k": 2}, importance=0.9)
    memory = store.get(memory_id)
    assert (memory.metadata, memory.get_importance()) == ({"k": 2}, 0.9)


@pytest.mark.parametrize("first", [None, "user"])
def test_a_source_does_not_put_its_text_under_the_id_of_another(
    store: MemoryStorage, first: str | None
) -> None:
    learn(store, "text", id="m", **({} if first is None else {"source": first}))

    with pytest.raises(InvalidValue, match=r"'m' holds another text, from .*source 'web:a'"):
        learn(store, "poison", id="m", source="web:a")

    assert store.get("m").content == "text"
    assert sources_of(store.get("m")) == (first or "ada",)


def test_a_writer_that_repeats_what_a_named_source_taught_is_noted(store: MemoryStorage) -> None:
    memory_id = learn(store, "text", source="web:a")
    learn(store, "text")
    learn(store, "text")
    assert sources_of(store.get(memory_id)) == ("web:a", "ada")


def test_a_writer_that_repeats_its_own_text_leaves_no_note(store: MemoryStorage) -> None:
    memory_id = learn(store, "text")
    learn(store, "text", source="web:a")
    learn(store, "text")
    assert store.get(memory_id).get_evidence() == ["source:web:a"]


def test_replicas_agree_on_the_source_and_keep_the_others(
    open_store: Callable[..., MemoryStorage],
) -> None:
    first, second = open_store("1.db", "ada"), open_store("2.db", "bob")
    memory_id = learn(first, "text", source="user")
    learn(second, "text", source="web:a")
    copies = [store.get(memory_id) for store in (first, second)]
    first.merge([copies[1]])
    second.merge([copies[0]])

    assert sources_of(first.get(memory_id)) == ("user", "web:a")
    assert first.get(memory_id) == second.get(memory_id)


def test_a_forgotten_text_comes_back_from_whoever_teaches_it_again(store: MemoryStorage) -> None:
    memory_id = learn(store, "text", source="web:a")
    store.forget(memory_id)
    learn(store, "text", source="user")
    assert sources_of(store.get(memory_id)) == ("user",)


# Only adding


def test_what_only_adds_leaves_what_is_written(store: MemoryStorage) -> None:
    memory_id = learn(store, "text", importance=0.2, metadata={"k": 1}, tags="a", expires_at=PAST)
    change(store, memory_id, archived=True)

    again = learn(
        store, "text", only_add=True, memory_type="episodic", importance=0.9, confidence=0.9,
        metadata={"k": 2, "new": 3}, tags="b", related="r", evidence="e", expires_at=FUTURE,
    )  # fmt: skip

    memory = store.get(again)
    assert again == memory_id
    assert (memory.memory_type, memory.get_importance()) == ("semantic", 0.2)
    assert (memory.get_confidence(), memory.metadata) == (0.5, {"k": 1, "new": 3})
    assert (memory.archived, memory.expires_at) == (True, PAST)
    assert (memory.get_tags(), memory.get_related()) == (["a", "b"], ["r"])
    assert memory.get_evidence() == ["e"]


def test_what_only_adds_writes_everything_of_something_new(store: MemoryStorage) -> None:
    memory = store.get(learn(store, "text", only_add=True, importance=0.9))
    assert memory.get_importance() == 0.9


def test_what_only_adds_brings_nothing_back(store: MemoryStorage) -> None:
    memory_id = learn(store, "text")
    store.submit(lambda transaction: transaction.forget(memory_id)).result()

    with pytest.raises(MemoryForgotten):
        learn(store, "text", only_add=True)

    assert store.get(memory_id) is None


def test_what_only_adds_replaces_no_text(store: MemoryStorage) -> None:
    learn(store, "text", id="m")

    with pytest.raises(InvalidValue, match="'m' holds another text"):
        learn(store, "another", id="m", only_add=True)

    assert store.get("m").content == "text"


# Learning once


def test_everything_given_is_written_and_the_rest_reads_as_its_default(
    store: MemoryStorage,
) -> None:
    memory_id = learn(
        store,
        "text",
        memory_type="procedural",
        namespace="user/ada",
        tags=["a", "b"],
        importance=0.9,
        confidence=0.8,
        metadata={"k": [1]},
        episode="talk",
        position=3,
        related="r",
        parents=["p"],
        evidence=["e"],
        expires_at=FUTURE,
    )
    memory = store.get(memory_id)
    assert (memory.content, memory.memory_type) == ("text", "procedural")
    assert (memory.namespace, memory.get_tags()) == ("user/ada", ["a", "b"])
    assert (memory.get_importance(), memory.get_confidence()) == (0.9, 0.8)
    assert (memory.metadata, memory.expires_at) == ({"k": [1]}, FUTURE)
    assert (memory.episode, memory.position) == ("talk", 3)
    assert memory.get_related() + memory.get_parents() + memory.get_evidence() == ["r", "p", "e"]
    plain = store.get(learn(store, "another"))
    assert plain.get_vector_clock() == {"ada": 1}
    assert (plain.memory_type, plain.get_importance()) == ("semantic", 0.5)


# The same text again


def test_the_same_text_joins_and_gains(store: MemoryStorage) -> None:
    first = learn(store, "text", tags=["a"], importance=0.3, metadata={"k": 1}, evidence="x")
    second = learn(store, "text", tags=["b"], importance=0.8, metadata={"l": 2}, evidence="y")
    assert (first, store.count()) == (second, 1)
    memory = store.get(first)
    assert (memory.get_tags(), memory.get_evidence()) == (["a", "b"], ["x", "y"])
    assert (memory.get_importance(), memory.metadata) == (0.8, {"k": 1, "l": 2})


def test_joining_does_not_lower_or_rewrite(store: MemoryStorage) -> None:
    memory_id = learn(store, "text", importance=0.8, confidence=0.9, memory_type="episodic")
    stamp = store.get(memory_id).state.content
    learn(store, "text", importance=0.3, confidence=0.2)
    memory = store.get(memory_id)
    assert (memory.get_importance(), memory.get_confidence()) == (0.8, 0.9)
    assert (memory.memory_type, memory.state.content) == ("episodic", stamp)


def test_learning_what_is_known_in_every_part_writes_nothing(store: MemoryStorage) -> None:
    fields = {"tags": ["a"], "importance": 0.8, "metadata": {"k": 1}, "expires_at": FUTURE}
    memory_id = learn(store, "text", **fields)
    before = store.get(memory_id)
    learn(store, "text", **fields)
    assert store.get(memory_id) == before


def test_the_same_text_on_two_replicas_is_one_memory(
    open_store: Callable[..., MemoryStorage],
) -> None:
    here, there = open_store("1.db", "ada"), open_store("2.db", "bob")
    first, second = learn(here, "text", tags="a"), learn(there, "text", tags="b")
    assert first == second
    here.merge(there.states())
    assert (here.count(), sorted(here.get(first).get_tags())) == (1, ["a", "b"])


def test_namespace_text_and_turn_decide_the_id() -> None:
    memories = [
        NewMemory(content="a"),
        NewMemory(content="b"),
        NewMemory(content="a", namespace="x"),
        NewMemory(content="a", episode="x"),
        NewMemory(content="a", episode="x", position=0),
        NewMemory(content="a", episode="x", position=1),
        NewMemory(content="a", episode="y", position=1),
    ]
    for one, other in combinations(memories, 2):
        assert one.derived_id() != other.derived_id()
    same = NewMemory(content="a", tags="t", importance=1, namespace="")
    assert same.derived_id() == memories[0].derived_id()


def test_the_derived_id_never_changes_between_versions() -> None:
    packed = b"\x92\xa0\xa4text"  # MessagePack of ["", "text"]
    expected = f"m-{blake2b(packed, digest_size=16).hexdigest()}"
    assert NewMemory(content="text").derived_id() == expected


def test_two_turns_with_the_same_words_stay_two(store: MemoryStorage) -> None:
    turns = [learn(store, "Thanks!", episode="talk", position=i) for i in (1, 2)]
    assert len({*turns, learn(store, "Thanks!")}) == store.count() == 3
    assert learn(store, "Thanks!", episode="talk", position=1) == turns[0]


def test_unique_takes_a_new_random_id_every_time(store: MemoryStorage) -> None:
    ids = {learn(store, "text"), *(learn(store, "text", unique=True) for _ in range(2))}
    assert len(ids) == store.count() == 3
    assert learn(store, "text") in ids


def test_an_explicit_id_that_is_known_takes_the_new_text(store: MemoryStorage) -> None:
    learn(store, "first", id="m", tags="a")
    assert learn(store, "second", id="m") == "m"
    memory = store.get("m")
    assert (memory.content, memory.get_tags(), store.count()) == ("second", ["a"], 1)


# Edited, forgotten, archived, expired


def test_a_text_learned_again_after_an_edit_is_a_memory_of_its_own(store: MemoryStorage) -> None:
    edited = learn(store, "Tea is at four", tags="a")
    change(store, edited, content="Tea is at five")
    again = learn(store, "Tea is at four", tags="b")
    assert again != edited
    assert store.get(edited).content == "Tea is at five"
    assert store.get(edited).get_tags() == ["a"]
    assert store.get(again).content == "Tea is at four"
    assert learn(store, "Tea is at four") == again
    assert store.count() == 2


def test_a_forgotten_text_learned_again_lives_without_its_past(store: MemoryStorage) -> None:
    memory_id = learn(store, "text", tags="old", importance=0.9)
    store.forget(memory_id)
    assert learn(store, "text", tags="new") == memory_id
    memory = store.get(memory_id)
    assert (memory.content, memory.get_tags(), memory.get_importance()) == ("text", ["new"], 0.5)


def test_a_revived_memory_survives_merging_its_tombstone_and_its_old_copies(
    open_store: Callable[..., MemoryStorage],
) -> None:
    here, there = open_store("1.db"), open_store("2.db")
    memory_id = learn(here, "text", tags="old")
    there.merge(here.states())
    here.forget(memory_id)
    tombstone = list(here.states())
    learn(here, "text", tags="new")
    here.merge(tombstone)
    here.merge(there.states())
    there.merge(here.states())
    assert here.get(memory_id).get_tags() == there.get(memory_id).get_tags() == ["new"]


def test_an_archived_or_expired_text_learned_again_is_found_again(store: MemoryStorage) -> None:
    archived = learn(store, "archived")
    change(store, archived, archived=True)
    expired = learn(store, "expired", expires_at=PAST)
    assert store.count() == 0
    assert (learn(store, "archived"), learn(store, "expired")) == (archived, expired)
    assert store.count() == 2
    assert store.get(expired).expires_at is None


# Changing


def test_only_what_is_given_is_changed(store: MemoryStorage) -> None:
    memory_id = learn(store, "text", tags=["a", "b"], importance=0.9, expires_at=FUTURE)
    changed = change(store, memory_id, add_tags="c", remove_tags="a", importance=0.1)
    assert (changed.get_tags(), changed.get_importance()) == (["b", "c"], 0.1)
    assert (changed.content, changed.expires_at) == ("text", FUTURE)
    assert change(store, memory_id, expires_at=None).expires_at is None
    assert change(store, memory_id, metadata={"k": 1}).metadata == {"k": 1}
    assert change(store, memory_id, metadata={"k": None}).metadata == {}
    assert change(store, memory_id, namespace="x", memory_type="working").namespace == "x"
    assert change(store, memory_id, namespace="").namespace == ""


def test_a_change_to_what_it_is_already_writes_nothing(store: MemoryStorage) -> None:
    known = {"tags": "a", "namespace": "x", "metadata": {"k": 1}, "importance": 0.9}
    memory_id = learn(store, "text", **known)
    before = store.get(memory_id)
    same = {"content": "text", "namespace": "x", "add_tags": "a", "remove_tags": "b"}
    same |= {"expires_at": None, "archived": False, "metadata": {"k": 1}, "importance": 0.9}
    assert change(store, memory_id, **same) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"content": " \n"},
        {"content": 5},
        {"tags": [""]},
        {"tags": [1]},
        {"importance": float("nan")},
        {"importance": 2},
        {"importance": True},
        {"memory_type": "emotional"},
        {"namespace": "/a"},
        {"metadata": {"k": object()}},
        {"metadata": {"": 1}},
        {"position": -1},
        {"expires_at": datetime(2030, 1, 1)},
        {"id": ""},
        {"colour": "red"},
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        NewMemory.of(**({"content": "text"} | fields))
