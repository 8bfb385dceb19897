"""Spans of what a memory does, under the conventions' names, and without texts unless asked for."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from chrysalis_memory import AgentMemory
from chrysalis_memory.errors import (
    EmbedderError,
    ExtractorUnavailable,
    InvalidValue,
    MemoryNotFound,
    PeerUnavailable,
)
from chrysalis_memory.extractors.ollama import OllamaExtractor
from tests.conftest import SwitchedEmbedder
from tests.unit.embedders.ollama_server import running_ollama

Start = Callable[..., Awaitable[AgentMemory]]
ROOT = Path(__file__).parents[2]
SECRET = "the safe is behind the clock"

# A process has one provider for good; each test reads its own spans from the one exporter.
_EXPORTER = InMemorySpanExporter()


@pytest.fixture(scope="module", autouse=True)
def provider() -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(_EXPORTER))
    trace.set_tracer_provider(provider)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    _EXPORTER.clear()
    yield _EXPORTER
    _EXPORTER.clear()


def told(spans: InMemorySpanExporter) -> list[tuple[str, dict[str, Any]]]:
    return [(span.name, dict(span.attributes or {})) for span in spans.get_finished_spans()]


def everything(spans: InMemorySpanExporter) -> str:
    return "\n".join(span.to_json() for span in spans.get_finished_spans())


def last(spans: InMemorySpanExporter) -> ReadableSpan:
    return spans.get_finished_spans()[-1]


async def test_each_operation_is_a_span_of_the_conventions(
    agent: AgentMemory, spans: InMemorySpanExporter
):
    memory_id = await agent.learn(SECRET)
    await agent.recall("clock")
    await agent.update(memory_id, add_tags=["house"])
    await agent.forget(memory_id)

    store = {"gen_ai.memory.store.id": agent.storage.replica}
    one = {"gen_ai.memory.record.id": memory_id, "gen_ai.memory.record.count": 1}
    assert told(spans) == [
        ("upsert_memory", {"gen_ai.operation.name": "upsert_memory"} | store | one),
        (
            "search_memory",
            {"gen_ai.operation.name": "search_memory", "gen_ai.memory.record.count": 1} | store,
        ),
        ("update_memory", {"gen_ai.operation.name": "update_memory"} | store | one),
        ("delete_memory", {"gen_ai.operation.name": "delete_memory"} | store | one),
    ]
    assert {span.kind for span in spans.get_finished_spans()} == {SpanKind.INTERNAL}
    assert {span.status.status_code for span in spans.get_finished_spans()} == {StatusCode.UNSET}


async def test_learning_many_tells_how_many(agent: AgentMemory, spans: InMemorySpanExporter):
    await agent.learn_many(["one", "two"])
    await agent.learn_each(["two", "three", " "])
    await agent.consolidate([memory.id for memory in await agent.find()])

    counts = [(name, attributes["gen_ai.memory.record.count"]) for name, attributes in told(spans)]
    assert counts == [("upsert_memory", 2), ("upsert_memory", 2), ("update_memory", 3)]


async def test_texts_are_told_to_nobody_unless_asked_for(
    start_agent: Start, spans: InMemorySpanExporter
):
    agent = await start_agent(embedder=SwitchedEmbedder())
    memory_id = await agent.learn(SECRET, metadata={"room": "study"})
    await agent.recall(SECRET)
    await agent.update(memory_id, content=f"{SECRET}, at the left")
    await agent.absorb([{"role": "user", "content": SECRET}], episode="call")
    with pytest.raises(InvalidValue):
        await agent.recall(SECRET, mode=SECRET)

    assert len(spans.get_finished_spans()) == 5
    assert "clock" not in everything(spans)
    assert "study" not in everything(spans)


async def test_texts_are_told_where_the_user_asks_for_them(
    start_agent: Start, spans: InMemorySpanExporter
):
    agent = await start_agent(telemetry_contents=True)
    memory_id = await agent.learn(SECRET, metadata={"room": "study"})
    (found,) = await agent.recall("what clock?")
    await agent.recall_many(["the clock", "the safe"])
    await agent.nearest("a clock", k=1)
    await agent.nearest((await agent.vectors())[1][0], k=1)

    (_, learned), (_, recalled), (_, both), (_, near), (_, by_vector) = told(spans)
    assert json.loads(learned["gen_ai.memory.records"]) == [{"content": SECRET}]
    assert recalled["gen_ai.memory.query.text"] == "what clock?"
    assert json.loads(recalled["gen_ai.memory.records"]) == [
        {"id": memory_id, "content": SECRET, "score": found.score, "metadata": {"room": "study"}}
    ]
    assert both["gen_ai.memory.query.text"] == "the clock\nthe safe"
    assert both["gen_ai.memory.record.count"] == 2
    assert near["gen_ai.memory.query.text"] == "a clock"
    assert near["gen_ai.memory.record.count"] == by_vector["gen_ai.memory.record.count"] == 1
    assert "gen_ai.memory.query.text" not in by_vector


async def test_an_error_is_told_by_its_class_and_quoted_only_with_contents(
    start_agent: Start, spans: InMemorySpanExporter
):
    silent = await start_agent("ada")
    open_ = await start_agent("bob", "other.db", telemetry_contents=True)
    for agent in (silent, open_):
        with pytest.raises(MemoryNotFound):
            await agent.update("nothing", importance=1)

    first, second = spans.get_finished_spans()
    assert [first.status.status_code, second.status.status_code] == [StatusCode.ERROR] * 2
    assert first.attributes["error.type"] == "chrysalis_memory.errors.MemoryNotFound"
    assert first.status.description is None
    assert "no memory has the id 'nothing'" in second.status.description
    assert [*first.events, *second.events] == []


async def test_an_embedder_that_fails_is_an_error_of_the_span(
    start_agent: Start, spans: InMemorySpanExporter
):
    def fail(text: str) -> list[float]:
        raise ZeroDivisionError

    agent = await start_agent(embedding_fn=fail)
    with pytest.raises(EmbedderError):
        await agent.recall("clock", mode="semantic")

    assert last(spans).attributes["error.type"].startswith("embedders.errors.")


async def test_an_operation_that_is_cancelled_is_an_error_of_the_span(
    start_agent: Start, spans: InMemorySpanExporter
):
    embedder = SwitchedEmbedder()
    agent = await start_agent(embedder=embedder)
    embedder.gate, _ = asyncio.Event(), embedder.asked.clear()
    recalling = asyncio.create_task(agent.recall("clock"))
    await embedder.asked.wait()

    recalling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await recalling
    embedder.gate.set()

    assert last(spans).attributes["error.type"] == "asyncio.exceptions.CancelledError"


async def test_a_sync_is_a_span_with_its_figures(
    start_agent: Start, tmp_path: Path, spans: InMemorySpanExporter
):
    one, other = await start_agent("ada"), await start_agent("ada", "other.db")
    await one.learn("from here")
    await other.learn("from there")
    spans.clear()

    await one.sync(tmp_path / "other.db")
    with pytest.raises(PeerUnavailable):
        await one.sync("http://127.0.0.1:9", token="t")

    (name, figures), (_, failed) = told(spans)
    assert name == figures["gen_ai.operation.name"] == "sync_memory"
    assert figures["gen_ai.memory.record.count"] == 2
    assert figures["chrysalis.sync.sent"] == figures["chrysalis.sync.received"] == 1
    assert figures["chrysalis.sync.merged"] == 1
    assert figures["chrysalis.sync.verified"] is True
    assert failed["error.type"] == "chrysalis_memory.errors.PeerUnavailable"


async def test_absorbing_holds_a_span_for_each_question_to_the_model(
    agent: AgentMemory, spans: InMemorySpanExporter
):
    said = [{"role": "user", "content": SECRET}]
    with running_ollama() as server:
        extractor = OllamaExtractor("llama3.2", base_url=server.url)
        server.says = ["no", '{"facts": []}']
        report = await agent.absorb(said, extractor=extractor)
        server.reply = (503, '{"error": "busy"}')
        await agent.absorb(said, extractor=extractor, episode="again")
        await extractor.close()

    first, second, absorbed, failed, kept = spans.get_finished_spans()
    assert [span.name for span in (first, second, failed)] == ["chat llama3.2"] * 3
    assert {span.parent.span_id for span in (first, second)} == {absorbed.context.span_id}
    assert dict(first.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "ollama",
        "gen_ai.request.model": "llama3.2",
        "gen_ai.output.type": "json",
        "gen_ai.usage.input_tokens": 321,
        "gen_ai.usage.output_tokens": 45,
    }
    assert first.kind == SpanKind.CLIENT
    assert absorbed.attributes["gen_ai.conversation.id"] == report.episode
    assert absorbed.attributes["gen_ai.memory.record.count"] == 0
    assert failed.attributes["error.type"].endswith(ExtractorUnavailable.__name__)
    assert (kept.attributes["gen_ai.memory.record.count"], kept.status.status_code) == (
        1,
        StatusCode.UNSET,
    )


async def test_spans_stand_under_the_one_that_is_current(
    agent: AgentMemory, spans: InMemorySpanExporter
):
    with trace.get_tracer("test").start_as_current_span("turn") as turn:
        await agent.learn("x")

    inner, outer = spans.get_finished_spans()
    assert (outer.name, inner.parent.span_id) == ("turn", turn.get_span_context().span_id)


async def test_what_a_caller_does_not_sample_is_not_recorded(
    agent: AgentMemory, spans: InMemorySpanExporter
):
    context = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(0))
    with trace.use_span(trace.NonRecordingSpan(context)):
        memory_id = await agent.learn("x")

    assert await agent.get(memory_id) is not None
    assert spans.get_finished_spans() == ()


_SAMPLING = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from chrysalis_memory.telemetry import chat_span, memory_span

class WithoutLearning(sampling.Sampler):
    def should_sample(self, parent_context, trace_id, name, *_, **__):
        taken = name != "upsert_memory"
        decision = sampling.Decision.RECORD_AND_SAMPLE if taken else sampling.Decision.DROP
        return sampling.SamplingResult(decision)

    def get_description(self):
        return "all but learning"

exporter = InMemorySpanExporter()
provider = TracerProvider(sampler=sampling.ParentBased(WithoutLearning()))
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
for operation in ("upsert_memory", "search_memory"):
    with memory_span(operation, "replica", contents=False), chat_span("ollama", "llama3.2"):
        pass
print([span.name for span in exporter.get_finished_spans()])
"""


def test_what_belongs_to_an_operation_that_is_not_sampled_is_not_sampled_either():
    ran = subprocess.run(
        [sys.executable, "-c", _SAMPLING], env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert ran.stdout == "['chat llama3.2', 'search_memory']\n"


def run(code: str, *, blocked: bool = False) -> str:
    start = "import sys; sys.modules['opentelemetry'] = None\n" if blocked else "import sys\n"
    program = f"""{start}
import asyncio
from chrysalis_memory import AgentMemory
async def main():
    async with AgentMemory("ada", path=":memory:", embedder="hashing") as memory:
        await memory.learn("x")
        print(len(await memory.recall("x")))
asyncio.run(main())
{code}"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return ran.stdout


def test_nothing_is_imported_while_nobody_traces():
    assert run("print('opentelemetry' in sys.modules)") == "1\nFalse\n"


def test_a_memory_works_where_the_extra_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", "sdk_tracer_provider")

    assert run("", blocked=True) == "1\n"
