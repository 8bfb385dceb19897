"""An agent's memory through its front door."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory import AgentMemory, NewMemory
from chrysalis_memory.errors import (
    DegradedRecall,
    EmbeddingSpaceMismatch,
    MemoryForgotten,
    MemoryNotFound,
)
from embedders.errors import EmbedderUnavailable
from embedders.hashing import HashingEmbedder

Start = Callable[..., Awaitable[AgentMemory]]
Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]


def texts(found: Any) -> list[str]:
    return [memory.content for memory in found]


async def pending(memory: AgentMemory) -> int:
    return (await memory.statistics()).pending


async def none_pending(memory: AgentMemory) -> bool:
    return await pending(memory) == 0


# Learning and finding


async def test_what_was_learned_is_recalled_best_first_with_its_reasons(
    agent: AgentMemory,
) -> None:
    await agent.learn("The user prefers Python over JavaScript", tags=["preference"])
    await agent.learn("Tea is served at four o'clock")
    found = await agent.recall("Does the user like Python?", k=2)
    assert found[0].content == "The user prefers Python over JavaScript"
    assert found[0].score == found[0].explanation.recompute() > found[-1].score
    assert found[0].get_tags() == ["preference"]


async def test_learn_many_reports_progress_and_returns_ids_in_order(start_agent: Start) -> None:
    agent = await start_agent(embedding_batch=4)
    steps: list[tuple[int, int]] = []
    memories = [f"text {i}" for i in range(8)]
    memories += [NewMemory(content="ninth", tags="t"), {"content": "tenth", "importance": 1}]
    ids = await agent.learn_many(memories, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(4, 10), (8, 10), (10, 10)]
    learned = [await agent.get(memory_id) for memory_id in ids[7:]]
    assert texts(learned) == ["text 7", "ninth", "tenth"]
    assert (await agent.learn_many([]), await agent.count()) == ([], 10)


async def test_an_update_changes_only_what_is_given_and_a_new_text_is_found(
    agent: AgentMemory,
) -> None:
    memory_id = await agent.learn("Tea is at four", tags=["a"], importance=0.9)
    changed = await agent.update(
        memory_id, content="Coffee break", add_tags="b", remove_tags="a", importance=0.1
    )
    assert (changed.content, changed.get_tags()) == ("Coffee break", ["b"])
    assert await pending(agent) == 0
    (found,) = await agent.recall("coffee break")
    assert (found.id, found.get_importance()) == (memory_id, 0.1)
    assert found.explanation.similarity == pytest.approx(1.0, abs=1e-5)
    assert await agent.recall("tea", mode="keyword") == []


async def test_what_is_forgotten_is_gone_until_it_is_learned_on_purpose(agent: AgentMemory) -> None:
    memory_id = await agent.learn("a secret", tags=["old"])
    assert await agent.forget(memory_id)
    assert not await agent.forget(memory_id)
    assert (await agent.get(memory_id), await agent.count()) == (None, 0)
    assert await agent.recall("a secret") == []
    with pytest.raises(MemoryForgotten):
        await agent.update(memory_id, importance=1)
    with pytest.raises(MemoryNotFound):
        await agent.update("unknown", importance=1)
    assert await agent.learn("a secret") == memory_id
    assert (await agent.get(memory_id)).get_tags() == []
    assert await agent.learn("another text", id=memory_id) == memory_id


async def test_a_text_learned_twice_is_one_memory_and_turns_stay_two(agent: AgentMemory) -> None:
    ids = [await agent.learn("Thanks!", tags=[tag]) for tag in "ab"]
    turns = [await agent.learn("Thanks!", episode="talk", position=i) for i in (1, 2)]
    assert len({*ids}) == 1
    assert len({*ids, *turns}) == await agent.count() == 3
    assert await agent.learn("Thanks!", unique=True) not in {*ids, *turns}
    assert (await agent.get(ids[0])).get_tags() == ["a", "b"]
    assert [m.position for m in await agent.recent(episode="talk")] == [2, 1]


async def test_a_filter_never_gives_fewer_than_k_while_k_match(agent: AgentMemory) -> None:
    crowd = [f"the cat sat on mat number {i}" for i in range(150)]
    await agent.learn_many(crowd)
    await agent.learn_many(
        {"content": f"unrelated gravel {i}", "tags": "rare", "namespace": "far/away"}
        for i in range(12)
    )
    for mode in ("hybrid", "semantic"):
        found = await agent.recall("the cat sat on the mat", k=12, mode=mode, tags_all="rare")
        assert len(found) == 12
    found = await agent.recall("cat", k=12, namespace_prefix="far")
    assert all(memory.namespace == "far/away" for memory in found)
    assert len(found) == 12
    assert len(await agent.recall("the cat", k=100)) == 100
    assert len(await agent.recall("gravel", k=12, mode="keyword", tags_any=["rare"])) == 12


async def test_expired_and_archived_memories_are_hidden_unless_asked_for(
    agent: AgentMemory,
) -> None:
    now = datetime.now(UTC)
    await agent.learn("tea one", expires_at=now - timedelta(days=1))
    await agent.learn("tea two", expires_at=now + timedelta(days=1))
    await agent.update(await agent.learn("tea three"), archived=True)
    assert texts(await agent.recall("tea")) == texts(await agent.recent()) == ["tea two"]
    assert texts(await agent.recall("tea", mode="keyword")) == ["tea two"]
    assert await agent.count() == 1
    assert await agent.count(include_archived=True, include_expired=True) == 3
    assert len(await agent.recall("tea", include_archived=True, include_expired=True)) == 3


async def test_recall_counts_use_after_answering_and_not_when_told_so(agent: AgentMemory) -> None:
    memory_id = await agent.learn("tea")
    (first,) = await agent.recall("tea")
    assert first.get_access_count() == 0
    assert (await agent.get(memory_id)).get_access_count() == 1
    await agent.recall("tea", track=False)
    assert (await agent.get(memory_id)).get_access_count() == 1
    await agent.recall("tea")
    (third,) = await agent.recall("tea", track=False)
    assert (await agent.recent())[0].get_access_count() == 2
    assert third.explanation.access_count <= 2


async def test_uses_are_counted_even_if_the_agent_stops_at_once(start_agent: Start) -> None:
    agent = await start_agent()
    memory_id = await agent.learn("tea")
    await agent.recall("tea")
    await agent.stop()
    await agent.start()
    assert (await agent.get(memory_id)).get_access_count() == 1


async def test_cancelling_a_reader_does_not_lose_use_counts(agent: AgentMemory) -> None:
    memory_id = await agent.learn("tea")
    await agent.recall("tea")
    running, release = threading.Event(), threading.Event()
    held = agent.storage.submit(lambda _: (running.set(), release.wait(20)))
    assert running.wait(20)
    reader = asyncio.create_task(agent.get(memory_id))
    for _ in range(5):
        await asyncio.sleep(0)
    reader.cancel()
    await asyncio.wait([reader])
    release.set()
    await asyncio.wrap_future(held)
    assert (await agent.get(memory_id)).get_access_count() == 1


async def test_min_score_and_mode_narrow_what_is_found(agent: AgentMemory) -> None:
    await agent.learn_many(["green tea", "black coffee"])
    found = await agent.recall("green tea", k=9)
    assert texts(await agent.recall("green tea", min_score=0.99 * found[0].score)) == ["green tea"]
    assert await agent.recall("green tea", min_score=99) == []
    assert texts(await agent.recall("tea", mode="keyword")) == ["green tea"]
    (only, _) = await agent.recall("green tea", mode="semantic")
    assert only.explanation.bm25 == 0


# While the embedder is away


async def test_what_is_learned_meanwhile_is_kept_found_by_words_and_embedded_later(
    start_agent: Start, embedder: Any, eventually: Eventually
) -> None:
    embedder.up = False
    agent = await start_agent(embedder=embedder)
    memory_id = await agent.learn("Tea is at four", tags=["a"])
    await agent.update(memory_id, content="Tea is at five")
    assert (await agent.get(memory_id)).content == "Tea is at five"
    assert texts(await agent.recall("tea", mode="keyword")) == ["Tea is at five"]
    with pytest.warns(DegradedRecall, match="words"):
        assert texts(await agent.recall("tea")) == ["Tea is at five"]
    with pytest.raises(EmbedderUnavailable, match="mode='keyword'"):
        await agent.recall("tea", mode="semantic")
    embedder.up = True

    await eventually(lambda: none_pending(agent))
    assert embedder.documents == ["Tea is at five"]
    (found,) = await agent.recall("tea at five", mode="semantic")
    assert found.explanation.similarity > 0.5


async def test_an_embedder_that_goes_and_returns_loses_nothing(
    start_agent: Start, embedder: Any, eventually: Eventually
) -> None:
    agent = await start_agent(embedder=embedder)
    await agent.learn("before")
    embedder.up = False
    await agent.learn_many([f"meanwhile {i}" for i in range(5)])
    assert (await pending(agent), await agent.count()) == (5, 6)
    embedder.up = True
    await agent.learn("after")

    await eventually(lambda: none_pending(agent))
    assert sorted(embedder.documents) == ["after", "before", *(f"meanwhile {i}" for i in range(5))]


async def test_a_write_that_comes_after_the_embedder_is_back_is_embedded_too(
    start_agent: Start, embedder: Any, eventually: Eventually
) -> None:
    agent = await start_agent(embedder=embedder)
    embedder.up = False
    running, release = threading.Event(), threading.Event()
    agent.storage.submit(lambda _: (running.set(), release.wait(20)))
    assert running.wait(20)
    learning = asyncio.create_task(agent.learn("tea"))
    await asyncio.wait_for(embedder.asked.wait(), 20)
    embedder.up = True
    for _ in range(20):  # let background work look, and find nothing that waits yet
        await agent.count()
    release.set()
    await learning

    await eventually(lambda: none_pending(agent))
    assert embedder.documents == ["tea"]


async def test_cancelling_learn_stores_the_whole_memory_or_nothing(
    start_agent: Start, embedder: Any
) -> None:
    agent = await start_agent(embedder=embedder)
    embedder.gate = asyncio.Event()
    task = asyncio.create_task(agent.learn("text", tags=["a"]))
    await asyncio.wait_for(embedder.asked.wait(), 20)
    task.cancel()
    await asyncio.wait([task])
    embedder.gate.set()
    assert task.cancelled()
    assert await agent.count() == 0
    await agent.learn("text", tags=["b"])
    assert (await agent.recent())[0].get_tags() == ["b"]


# Another embedder


async def test_another_embedder_than_the_files_is_refused(start_agent: Start) -> None:
    agent = await start_agent(embedder="hashing:64")
    await agent.learn("tea")
    await agent.stop()
    with pytest.raises(EmbeddingSpaceMismatch, match="on_embedder_change"):
        await start_agent(embedder="hashing:32")
    await agent.start()
    assert texts(await agent.recall("tea")) == ["tea"]


async def test_a_file_is_embedded_anew_when_asked_for(start_agent: Start) -> None:
    agent = await start_agent(embedder="hashing:64")
    await agent.learn_many([f"tea {i}" for i in range(10)])
    await agent.stop()
    again = await start_agent(embedder="hashing:32", on_embedder_change="reindex")
    statistics = await again.statistics()
    assert (statistics.space.dimension, statistics.pending, statistics.memories) == (32, 0, 10)
    assert len(await again.recall("tea", k=10, mode="semantic")) == 10


async def test_reindexing_answers_all_the_while_and_then_with_the_new_embedder(
    start_agent: Start, embedder: Any
) -> None:
    agent = await start_agent(embedder="hashing:64", embedding_batch=8)
    await agent.learn_many([f"tea number {i}" for i in range(100)])
    steps: list[tuple[int, int]] = []
    task = asyncio.create_task(agent.reindex(embedder, progress=lambda *step: steps.append(step)))
    answers = 0
    while not task.done():
        assert len(await agent.recall("tea number 7", k=20)) == 20
        answers += await agent.learn(f"learned meanwhile {answers}") is not None
    assert await task >= 100
    assert answers > 0
    assert steps[-1][0] <= steps[-1][1]
    assert (await agent.statistics()).space.model == "switched"
    found = await agent.recall("tea number 7", k=1, mode="semantic")
    assert texts(found) == ["tea number 7"]
    await agent.embed_pending()
    assert await pending(agent) == 0


async def test_a_question_asked_before_a_reindex_is_answered_after_it(
    start_agent: Start, embedder: Any
) -> None:
    agent = await start_agent(embedder=embedder)
    await agent.learn_many(["green tea", "black coffee"])
    embedder.asked.clear()
    embedder.gate = asyncio.Event()
    question = asyncio.create_task(agent.recall("green tea", mode="semantic"))
    await asyncio.wait_for(embedder.asked.wait(), 20)
    await agent.reindex(HashingEmbedder(64))
    embedder.gate.set()
    found = await question
    assert found[0].content == "green tea"
    assert found[0].explanation.similarity == pytest.approx(1.0, abs=1e-5)


async def test_a_reindex_that_fails_goes_on_where_it_stopped(
    start_agent: Start, embedder: Any
) -> None:
    agent = await start_agent(embedder="hashing:64", embedding_batch=10)
    await agent.learn_many([f"tea {i}" for i in range(40)])

    def stop_half_way(done: int, total: int) -> None:
        embedder.up = done < total / 2

    with pytest.raises(EmbedderUnavailable):
        await agent.reindex(embedder, progress=stop_half_way)
    await agent.stop()
    await agent.start()
    assert texts(await agent.recall("tea 7", k=1)) == ["tea 7"]
    assert (await agent.statistics()).space.model == "hashing"
    embedder.up = True
    assert await agent.reindex(embedder) == 20
    assert sorted(embedder.documents) == sorted(f"tea {i}" for i in range(40))
    assert texts(await agent.recall("tea 7", k=1)) == ["tea 7"]


# Moving, merging, sharing


async def test_what_is_exported_is_imported_whole(start_agent: Start, tmp_path: Path) -> None:
    agent, other = await start_agent(), await start_agent("bob", "other.db")
    kept = await agent.learn("tea", tags=["a"], metadata={"k": 1}, importance=0.9)
    await agent.recall("tea")
    gone = await agent.learn("gone")
    await agent.forget(gone)
    file = tmp_path / "export.jsonl"
    assert await agent.export(file) == 2
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == [kept, gone]
    steps: list[tuple[int, int]] = []
    assert await other.import_(file, progress=lambda *step: steps.append(step)) == 2
    assert steps == [(2, 2)]
    assert await other.import_(file) == 0
    assert (await other.get(kept)).state == (await agent.get(kept)).state
    await other.embed_pending()
    assert texts(await other.recall("tea", mode="semantic")) == ["tea"]
    with pytest.raises(MemoryForgotten):
        await other.update(gone, importance=1)


async def test_two_agents_that_merge_know_the_same(start_agent: Start) -> None:
    ada, bob = await start_agent("ada", "a.db"), await start_agent("bob", "b.db")
    shared = await ada.learn("tea is good", tags=["ada"], importance=0.2)
    assert await bob.learn("tea is good", tags=["bob"], importance=0.7) == shared
    await bob.learn("coffee is better")
    await ada.recall("tea")
    assert await ada.merge(bob) == 2
    assert await bob.merge(ada) == 1
    assert await ada.merge(bob) == 0
    for one in (ada, bob):
        await one.embed_pending()
        assert sorted(texts(await one.recent())) == ["coffee is better", "tea is good"]
        memory = await one.get(shared)
        assert (sorted(memory.get_tags()), memory.get_importance()) == (["ada", "bob"], 0.7)
        assert memory.get_access_count() == 1
    answers = [await one.recall("good tea", track=False) for one in (ada, bob)]
    assert texts(answers[0]) == texts(answers[1])


async def test_statistics_say_what_the_file_holds(agent: AgentMemory) -> None:
    await agent.learn("tea", tags=["a", "b"])
    await agent.learn("coffee", tags=["a"])
    statistics = await agent.statistics()
    assert (statistics.memories, statistics.pending) == (2, 0)
    assert statistics.tags == [("a", 2), ("b", 1)]
    assert statistics.space.model == "hashing"
    assert statistics.size_bytes > 0


async def test_starting_and_stopping_twice_is_allowed(start_agent: Start, embedder: Any) -> None:
    agent = await start_agent(embedder=embedder)
    await agent.start()
    await agent.learn("tea")
    await agent.stop()
    await agent.stop()
    assert not embedder.closed  # it was given as an object and belongs to the caller
    await agent.start()
    assert await agent.count() == 1
