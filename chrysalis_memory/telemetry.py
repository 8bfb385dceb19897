"""Spans of what a memory does, for tracing that the user has set up (extra ``telemetry``).

Names and attributes are those of OpenTelemetry's semantic conventions for generative AI, memory
and inference spans, as of commit 002c8a6 of open-telemetry/semantic-conventions-genai (status:
development). Spans go to whatever tracer provider the program has configured, and nowhere without
one; nothing is ever sent from here.
"""

import json
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.recall import Recollection

Operation = Literal["upsert_memory", "search_memory", "update_memory", "delete_memory"]
"""What the conventions call learning and absorbing, recalling, changing, and forgetting."""

SYNC = "sync_memory"
"""A sync, which the conventions have no name for."""


class Span:
    """What is told of one operation; one without ``span`` is told nothing.

    Args:
        span: The span of OpenTelemetry that records it; ``None`` where none does.
        contents: Whether texts are told, too.
    """

    __slots__ = ("_contents", "_span")

    def __init__(self, span: Any | None = None, *, contents: bool = False) -> None:
        self._span = span
        self._contents = contents

    def set(self, **attributes: str | int | bool | None) -> None:
        """Set attributes; ``__`` in a name stands for a dot, and ``None`` sets nothing."""
        if self._span is not None:
            for name, value in attributes.items():
                if value is not None:
                    self._span.set_attribute(name.replace("__", "."), value)

    def count(self, memories: int) -> None:
        """Tell how many memories it was about."""
        if self._span is not None:
            self._span.set_attribute("gen_ai.memory.record.count", memories)

    def texts(self, texts: Sequence[str]) -> None:
        """Tell the texts that are learned, if contents are told."""
        if self._span is not None and self._contents:
            self._span.set_attribute(*_records([{"content": text} for text in texts]))

    def query(self, queries: Sequence[str]) -> None:
        """Tell what is looked for, if contents are told; several queries one a line."""
        if self._span is not None and self._contents and queries:
            self._span.set_attribute("gen_ai.memory.query.text", "\n".join(queries))

    def found(self, memories: Sequence[MemoryDocument]) -> None:
        """Tell how many memories an operation returns and, if contents are told, which."""
        self.count(len(memories))
        if self._span is not None and self._contents:
            self._span.set_attribute(*_records([_record(memory) for memory in memories]))


_SILENT = Span()


@contextmanager
def memory_span(
    operation: str, store: str, *, contents: bool, memory_id: str | None = None
) -> Generator[Span, None, None]:
    """Record one operation on a memory while the block runs.

    Args:
        operation: An :data:`Operation`, or :data:`SYNC`.
        store: The replica it is done on.
        contents: Whether texts are told. An error's message may quote one, so it is told then only.
        memory_id: The one memory it is about.
    """
    if (tracer := _tracer()) is None:
        yield _SILENT
        return
    attributes = {"gen_ai.operation.name": operation, "gen_ai.memory.store.id": store}
    if memory_id is not None:
        attributes["gen_ai.memory.record.id"] = memory_id
    with _recorded(tracer, operation, attributes, remote=False, contents=contents) as span:
        yield span


@contextmanager
def chat_span(provider: str, model: str) -> Generator[Span, None, None]:
    """Record one question to a language model while the block runs, without any text."""
    if (tracer := _tracer()) is None:
        yield _SILENT
        return
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.output.type": "json",
    }
    with _recorded(tracer, f"chat {model}", attributes, remote=True, contents=False) as span:
        yield span


@contextmanager
def _recorded(
    tracer: Any, name: str, attributes: dict[str, Any], *, remote: bool, contents: bool
) -> Generator[Span, None, None]:
    from opentelemetry import trace

    kind = trace.SpanKind.CLIENT if remote else trace.SpanKind.INTERNAL
    span = tracer.start_span(name, kind=kind, attributes=attributes)
    if not span.is_recording():
        # Not sampled, or no provider. What is done inside belongs to the same trace all the same.
        if not span.get_span_context().is_valid:
            yield _SILENT
            return
        with trace.use_span(span, end_on_exit=True, record_exception=False):
            yield _SILENT
        return
    with trace.use_span(
        span, end_on_exit=True, record_exception=False, set_status_on_exception=False
    ):
        try:
            yield Span(span, contents=contents)
        except BaseException as error:
            # A cancelled operation has ended without what was asked for, too.
            span.set_attribute("error.type", _name(type(error)))
            span.set_status(trace.StatusCode.ERROR, str(error) if contents else None)
            raise


def _tracer() -> Any | None:
    """Return what makes spans; ``None`` where nobody in this program can be looking at them.

    A program that configures tracing imports the API, or names a provider in the environment.
    Otherwise importing it is left out, which takes longer than many a recall.
    """
    if "opentelemetry.trace" in sys.modules or "OTEL_PYTHON_TRACER_PROVIDER" in os.environ:
        return _api_tracer()
    return None


@cache
def _api_tracer() -> Any | None:
    try:
        from opentelemetry import trace
    except ImportError:  # the extra is not installed; there is nothing to tell
        return None
    return trace.get_tracer("chrysalis_memory")


def _name(error: type[BaseException]) -> str:
    is_builtin = error.__module__ == "builtins"
    return error.__qualname__ if is_builtin else f"{error.__module__}.{error.__qualname__}"


def _records(records: list[dict[str, Any]]) -> tuple[str, str]:
    # Spans take no nested values; the conventions ask for JSON then.
    return "gen_ai.memory.records", json.dumps(records, ensure_ascii=False)


def _record(memory: MemoryDocument) -> dict[str, Any]:
    record: dict[str, Any] = {"id": memory.id, "content": memory.content}
    if isinstance(memory, Recollection):
        record["score"] = memory.score
    return record | ({"metadata": memory.metadata} if memory.metadata else {})
