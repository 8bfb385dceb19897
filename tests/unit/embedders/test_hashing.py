"""The lexical embedder."""

from __future__ import annotations

import numpy as np
import pytest

from embedders.hashing import HashingEmbedder


async def test_shared_words_bring_texts_together() -> None:
    vectors = await HashingEmbedder().embed(
        ["the cat sat on the mat", "a cat on a mat", "stock prices fell sharply"]
    )

    assert float(vectors[0] @ vectors[1]) > float(vectors[0] @ vectors[2]) + 0.2


async def test_vectors_are_the_same_on_every_machine() -> None:
    actual = (await HashingEmbedder(8).embed(["cat"]))[0]

    np.testing.assert_allclose(
        np.array([0.0, -0.2662, -0.8874, 0.0, 0.2662, 0.0, 0.0, -0.2662]), actual, atol=1e-4
    )


@pytest.mark.parametrize("text", ["?!", "—", "日本", "\u0301", "🙂"])
async def test_a_text_without_letters_has_a_vector(text: str) -> None:
    assert (await HashingEmbedder().embed([text])).any()


async def test_another_dimension_is_another_space() -> None:
    assert HashingEmbedder(64).fingerprint != HashingEmbedder(128).fingerprint


def test_a_dimension_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 8, got 7"):
        HashingEmbedder(7)
