"""The Ollama extractor against a local server that answers as Ollama does."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

pytest.importorskip("ollama", reason="needs the extra ollama")

from chrysalis_memory import AgentMemory
from chrysalis_memory.errors import ExtractorError, ExtractorUnavailable, InvalidValue
from chrysalis_memory.extractors import Extractor, Message
from chrysalis_memory.extractors.ollama import OllamaExtractor
from tests.unit.embedders.ollama_server import OllamaServer, running_ollama

NOW = datetime(2025, 3, 12, 9, tzinfo=UTC)
SAID = [
    Message(role="user", name="Mara", content="Mochi saw the vet last Friday"),
    Message(role="assistant", content="I see", at=datetime(2025, 3, 14, tzinfo=UTC)),
]


def fact(text: str = "Mochi saw the vet", **fields: Any) -> dict[str, Any]:
    return {
        "text": text, "type": "episodic", "tags": ["Pets"], "confidence": 0.9, "evidence": [0],
        "when": None, "date": None,
    } | fields  # fmt: skip


def facts(*some: dict[str, Any]) -> str:
    return json.dumps({"facts": some})


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with running_ollama() as running:
        yield running


@pytest.fixture
async def extractor(server: OllamaServer) -> AsyncIterator[OllamaExtractor]:
    made = OllamaExtractor("llama3.2", base_url=server.url, timeout_seconds=20, keep_alive="5m")
    yield made
    await made.close()


async def test_the_model_is_asked_for_facts_under_a_schema_without_chance(
    server: OllamaServer, extractor: OllamaExtractor
):
    server.says = [facts()]

    assert [] == await extractor.extract(SAID, NOW)

    (asked,) = server.requests
    assert asked["options"]["temperature"] == 0
    assert asked["options"]["num_ctx"] == 4096
    assert asked["keep_alive"] == "5m"
    assert asked["format"]["properties"]["facts"]["type"] == "array"
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]
    assert asked["messages"][1]["content"].splitlines() == [
        "[0] (2025-03-12, Wednesday) Mara: Mochi saw the vet last Friday",
        "[1] (2025-03-14, Friday) assistant: I see",
    ]


async def test_what_it_answers_becomes_facts(server: OllamaServer, extractor: OllamaExtractor):
    server.says = [facts(fact(when="last Friday", date="2025-03-07", evidence=[0, 0]))]

    (drawn,) = await extractor.extract(SAID, NOW)

    assert (drawn.content, drawn.memory_type) == ("Mochi saw the vet", "episodic")
    assert (drawn.tags, drawn.confidence, drawn.evidence) == (("pets",), 0.9, (0,))
    assert drawn.day == date(2025, 3, 7)
    assert isinstance(extractor, Extractor)


@pytest.mark.parametrize(
    ("when", "given", "day"),
    [
        ("last Friday", "2025-03-14", "2025-03-07"),  # the words are certain, the model was wrong
        ("the vet", "2025-03-05", "2025-03-05"),  # only the model understands these words
        ("yesterday", "2025-03-11", None),  # nobody said so
        (None, "2025-03-11", None),
        ("last Friday", None, "2025-03-07"),
    ],
)
async def test_a_date_counts_by_the_words_that_were_said(
    server: OllamaServer,
    extractor: OllamaExtractor,
    when: str | None,
    given: str | None,
    day: str | None,
):
    server.says = [facts(fact(when=when, date=given))]

    (drawn,) = await extractor.extract(SAID, NOW)

    assert drawn.day == (None if day is None else date.fromisoformat(day))


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("I think that", "Invalid JSON"),
        ('{"facts": [{"text": "x"}]}', "facts.0.type: Field required"),
        (facts(fact(confidence=2)), "facts.0.confidence"),
        (facts(fact(evidence=[])), "facts.0.evidence"),
        (facts(fact(evidence=[2])), "names message 2 as evidence; the last one is 1"),
        (facts(fact(date="Friday")), "facts.0.date"),
        (facts(fact(text=" ")), "content"),
    ],
)
async def test_an_answer_that_is_not_acceptable_is_asked_for_once_more(
    server: OllamaServer, extractor: OllamaExtractor, answer: str, complaint: str
):
    server.says = [answer, facts(fact())]

    assert 1 == len(await extractor.extract(SAID, NOW))

    again = server.requests[1]["messages"]
    assert [message["role"] for message in again] == ["system", "user", "assistant", "user"]
    assert again[2]["content"] == answer
    assert complaint in again[3]["content"]


async def test_two_answers_that_are_not_acceptable_are_a_failure(
    server: OllamaServer, extractor: OllamaExtractor
):
    server.says = ["no", "no again"]

    with pytest.raises(ExtractorError, match="answered twice what is not acceptable"):
        await extractor.extract(SAID, NOW)

    assert len(server.requests) == 2


async def test_an_answer_that_is_cut_off_is_a_failure(
    server: OllamaServer, extractor: OllamaExtractor
):
    server.says, server.done_reason = ['{"facts": ['], "length"

    with pytest.raises(ExtractorError, match="did not end its answer within 2048 tokens"):
        await extractor.extract(SAID, NOW)


async def test_a_message_longer_than_the_window_is_not_sent(server: OllamaServer):
    extractor = OllamaExtractor("llama3.2", base_url=server.url, window_characters=10)

    with pytest.raises(ExtractorError, match="longer than window_characters=10"):
        await extractor.extract(SAID, NOW)

    assert [] == server.requests


async def test_a_long_conversation_asks_for_the_context_it_needs(server: OllamaServer):
    extractor = OllamaExtractor("llama3.2", base_url=server.url, window_characters=20_000)
    server.says = [facts()]

    await extractor.extract([Message(role="user", content="word " * 3999)], NOW)
    await extractor.close()

    assert server.requests[0]["options"]["num_ctx"] == 16384


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (503, ExtractorUnavailable, "server busy"),
        (500, ExtractorUnavailable, "llama runner process has terminated"),
        (429, ExtractorUnavailable, "too many requests"),
        (400, ExtractorError, "does not support chat"),
    ],
)
async def test_a_refusal_is_told_by_its_status_and_quoted(
    server: OllamaServer,
    extractor: OllamaExtractor,
    status: int,
    error: type[ExtractorError],
    text: str,
):
    server.reply = (status, json.dumps({"error": text}))

    with pytest.raises(ExtractorError, match=text) as caught:
        await extractor.extract(SAID, NOW)

    assert type(caught.value) is error


async def test_a_model_that_is_not_there_is_named_with_what_to_do(server: OllamaServer):
    extractor = OllamaExtractor("missing", base_url=server.url)

    with pytest.raises(ExtractorError, match=r"does not have 'missing'.*ollama pull missing"):
        await extractor.extract(SAID, NOW)
    await extractor.close()


@pytest.mark.parametrize("body", ["<html>proxy</html>", "[]", '{"message": 3}'])
async def test_a_malformed_answer_is_a_failure(
    server: OllamaServer, extractor: OllamaExtractor, body: str
):
    server.reply = (200, body)

    with pytest.raises(ExtractorError, match="sent a malformed answer"):
        await extractor.extract(SAID, NOW)


async def test_a_server_that_is_not_there_is_told_where():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    extractor = OllamaExtractor("llama3.2", base_url=url)

    with pytest.raises(ExtractorUnavailable, match=f"cannot reach.*{url}.*ollama serve"):
        await extractor.extract(SAID, NOW)
    await extractor.close()


async def test_a_slow_server_ends_in_a_named_timeout(server: OllamaServer):
    server.hold.clear()
    server.says = [facts()]
    extractor = OllamaExtractor("llama3.2", base_url=server.url, timeout_seconds=0.2)

    with pytest.raises(ExtractorUnavailable, match=r"no answer within 0\.2 s"):
        await extractor.extract(SAID, NOW)

    server.hold.set()
    await extractor.close()


def test_one_extractor_serves_one_event_loop_after_another(server: OllamaServer):
    extractor = OllamaExtractor("llama3.2", base_url=server.url)
    server.says = [facts(fact()), facts(fact())]

    async def extract() -> int:
        drawn = await extractor.extract(SAID, NOW)
        await extractor.close()
        return len(drawn)

    assert (asyncio.run(extract()), asyncio.run(extract())) == (1, 1)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("", {}, "model must not be empty"),
        ("m", {"window_characters": 0}, "window_characters must be positive"),
        ("m", {"timeout_seconds": -1}, "timeout_seconds must be positive"),
    ],
)
def test_an_extractor_that_cannot_be_is_refused(model: str, options: dict, message: str):
    with pytest.raises(InvalidValue, match=message):
        OllamaExtractor(model, **options)


# In a memory


async def test_a_conversation_is_absorbed_by_a_model_once(
    server: OllamaServer, extractor: OllamaExtractor, agent: AgentMemory
):
    server.says = [facts(fact(when="last Friday", date="2025-03-07"))]

    report = await agent.absorb(SAID, extractor=extractor, observed_at=NOW, episode="call")
    again = await agent.absorb(SAID, extractor=extractor, observed_at=NOW, episode="call")

    memory = await agent.get(report.learned[0])
    assert memory.content == "Mochi saw the vet"
    assert (memory.metadata["date"], memory.get_evidence()) == ("2025-03-07", ["call:1"])
    assert (again.was_known, len(server.requests)) == (True, 1)


async def test_while_the_server_is_away_the_turns_are_kept(
    server: OllamaServer, extractor: OllamaExtractor, agent: AgentMemory
):
    server.reply = (503, '{"error": "server busy"}')
    report = await agent.absorb(SAID, extractor=extractor)
    server.reply, server.says = None, [facts(fact())]

    again = await agent.absorb(SAID, extractor=extractor)

    assert ([0, 1], True) == (report.kept_raw[0].numbers, "busy" in report.kept_raw[0].reason)
    assert (len(report.learned), len(again.learned), again.kept_raw) == (2, 1, [])
