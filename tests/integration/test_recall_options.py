"""What recall can be asked for beyond the best k, through the front door."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from chrysalis_memory import AgentMemory, Weights
from chrysalis_memory.backends.sqlite import vector_index
from chrysalis_memory.errors import InvalidValue
from embedders.hashing import HashingEmbedder

Start = Callable[..., Awaitable[AgentMemory]]


class TokenHashing(HashingEmbedder):
    """Embeds by spelling, every word for itself too."""

    async def embed_tokens(self, texts: Sequence[str]) -> list[Any]:
        found: list[Any] = []
        for text in texts:
            tokens = text.split()
            found.append(SimpleNamespace(tokens=tokens, vectors=await self.embed(tokens)))
        return found


TALK = [
    "Ann: I went to the seaside",
    "Bob: How was the weather there?",
    "Ann: Rain, all three days",
    "Bob: I bought a trumpet",
    "Ann: Do you play it at night?",
]


async def learn_talk(agent: AgentMemory, **options: Any) -> list[str]:
    return await agent.learn_many(
        {"content": text, "episode": "talk", "position": i, **options}
        for i, text in enumerate(TALK)
    )


def texts(found: Any) -> list[str]:
    return [memory.content for memory in found]


async def test_an_answer_is_found_through_the_question_before_it(agent: AgentMemory) -> None:
    await learn_talk(agent)
    await agent.learn_many(["Bob: Two socks are missing", "Ann: A train leaves at noon"])
    query = "weather"
    found = await agent.recall(query, 2, mode="keyword")
    assert texts(found) == [TALK[2], TALK[1]]
    answer, question = (one.explanation for one in found)
    assert answer.bm25 == 0 < answer.bm25_before
    assert (answer.asks, answer.answers) == (False, True)
    assert (question.asks, question.answers) == (True, False)
    both = await agent.recall("weather trumpet", 9, mode="keyword")
    later = next(one.explanation for one in both if one.content == TALK[3])
    assert later.bm25 > later.bm25_before == 0
    assert later.bm25_earlier == answer.bm25_before
    assert all(one.score == one.explanation.recompute() for one in found)
    alone = await agent.recall(query, 2, mode="keyword", weights=Weights(neighbours=0))
    assert texts(alone) == TALK[1:2]
    hybrid = await agent.recall(query, 3)
    assert all(one.explanation.around is not None for one in hybrid if one.episode)
    assert all(one.score == one.explanation.recompute() for one in hybrid)


async def test_a_word_that_no_memory_holds_hides_nothing(agent: AgentMemory) -> None:
    await agent.learn("green tea")
    for query in ("tea", "black tea", "tea _"):
        assert texts(await agent.recall(query, mode="keyword")) == ["green tea"]


async def test_neighbours_that_do_not_match_are_never_returned(agent: AgentMemory) -> None:
    await learn_talk(agent)
    await agent.update((await agent.recall("Rain days", 1))[0].id, add_tags=["kept"])
    assert texts(await agent.recall("weather", 5, tags_all="kept")) == [TALK[2]]


async def test_context_gives_the_neighbours_of_each_hit_in_order(agent: AgentMemory) -> None:
    await learn_talk(agent)
    await agent.learn("A lone trumpet hangs on the wall")
    found = await agent.recall("rain", 1, context=2)
    assert texts(found[0].context) == [*TALK[:2], *TALK[3:]]
    assert texts((await agent.recall("rain", 1, context=1))[0].context) == [TALK[1], TALK[3]]
    assert (await agent.recall("rain", 1))[0].context == []
    lone = await agent.recall("lone trumpet wall", 1, context=3)
    assert lone[0].context == []


async def test_many_queries_get_what_each_would_get_alone(
    start_agent: Start, embedder: Any
) -> None:
    agent = await start_agent(embedder=embedder)
    await learn_talk(agent)
    queries = ["rain", "Who plays the trumpet?", "seaside"]
    together = await agent.recall_many(queries, 2, track=False)
    alone = [await agent.recall(query, 2, track=False) for query in queries]
    assert [texts(found) for found in together] == [texts(found) for found in alone]
    assert await agent.recall_many([], 2) == []
    with pytest.raises(InvalidValue, match="call recall"):
        await agent.recall_many("rain")


async def test_diversity_prefers_what_is_unlike(agent: AgentMemory) -> None:
    await agent.learn_many(
        ["green tea is good", "green tea is good!", "black tea tastes of smoke", "chairs"]
    )
    assert set(texts(await agent.recall("green tea", 2))) == {
        "green tea is good",
        "green tea is good!",
    }
    diverse = await agent.recall("green tea", 2, diversity=0.7)
    assert len({text.rstrip("!") for text in texts(diverse)}) == 2
    assert all(one.score == one.explanation.recompute() for one in diverse)


async def test_late_interaction_compares_token_by_token(start_agent: Start) -> None:
    agent = await start_agent(embedder=TokenHashing(64), late_interaction=True)
    await agent.learn_many(["sun rises over the sea", "a cat sleeps", "the long " * 80])
    await agent.embed_pending()
    found = await agent.recall("sun over sea", 3, rerank="late")
    assert found[0].content == "sun rises over the sea"
    lates = [one.explanation.late for one in found]
    assert lates[0] == max(late for late in lates if late is not None)
    assert all(one.score == one.explanation.recompute() for one in found)
    assert "late" in str(found[0].explanation)
    assert (await agent.recall("sun", 1))[0].explanation.late is None
    assert (await agent.recall("sun", 1, mode="keyword", rerank="late"))[0].explanation.late is None


async def test_late_interaction_can_be_switched_on_later_and_survives_a_reindex(
    start_agent: Start,
) -> None:
    before = await start_agent(embedder=TokenHashing(64))
    await before.learn("sun rises over the sea")
    with pytest.raises(InvalidValue, match="late_interaction=True"):
        await before.recall("sun", rerank="late")
    await before.stop()
    agent = await start_agent(embedder=TokenHashing(64), late_interaction=True)
    for _ in range(2):
        await agent.embed_pending()
        assert (await agent.recall("sun", 1, rerank="late"))[0].explanation.late is not None
        await agent.reindex()


async def test_late_interaction_is_refused_where_there_are_no_token_vectors(
    start_agent: Start,
) -> None:
    with pytest.raises(InvalidValue, match="embed_tokens"):
        await start_agent(embedder="hashing", late_interaction=True)


@pytest.mark.parametrize(
    "options",
    [{"rerank": "early"}, {"diversity": 1.5}, {"diversity": -1}, {"context": -1},
     {"context": 101}, {"mode": "psychic"}, {"accuracy": "perfect"}, {"k": 1001}],
)  # fmt: skip
async def test_options_beyond_their_bounds_are_refused(
    agent: AgentMemory, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidValue):
        await agent.recall("tea", **options)


async def test_an_explanation_says_how_the_vectors_were_searched(
    agent: AgentMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await learn_talk(agent)
    (exact,) = await agent.recall("seaside", 1)
    assert exact.explanation.searched == "exact, 5 compared"
    (by_words,) = await agent.recall("seaside", 1, mode="keyword")
    assert by_words.explanation.searched is None
    monkeypatch.setattr(vector_index, "LIMITS", vector_index.Limits(exact_below=0))
    (approximate,) = await agent.recall("seaside", 1)
    assert approximate.explanation.searched == "approximate, 5 compared"
    (asked,) = await agent.recall("seaside", 1, accuracy="exact")
    assert asked.explanation.searched == "exact, 5 compared"
    assert asked.explanation.to_dict()["searched"] == "exact, 5 compared"


async def test_a_memory_without_ram_for_its_index_finds_the_same(
    start_agent: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index, "LIMITS", vector_index.Limits(exact_below=0))
    held = await start_agent()
    await learn_talk(held)
    bare = await start_agent(index_ram_bytes=0)
    assert texts(await bare.recall("rain")) == texts(await held.recall("rain"))


# Why not


async def test_explain_says_why_a_memory_is_or_is_not_returned(agent: AgentMemory) -> None:
    best = await agent.learn("green tea is good")
    second = await agent.learn("tea with milk")
    gone = await agent.learn("tea that was drunk")
    await agent.forget(gone)
    stale = await agent.learn("tea of yesterday", expires_at=datetime.now(UTC) - timedelta(days=1))

    async def why(memory_id: str, **options: Any) -> str:
        verdict = await agent.explain("green tea", memory_id, **options)
        found = await agent.recall("green tea", options.pop("k", 5), track=False, **options)
        ids = [memory.id for memory in found]
        assert verdict.returned == (memory_id in ids)
        if verdict.rank is not None:
            assert ids[verdict.rank - 1] == memory_id
        assert verdict.reason in str(verdict)
        return verdict.reason

    assert await why(best) == "it is returned, at rank 1"
    assert await why(second, k=1) == "it ranks 2. of all candidates, and k is 1"
    assert await why("nobody") == "no memory has this id"
    assert await why(gone) == "it was forgotten"
    assert await why(stale) == "it has expired"
    assert await why(best, tags_all="x") == "the condition tags_all does not hold"
    assert "below min_score" in await why(second, min_score=5)
    await agent.update(best, archived=True)
    assert await why(best) == "it is archived"


async def test_explain_says_that_no_index_found_it(start_agent: Start, embedder: Any) -> None:
    agent = await start_agent(embedder=embedder, candidates=1)
    await agent.learn("green tea green tea")
    far = await agent.learn("chairs")
    verdict = await agent.explain("green tea", far, k=1)
    assert not verdict.returned
    assert verdict.explanation is not None
    assert "ranks" in verdict.reason or "not among" in verdict.reason
    words = await agent.explain("green tea", far, k=1, mode="keyword")
    assert words.reason == "none of the query's words that count occurs in it"
