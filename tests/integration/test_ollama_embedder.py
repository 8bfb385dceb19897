"""The Ollama embedder against a local server that answers as Ollama does."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ollama", reason="needs the extra ollama")

from embedders import (
    DimensionMismatch,
    EmbedderError,
    EmbedderUnavailable,
    InvalidVector,
    ModelNotFound,
    NotPrepared,
    TextTooLong,
)
from embedders.ollama import OllamaEmbedder
from tests.unit.embedders.ollama_server import OllamaServer, running_ollama


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    with running_ollama() as running:
        yield running


@pytest.fixture
async def embedder(server: OllamaServer) -> AsyncIterator[OllamaEmbedder]:
    made = OllamaEmbedder("nomic-embed-text", base_url=server.url, timeout_seconds=20)
    yield made
    await made.close()


def inputs(server: OllamaServer) -> list[list[str]]:
    return [request["input"] for request in server.requests]


async def test_queries_and_documents_get_the_prefixes_the_model_was_trained_with(
    server: OllamaServer, embedder: OllamaEmbedder
) -> None:
    await embedder.embed(["cats"], input_type="query")
    await embedder.embed(["cats"])

    assert inputs(server) == [["search_query: cats"], ["search_document: cats"]]


async def test_other_models_get_no_prefix(server: OllamaServer) -> None:
    embedder = OllamaEmbedder("all-minilm", base_url=server.url)

    await embedder.embed(["cats"], input_type="query")
    await embedder.close()

    assert inputs(server) == [["cats"]]


async def test_given_prefixes_win_and_make_another_space(server: OllamaServer) -> None:
    known = OllamaEmbedder("nomic-embed-text:v1.5", dimension=48)
    given = OllamaEmbedder("nomic-embed-text:v1.5", dimension=48, query_prefix="q: ")

    assert known.fingerprint != given.fingerprint


async def test_truncation_is_off_and_options_are_sent(server: OllamaServer) -> None:
    embedder = OllamaEmbedder(
        "nomic-embed-text", base_url=server.url, dimension=16, keep_alive="7m"
    )

    vectors = await embedder.embed(["cats"])
    await embedder.close()

    request: dict[str, Any] = server.requests[0]
    assert (False, "7m", 16) == tuple(request[k] for k in ("truncate", "keep_alive", "dimensions"))
    assert vectors.shape == (1, 16)


async def test_texts_are_sent_in_batches(server: OllamaServer) -> None:
    embedder = OllamaEmbedder("all-minilm", base_url=server.url, batch_size=2)

    await embedder.embed(["a", "b", "c", "d", "e"])
    await embedder.close()

    assert inputs(server) == [["a", "b"], ["c", "d"], ["e"]]


async def test_the_dimension_is_unknown_until_the_server_was_asked(
    embedder: OllamaEmbedder,
) -> None:
    with pytest.raises(NotPrepared, match=r"await prepare\(\)"):
        _ = embedder.dimension
    with pytest.raises(NotPrepared, match="nomic-embed-text"):
        _ = embedder.fingerprint

    await embedder.prepare()

    assert embedder.dimension == 48


def test_with_a_given_dimension_the_space_is_known_without_a_server() -> None:
    embedder = OllamaEmbedder("nomic-embed-text", base_url="http://127.0.0.1:9", dimension=48)

    assert embedder.fingerprint.startswith("ollama/nomic-embed-text:latest/48/")


async def test_the_tag_latest_is_the_same_space_as_no_tag() -> None:
    without = OllamaEmbedder("all-minilm", dimension=32)
    tagged = OllamaEmbedder("all-minilm:latest", dimension=32)

    assert without.fingerprint == tagged.fingerprint


async def test_a_long_text_is_split_and_the_short_ones_beside_it_are_not(
    server: OllamaServer, embedder: OllamaEmbedder
) -> None:
    long = " ".join(f"word{at}" for at in range(300))

    vectors = await embedder.embed(["before", long, "after"])
    alone = np.concatenate([await embedder.embed([text]) for text in ("before", "after")])

    np.testing.assert_allclose(alone, vectors[[0, 2]], atol=1e-6)
    sent = " ".join(part for batch in inputs(server) for part in batch)
    assert all(f"word{at}" in sent.split() for at in range(300))


async def test_a_text_refused_however_short_it_is_split_is_an_error(
    server: OllamaServer, embedder: OllamaEmbedder
) -> None:
    server.context_words = 0

    with pytest.raises(TextTooLong, match=r"texts\[0\]"):
        await embedder.embed(["many words " * 50])


async def test_a_missing_model_says_how_to_pull_it(server: OllamaServer) -> None:
    embedder = OllamaEmbedder("absent", base_url=server.url)

    with pytest.raises(ModelNotFound, match="ollama pull absent"):
        await embedder.prepare()
    await embedder.close()


async def test_one_bad_text_is_named_and_not_blamed_on_its_batch(
    server: OllamaServer, embedder: OllamaEmbedder
) -> None:
    server.poison = "poisonous"

    with pytest.raises(EmbedderUnavailable, match=r"texts\[2\].*NaN"):
        await embedder.embed(["one", "two", "poisonous", "four"])


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (503, EmbedderUnavailable, "server busy, please try again.  maximum pending requests"),
        (500, EmbedderUnavailable, "llama runner process has terminated"),
        (429, EmbedderUnavailable, "too many requests"),
        (400, EmbedderError, "this model does not support embeddings"),
        (401, EmbedderError, "unauthorized"),
    ],
)
async def test_a_refusal_is_mapped_by_its_status_and_quoted(
    server: OllamaServer,
    embedder: OllamaEmbedder,
    status: int,
    error: type[EmbedderError],
    text: str,
) -> None:
    server.reply = (status, json.dumps({"error": text}))

    with pytest.raises(error, match=text) as caught:
        await embedder.embed(["text"])

    assert type(caught.value) is error


async def test_a_busy_server_is_not_asked_again_for_every_text(
    server: OllamaServer, embedder: OllamaEmbedder
) -> None:
    server.reply = (503, '{"error": "server busy"}')

    with pytest.raises(EmbedderUnavailable):
        await embedder.embed(["a", "b", "c"])

    assert len(server.requests) == 1


async def test_a_refused_connection_says_where_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    embedder = OllamaEmbedder("nomic-embed-text", base_url=url)

    with pytest.raises(EmbedderUnavailable, match=f"cannot reach.*{url}.*ollama serve"):
        await embedder.embed(["text"])
    await embedder.close()


async def test_a_slow_server_ends_in_a_named_timeout(server: OllamaServer) -> None:
    server.hold.clear()
    embedder = OllamaEmbedder("nomic-embed-text", base_url=server.url, timeout_seconds=0.2)

    with pytest.raises(EmbedderUnavailable, match=r"no answer within 0\.2 s"):
        await embedder.embed(["text"])

    server.hold.set()
    await embedder.close()


async def test_a_cancelled_request_leaves_the_embedder_usable(
    server: OllamaServer, embedder: OllamaEmbedder
) -> None:
    await embedder.prepare()
    server.hold.clear()
    waiting = asyncio.create_task(embedder.embed(["never answered"]))
    await asyncio.sleep(0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    server.hold.set()

    assert (await embedder.embed(["answered"])).shape == (1, 48)


@pytest.mark.parametrize(
    "body",
    [
        "<html>proxy</html>",
        "[]",
        "{}",
        '{"embeddings": "none"}',
        '{"embeddings": [[1, "x"]]}',
        '{"embeddings": []}',
        '{"embeddings": [[1, 2], [3, 4]]}',
        '{"embeddings": [[]]}',
        '{"embeddings": [[0, 0]]}',
        '{"embeddings": [[1, null]]}',
    ],
)
async def test_a_malformed_answer_is_refused(
    server: OllamaServer, embedder: OllamaEmbedder, body: str
) -> None:
    server.reply = (200, body)

    with pytest.raises(InvalidVector):
        await embedder.embed(["text"])


@pytest.mark.parametrize("body", ["<html>Bad Gateway</html>", '"just a string"', ""])
async def test_an_error_that_is_no_ollama_error_is_still_named(
    server: OllamaServer, embedder: OllamaEmbedder, body: str
) -> None:
    server.reply = (502, body)

    with pytest.raises(EmbedderError, match="nomic-embed-text"):
        await embedder.embed(["text"])


async def test_vectors_that_change_their_length_are_refused(
    server: OllamaServer, embedder: OllamaEmbedder
) -> None:
    await embedder.prepare()
    server.models["nomic-embed-text"] = 20

    with pytest.raises(DimensionMismatch, match=r"dimension 48 .* got 20"):
        await embedder.embed(["text"])


def test_one_embedder_serves_one_event_loop_after_another(server: OllamaServer) -> None:
    embedder = OllamaEmbedder("all-minilm", base_url=server.url)

    async def embed_and_close() -> np.ndarray:
        vectors = await embedder.embed(["text"])
        await embedder.close()
        return vectors

    with warnings.catch_warnings():
        # The first loop ended with its connection open, which nobody can close any more.
        warnings.simplefilter("ignore", ResourceWarning)
        first = asyncio.run(embedder.embed(["text"]))
        second = asyncio.run(embed_and_close())
        gc.collect()

    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "options",
    [{"dimension": 0}, {"batch_size": 0}, {"timeout_seconds": 0}, {"timeout_seconds": -1}],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        OllamaEmbedder("all-minilm", **options)
