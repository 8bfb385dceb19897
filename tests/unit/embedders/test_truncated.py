"""The cut behind an embedder."""

from __future__ import annotations

import numpy as np
import pytest

from embedders import EmbedderError, InvalidVector, NotPrepared
from embedders.function import FunctionEmbedder
from embedders.hashing import HashingEmbedder
from embedders.truncated import TruncatedEmbedder

TEXTS = ["The cat slept on the sofa.", "The market fell."]


async def test_the_first_components_are_kept_and_scaled_to_unit_length() -> None:
    whole = await HashingEmbedder(64).embed(TEXTS)

    cut = await TruncatedEmbedder(HashingEmbedder(64), 24).embed(TEXTS)

    first = whole[:, :24]
    expected = first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(expected, cut, atol=1e-6)


async def test_queries_are_embedded_as_queries() -> None:
    class Noting(HashingEmbedder):
        async def embed(self, texts, *, input_type="document"):
            asked.append(input_type)
            return await super().embed(texts, input_type=input_type)

    asked: list[str] = []
    await TruncatedEmbedder(Noting(64), 24).embed(TEXTS, input_type="query")

    assert ["query"] == asked


def test_every_dimension_and_every_inner_space_is_a_space_of_its_own() -> None:
    inner, other = HashingEmbedder(64), HashingEmbedder(65)
    names = [TruncatedEmbedder(inner, at).fingerprint for at in (24, 25, 64)]
    names += [TruncatedEmbedder(other, 24).fingerprint, inner.fingerprint]

    assert len(set(names)) == 5
    assert names[0].startswith("truncate/hashing/words-and-grams/24/")


def test_the_model_is_named_with_what_is_kept_of_it() -> None:
    cut = TruncatedEmbedder(HashingEmbedder(64), 24)

    assert f"{HashingEmbedder(64).model}[:24]" == cut.model


async def test_the_limit_is_the_inner_one_and_closing_closes_it() -> None:
    class Limited(HashingEmbedder):
        max_tokens = 17
        closed = False

        async def close(self):
            self.closed = True

    inner = Limited(64)
    cut = TruncatedEmbedder(inner, 24)
    await cut.close()

    assert (17, True) == (cut.max_tokens, inner.closed)


@pytest.mark.parametrize(("dimension", "reason"), [(0, "at least 1"), (65, "64 components, fewer")])
def test_a_dimension_that_cannot_be_kept_is_refused_at_once(dimension: int, reason: str) -> None:
    with pytest.raises(EmbedderError, match=reason):
        TruncatedEmbedder(HashingEmbedder(64), dimension)


async def test_one_that_turns_out_too_large_is_refused_when_that_is_known() -> None:
    def embed(text: str) -> list[float]:
        return [1.0, float(len(text))]

    prepared, used = (TruncatedEmbedder(FunctionEmbedder(embed), 3) for _ in range(2))
    with pytest.raises(NotPrepared):
        _ = prepared.fingerprint
    with pytest.raises(EmbedderError, match="2 components, fewer than the 3"):
        await prepared.prepare()
    with pytest.raises(EmbedderError, match="2 components, fewer than the 3"):
        await used.embed(TEXTS)
    with pytest.raises(EmbedderError, match="2 components, fewer than the 3"):
        _ = used.fingerprint


async def test_a_vector_whose_first_components_are_zero_is_refused_by_its_text() -> None:
    cut = TruncatedEmbedder(FunctionEmbedder(lambda text: [len(text) - 1.0, 1.0]), 1)

    with pytest.raises(InvalidVector, match=r"texts\[1\].*is zero"):
        await cut.embed(["two", "1"])
