"""Near duplicates are reported; consolidating links them, or joins them without losing a text."""

from collections.abc import Iterator

import pytest

from chrysalis_memory import Embedding, MemoryDocument, MemoryStorage
from chrysalis_memory.errors import InvalidValue, MemoryForgotten, MemoryNotFound
from chrysalis_memory.hygiene import consolidate, duplicates


@pytest.fixture
def storage() -> Iterator[MemoryStorage]:
    with MemoryStorage(":memory:", "ada", synchronous="NORMAL") as opened:
        yield opened


def keep(storage: MemoryStorage, memory_id: str, vector: list[float], text: str = "") -> None:
    document = MemoryDocument(memory_id, text or f"text of {memory_id}", source_instance="ada")
    storage.put(document, Embedding(vector, "plane", document.content))


def found(storage: MemoryStorage, threshold: float) -> list[set[str]]:
    return [
        {memory.id for memory in group.memories}
        for group in duplicates(storage, threshold=threshold)
    ]


def test_memories_that_are_alike_are_grouped_and_the_largest_group_comes_first(storage) -> None:
    for number, vector in enumerate([[1, 0], [0.999, 0.01], [0.998, 0.02], [0, 1], [0.01, 1]]):
        keep(storage, f"m{number}", vector)
    keep(storage, "alone", [-1, -1])

    assert found(storage, 0.99) == [{"m0", "m1", "m2"}, {"m3", "m4"}]


def test_the_similarity_of_a_group_is_the_least_that_connects_it(storage) -> None:
    keep(storage, "a", [1, 0])
    keep(storage, "b", [0.96, 0.28])

    (group,) = duplicates(storage, threshold=0.9)

    assert group.similarity == pytest.approx(0.96)
    assert [memory.id for memory in group.memories] == ["a", "b"]


def test_a_threshold_nothing_reaches_finds_nothing(storage) -> None:
    keep(storage, "a", [1, 0])
    keep(storage, "b", [0, 1])

    assert found(storage, 0.5) == []


def test_archived_forgotten_and_pending_memories_are_left_out(storage) -> None:
    for name in ("a", "archived", "forgotten"):
        keep(storage, name, [1, 0])
    storage.put(MemoryDocument("pending", "no vector yet"))
    storage.update("archived", lambda memory: memory.set_archived(True))
    storage.forget("forgotten")

    assert found(storage, 0.9) == []


def test_the_search_says_how_far_it_is(storage) -> None:
    for number in range(250):
        keep(storage, f"m{number}", [1, number])
    steps: list[tuple[int, int]] = []

    duplicates(storage, threshold=1, progress=lambda done, total: steps.append((done, total)))

    assert steps == [(200, 250), (250, 250)]


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), "0.9", None])
def test_a_threshold_that_is_no_cosine_is_refused(storage, threshold) -> None:
    with pytest.raises(InvalidValue, match="threshold"):
        duplicates(storage, threshold=threshold)


def test_linking_relates_each_to_each_and_changes_no_text(storage) -> None:
    for name in ("a", "b", "c"):
        keep(storage, name, [1, 0])

    storage.submit(lambda t: consolidate(t, ["a", "b", "c"], "link")).result()

    assert {m.id: m.get_related() for m in storage.all()} == {
        "a": ["b", "c"],
        "b": ["a", "c"],
        "c": ["a", "b"],
    }


def test_joining_gives_the_oldest_what_the_others_had_and_archives_them(storage) -> None:
    keep(storage, "old", [1, 0])
    keep(storage, "new", [1, 0])
    storage.update("old", lambda m: (m.set_importance(0.2), m.set_metadata({"k": "old"})))
    storage.update(
        "new",
        lambda m: (
            m.add_tag("tag"),
            m.add_evidence("quotation"),
            m.set_importance(0.9),
            m.set_metadata({"k": "new", "only": 1}),
        ),
    )

    survivor = storage.submit(lambda t: consolidate(t, ["new", "old"], "join")).result()

    memory = storage.get(survivor)
    assert (survivor, memory.content) == ("old", "text of old")
    assert (memory.get_tags(), memory.get_evidence()) == (["tag"], ["quotation"])
    assert (memory.get_parents(), memory.get_importance()) == (["new"], 0.9)
    assert memory.metadata == {"k": "old", "only": 1}
    assert [m.id for m in storage.all()] == ["old"]
    assert storage.get("new").content == "text of new"
    assert storage.get("new").archived


def test_an_unknown_or_forgotten_memory_is_refused_and_nothing_is_changed(storage) -> None:
    keep(storage, "a", [1, 0])
    keep(storage, "gone", [1, 0])
    storage.forget("gone")
    before = storage.export_collection()

    with pytest.raises(MemoryNotFound):
        storage.submit(lambda t: consolidate(t, ["a", "absent"], "join")).result()
    with pytest.raises(MemoryForgotten):
        storage.submit(lambda t: consolidate(t, ["a", "gone"], "join")).result()

    assert storage.export_collection() == before


@pytest.mark.parametrize(("ids", "how"), [(["a"], "link"), (["a", "a"], "link"), ([], "join")])
def test_fewer_than_two_memories_cannot_be_consolidated(storage, ids, how) -> None:
    keep(storage, "a", [1, 0])
    with pytest.raises(InvalidValue, match="at least two"):
        storage.submit(lambda t: consolidate(t, ids, how)).result()


def test_another_way_of_consolidating_is_refused(storage) -> None:
    with pytest.raises(InvalidValue, match="'link' or 'join'"):
        storage.submit(lambda t: consolidate(t, ["a", "b"], "drop")).result()
