"""The first description's samples run as printed, with no network, and print what they say."""

import asyncio
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chrysalis_memory import MemoryStorage
from chrysalis_memory.config import default_path
from embedders.hashing import HashingEmbedder

LOW_LEVEL = """
from chrysalis_memory import (
    GSet, ORSet, LWWRegister,
    MemoryDocument, MemoryStorage
)

# CRDT operations
tags = GSet()
tags.add("important")
tags.add("learning")

other_tags = GSet()
other_tags.add("learning")
other_tags.add("crdt")

# Merge is commutative, associative, idempotent
merged = tags.merge(other_tags)
print(merged.elements())  # ['important', 'learning', 'crdt']

# Memory documents with CRDT semantics
memory = MemoryDocument(
    id="mem-1",
    content="Learning about distributed systems",
    memory_type="semantic",
    source_instance="agent-001"
)

memory.add_tag("distributed")
memory.set_importance(0.9, "agent-001")

# Persistent storage
storage = MemoryStorage("./data/memory.db", "agent-001")
storage.put(memory)

# Merge happens automatically on put
other_memory = MemoryDocument(
    id="mem-1",  # Same ID
    content="Learning about CRDT",
    source_instance="agent-002"
)
other_memory.add_tag("crdt")
storage.put(other_memory)  # CRDT merge

# Result has both tags, latest content
merged = storage.get("mem-1")
print(merged.get_tags())  # ['distributed', 'crdt']
"""

HIGH_LEVEL = """
import asyncio
from chrysalis_memory import AgentMemory

async def main():
    async with AgentMemory("my-agent") as memory:
        # Learn something
        mem_id = await memory.learn(
            "The user prefers Python over JavaScript",
            importance=0.9,
            tags=["preference", "language"]
        )

        # Recall relevant memories
        results = await memory.recall(
            "What programming language does the user like?",
            k=5
        )

        for m in results:
            print(f"- {m.content} (importance={m.get_importance():.2f})")

asyncio.run(main())
"""

WITH_EMBEDDINGS = '''
import httpx
from chrysalis_memory import AgentMemory

async def embed_with_ollama(text: str) -> list[float]:
    """Generate embedding using Ollama."""
    async with httpx.AsyncClient() as client:
        response = await client.post(
            "http://localhost:11434/api/embeddings",
            json={"model": "nomic-embed-text", "prompt": text}
        )
        return response.json()["embedding"]

async def main():
    memory = AgentMemory("my-agent", embedding_fn=embed_with_ollama)
    await memory.start()

    try:
        # Learn with embedding
        await memory.learn("Python is great for AI")
        await memory.learn("Rust is fast and safe")
        await memory.learn("JavaScript runs in browsers")

        # Semantic search
        results = await memory.recall("best language for performance")
        for m in results:
            print(f"- {m.content}")
    finally:
        await memory.stop()

asyncio.run(main())
'''


URL = "http://localhost:11434/api/embeddings"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Refuse every connection, and work in a folder of the test."""

    def refuse(*arguments: object) -> None:
        raise AssertionError(f"the network was asked: {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[[str], tuple[list[str], dict[str, Any]]]:
    """Run a sample; return the lines it printed and the names it defined."""

    def run_sample(sample: str) -> tuple[list[str], dict[str, Any]]:
        names: dict[str, Any] = {"asyncio": asyncio}  # one sample forgets to import it
        exec(compile(sample, "sample", "exec"), names)
        return capsys.readouterr().out.splitlines(), names

    return run_sample


def test_the_low_level_sample_prints_what_its_comments_say(run: Any, tmp_path: Path) -> None:
    printed, names = run(LOW_LEVEL)
    assert printed == ["['important', 'learning', 'crdt']", "['distributed', 'crdt']"]
    merged = names["merged"]
    assert (merged.content, merged.memory_type) == ("Learning about CRDT", "semantic")
    assert (merged.get_importance(), merged.source_instance) == (0.9, "agent-001")
    names["storage"].close()
    assert (tmp_path / "data" / "memory.db").is_file()
    printed, names = run(LOW_LEVEL)
    assert printed[1] == "['distributed', 'crdt']"
    names["storage"].close()


def test_the_high_level_sample_recalls_the_preference(run: Any) -> None:
    printed, _ = run(HIGH_LEVEL)
    assert printed == ["- The user prefers Python over JavaScript (importance=0.90)"]
    with MemoryStorage(default_path("my-agent")) as storage:
        (memory,) = storage.all()
    assert memory.get_tags() == ["preference", "language"]
    again, _ = run(HIGH_LEVEL)
    assert again == printed


def test_the_embedding_sample_asks_the_function_it_was_given(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setitem(sys.modules, "httpx", answering(asked))
    printed, _ = run(WITH_EMBEDDINGS)
    texts = ["Python is great for AI", "Rust is fast and safe", "JavaScript runs in browsers"]
    assert sorted(printed) == sorted(f"- {text}" for text in texts)
    assert [text for text in asked if text in texts] == texts
    assert asked[-1] == "best language for performance"
    with MemoryStorage(default_path("my-agent")) as storage:
        assert storage.statistics().pending == 0


def answering(asked: list[str]) -> ModuleType:
    """Return a stand-in for the HTTP library that answers as a local Ollama would."""

    class Response:
        def __init__(self, vector: list[float]) -> None:
            self.vector = vector

        def json(self) -> dict[str, Any]:
            return {"embedding": self.vector}

    class AsyncClient:
        async def __aenter__(self) -> "AsyncClient":
            return self

        async def __aexit__(self, *_: object) -> None:
            return None

        async def post(self, url: str, *, json: dict[str, str]) -> Response:
            assert (url, json["model"]) == (URL, "nomic-embed-text")
            asked.append(json["prompt"])
            return Response((await HashingEmbedder(64).embed([json["prompt"]]))[0].tolist())

    module = ModuleType("httpx")
    module.AsyncClient = AsyncClient
    return module
