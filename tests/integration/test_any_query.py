"""Whatever text is asked, recall answers; only text that the documentation refuses is refused."""

import math
import random
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any

import pytest

from chrysalis_memory import AgentMemory
from chrysalis_memory.errors import InvalidValue

Start = Callable[..., Awaitable[AgentMemory]]

QUERIES = 20_000
BATCH = 200
K = 7

TEXTS = (
    "green tea is good", "Ann walked to the café", "snake_case and camelCase", "OR AND NOT NEAR",
    "content: tea", "the price is 42 € or 4.2 $", "日本語のテキスト", "שלום עולם", "مرحبا بالعالم",
    "नमस्ते दुनिया", "👩‍👩‍👧 family 🦋", "e\u0301galite\u0301", "ﬁne ﬀ ligature",
    "x" * 3_000, "_", "?!", "who are you", "Bob Bob Bob", "\u202eright to left",
    "\uff26\uff35\uff2c\uff2c width", "\u0130stanbul \u0131I",
)  # fmt: skip
WORDS = (*" ".join(TEXTS).split(), "tea", "Ann", "the", "zebra", "memory_text", "rowid", "content")
SYNTAX = (
    '"', '""', "'", "''", "(", ")", "((", "*", "^", ":", "+", "-", ",", "{", "}", "\\", ";", "--",
    "/*", "AND", "OR", "NOT", "NEAR", "NEAR(", "NEAR(tea good, 2)", "content:", "-content:",
    "{content rowid}:", "memory_text", "^tea", "tea*", '"tea', 'tea"*', "tea + good", "NULL",
    "%", "?", "?1", "$a", "@a", "rank", "rowid:", "DROP TABLE memory;", "' OR 1=1 --",
)  # fmt: skip
CONTROLS = "".join(map(chr, (*range(1, 32), *range(127, 160)))) + "\u200b\u200d\u2028\u2060\ufeff"
MARKS = "".join(map(chr, (*range(0x300, 0x370), 0x20D0, 0x20E3, 0xFE0F, 0x1F3FD)))
RIGHT_TO_LEFT = "".join(map(chr, (*range(0x5D0, 0x5EB), *range(0x620, 0x64B), 0x200F, 0x202E)))
EMOJI = "".join(map(chr, (*range(0x1F300, 0x1F700), *range(0x1F1E6, 0x1F200), 0x200D)))


def any_character(chance: random.Random) -> str:
    """Return a character of any plane, most often of the first; never a surrogate."""
    plane = chance.choice((0, 0, 0, 1, 1, 2, chance.randrange(17)))
    code = plane << 16 | chance.randrange(1 << 16)
    return chr(code - 0x800 if 0xD800 <= code < 0xE000 else code)


def any_text(chance: random.Random) -> str:
    """Return the characters of a piece: letters of one sort, or anything."""
    alphabet = chance.choice((CONTROLS, MARKS, RIGHT_TO_LEFT, EMOJI, None, None))
    length = chance.choice((1, 2, 3, 8))
    if alphabet is None:
        return "".join(any_character(chance) for _ in range(length))
    return "".join(chance.choices(alphabet, k=length))


def any_query(chance: random.Random) -> str:
    """Return words, syntax and any text, joined in any way; now and then a very long word."""
    pieces: list[str] = []
    for _ in range(chance.choice((1, 1, 2, 3, 5, 9))):
        kind = chance.random()
        if kind < 0.3:
            pieces.append(chance.choice(WORDS))
        elif kind < 0.6:
            pieces.append(chance.choice(SYNTAX))
        elif kind < 0.998:
            pieces.append(any_text(chance))
        else:
            pieces.append(any_text(chance) * chance.choice((100, 3_000)))
    return chance.choice((" ", " ", "", "\n", '"', "\u3000")).join(pieces)


def is_refused(query: str) -> bool:
    """Tell whether the documentation refuses a text: blank, or with a NUL character."""
    return not query.strip() or "\0" in query


def faults(found: Sequence[Any], known: set[str]) -> list[str]:
    """Return what is wrong with an answer."""
    ids, scores = [one.id for one in found], [one.score for one in found]
    wrong = {
        "too many": len(found) > K,
        "unknown": not known.issuperset(ids),
        "twice": len(set(ids)) < len(ids),
        "no number": not all(math.isfinite(score) for score in scores),
        "not in order": sorted(scores, reverse=True) != scores,
        "not explained": any(one.explanation.recompute() != one.score for one in found),
    }
    return [name for name, is_wrong in wrong.items() if is_wrong]


@pytest.fixture
async def agent(start_agent: Start) -> AgentMemory:
    agent = await start_agent(embedder="hashing:16")
    await agent.learn_many(TEXTS)
    return agent


@pytest.mark.parametrize(
    ("mode", "count"), [("keyword", QUERIES), ("hybrid", QUERIES // 10), ("semantic", 500)]
)
async def test_any_text_is_answered_or_refused_as_documented(
    agent: AgentMemory, mode: Any, count: int
) -> None:
    chance = random.Random(f"any query, {mode}")
    queries = [any_query(chance) for _ in range(count)]
    known = {memory.id for memory in agent.storage.all()}
    asked = iter([query for query in queries if not is_refused(query)])
    answered = 0
    while batch := list(islice(asked, BATCH)):
        answers = await agent.recall_many(batch, K, mode=mode, track=False)
        wrong = {q: faults(found, known) for q, found in zip(batch, answers, strict=True)}
        assert {query: fault for query, fault in wrong.items() if fault} == {}
        answered += sum(bool(found) for found in answers)
    assert answered > count / 4, "most of the texts are to be found by something"
    for query in filter(is_refused, queries):
        with pytest.raises(InvalidValue):
            await agent.recall(query, K, mode=mode)


@pytest.mark.parametrize("mode", ["keyword", "hybrid", "semantic"])
@pytest.mark.parametrize(
    "query", ["", " \t\n", "\u2003\u3000", "tea\0good", "\0", "tea \ud800", "\udfff"]
)
async def test_text_that_no_store_can_hold_is_refused(
    agent: AgentMemory, mode: Any, query: str
) -> None:
    with pytest.raises(InvalidValue):
        await agent.recall(query, mode=mode)


async def test_a_query_of_very_many_words_is_answered(agent: AgentMemory) -> None:
    query = " ".join(f"word{number}" for number in range(20_000)) + " good"
    found = await agent.recall(query, K, mode="keyword")
    assert [memory.content for memory in found] == ["green tea is good"]


@pytest.mark.parametrize("syntax", SYNTAX)
async def test_the_syntax_of_the_index_has_no_meaning_in_a_query(
    agent: AgentMemory, syntax: str
) -> None:
    await agent.learn("zebra")
    for query in (f"zebra {syntax}", f"{syntax} zebra"):
        found = await agent.recall(query, 50, mode="keyword")
        assert "zebra" in [memory.content for memory in found]
