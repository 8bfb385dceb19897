"""What every embedder must do. A new one is tested by adding one line to `CASES`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from embedders import Embedder, InvalidText
from embedders.cached import CachedEmbedder
from embedders.function import FunctionEmbedder
from embedders.hashing import HashingEmbedder
from embedders.minilm import BUNDLED_FOLDER, MiniLMEmbedder
from embedders.truncated import TruncatedEmbedder
from tests.unit.embedders.ollama_server import OllamaServer, running_ollama

TEXTS = [
    "The cat slept on the sofa all afternoon.",
    "Rain.",
    "A meeting about the budget of next year was moved to Thursday, because two people are ill.",
    "¿Dónde está la biblioteca? 図書館はどこですか",
    "def add(a: int, b: int) -> int: return a + b",
]


def letters(text: str) -> list[float]:
    counts = [float(text.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"]
    return [1.0, float(len(text)), *counts]


async def letters_async(text: str) -> list[float]:
    # A real one waits for a server here.
    await asyncio.sleep(0)
    return letters(text)


def letters_batch(texts: list[str]) -> list[list[float]]:
    return [letters(text) for text in texts]


def ollama(request: pytest.FixtureRequest) -> Embedder:
    module = pytest.importorskip("embedders.ollama", reason="needs the extra ollama")
    server: OllamaServer = request.getfixturevalue("ollama_server")
    return module.OllamaEmbedder("nomic-embed-text", base_url=server.url)


def model2vec(request: pytest.FixtureRequest) -> Embedder:
    pytest.importorskip("model2vec", reason="needs the extra model2vec")
    from embedders.model2vec import Model2VecEmbedder

    return Model2VecEmbedder(str(request.getfixturevalue("static_model")))


Make = Callable[[pytest.FixtureRequest], Embedder]

CASES: dict[str, Make] = {
    "minilm": lambda _: MiniLMEmbedder(),
    "hashing": lambda _: HashingEmbedder(),
    "function": lambda _: FunctionEmbedder(letters),
    "function-async": lambda _: FunctionEmbedder(letters_async),
    "function-batch": lambda _: FunctionEmbedder(letters_batch, batch=True, batch_size=2),
    "cached": lambda _: CachedEmbedder(HashingEmbedder(), max_entries=3),
    "truncated": lambda _: TruncatedEmbedder(MiniLMEmbedder(), 128),
    "ollama": ollama,
    "model2vec": model2vec,
}


@pytest.fixture(scope="module")
def ollama_server() -> Iterator[OllamaServer]:
    with running_ollama() as server:
        yield server


@pytest.fixture(scope="module")
def static_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static model of random vectors over the bundled vocabulary."""
    from model2vec import StaticModel
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(BUNDLED_FOLDER / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    vectors = np.random.default_rng(7).standard_normal((tokenizer.get_vocab_size(), 16))
    folder = tmp_path_factory.mktemp("static-model")
    StaticModel(vectors.astype(np.float32), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(params=list(CASES))
def make(request: pytest.FixtureRequest) -> Callable[[], Embedder]:
    case = CASES[cast("str", request.param)]
    return lambda: case(request)


@pytest.fixture
async def embedder(make: Callable[[], Embedder]) -> AsyncIterator[Embedder]:
    made = make()
    yield made
    await made.close()


async def test_every_text_gives_one_float32_row_of_unit_length(embedder: Embedder) -> None:
    vectors = await embedder.embed(TEXTS)

    assert (len(TEXTS), embedder.dimension) == vectors.shape
    assert np.float32 == vectors.dtype
    np.testing.assert_allclose(np.ones(len(TEXTS)), np.linalg.norm(vectors, axis=1), atol=1e-5)


async def test_rows_are_in_the_order_of_the_texts_whatever_their_lengths(
    embedder: Embedder,
) -> None:
    texts = [TEXTS[at % 5] + " and more" * (at * 7 % 31) for at in range(40)]

    together = await embedder.embed(texts)
    alone = np.concatenate([await embedder.embed([text]) for text in texts])

    assert 0.999 < float((together * alone).sum(axis=1).min())


async def test_different_texts_get_different_vectors(embedder: Embedder) -> None:
    vectors = await embedder.embed(TEXTS)

    likeness = vectors @ vectors.T - np.eye(len(TEXTS))
    assert float(likeness.max()) < 0.9999


async def test_no_texts_give_no_rows_of_the_right_length(embedder: Embedder) -> None:
    await embedder.prepare()

    assert (0, embedder.dimension) == (await embedder.embed([])).shape


@pytest.mark.parametrize("text", ["", " \n\t", "\ud800 alone"])
async def test_a_text_without_meaning_is_refused_by_its_position(
    embedder: Embedder, text: str
) -> None:
    with pytest.raises(InvalidText, match=r"texts\[1\]"):
        await embedder.embed(["fine", text])


@pytest.mark.parametrize("text", [None, 3, b"bytes", ["nested"]])
async def test_what_is_not_a_string_is_refused(embedder: Embedder, text: object) -> None:
    with pytest.raises(InvalidText, match="must be a str"):
        await embedder.embed(cast("Any", [text]))


async def test_one_string_instead_of_a_list_is_refused(embedder: Embedder) -> None:
    with pytest.raises(InvalidText, match="got one string"):
        await embedder.embed("not a list")


async def test_an_unknown_input_type_is_refused(embedder: Embedder) -> None:
    with pytest.raises(ValueError, match="input_type must be"):
        await embedder.embed(["text"], input_type=cast("Any", "passage"))


async def test_a_change_at_the_end_of_a_long_text_changes_its_vector(embedder: Embedder) -> None:
    words = ["river", "stone", "garden", "window", "winter"] * (embedder.max_tokens or 256)

    vectors = await embedder.embed([" ".join([*words, ending]) for ending in ("apple", "zebras")])

    assert 1e-6 < float(np.abs(vectors[0] - vectors[1]).max())


async def test_two_instances_name_the_same_space(make: Callable[[], Embedder]) -> None:
    first, second = make(), make()
    await first.prepare()
    await second.prepare()

    assert first.fingerprint == second.fingerprint
    assert str(first.dimension) == first.fingerprint.split("/")[-2]
    await first.close()
    await second.close()


async def test_the_fingerprint_does_not_change_with_use(embedder: Embedder) -> None:
    await embedder.prepare()
    before = embedder.fingerprint

    await embedder.embed(TEXTS, input_type="query")

    assert before == embedder.fingerprint


async def test_queries_and_documents_lie_in_the_same_space(embedder: Embedder) -> None:
    query = await embedder.embed(TEXTS[:1], input_type="query")
    document = await embedder.embed(TEXTS[:1], input_type="document")

    assert document.shape == query.shape


async def test_a_cancelled_call_leaves_the_embedder_usable(embedder: Embedder) -> None:
    await embedder.prepare()
    expected = await embedder.embed(TEXTS[:1])
    started = asyncio.create_task(
        embedder.embed([f"{text} {at}" for at in range(60) for text in TEXTS])
    )
    await asyncio.sleep(0)

    started.cancel()
    with pytest.raises(asyncio.CancelledError):
        await started

    np.testing.assert_allclose(expected, await embedder.embed(TEXTS[:1]), atol=1e-5)


async def test_calls_may_overlap(embedder: Embedder) -> None:
    expected = await embedder.embed(TEXTS)

    async def one(text: str) -> NDArray[np.float32]:
        return (await embedder.embed([text]))[0]

    actual = np.stack(await asyncio.gather(*(one(text) for text in TEXTS * 3)))

    assert 0.999 < float((np.tile(expected, (3, 1)) * actual).sum(axis=1).min())


async def test_closing_twice_is_allowed(embedder: Embedder) -> None:
    await embedder.prepare()
    await embedder.close()
    await embedder.close()
