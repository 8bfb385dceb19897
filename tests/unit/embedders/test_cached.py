"""The cache in front of an embedder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from embedders.base import InputType
from embedders.cached import CachedEmbedder
from embedders.hashing import HashingEmbedder


class Recording(HashingEmbedder):
    """A real embedder that notes what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, ...]] = []

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        self.asked.append(tuple(texts))
        return await super().embed(texts, input_type=input_type)


async def test_a_text_is_embedded_once_however_often_it_comes() -> None:
    inner = Recording()
    cached = CachedEmbedder(inner)

    first = await cached.embed(["a", "b", "a"])
    second = await cached.embed(["b", "c", "a"])

    assert inner.asked == [("a", "b"), ("c",)]
    np.testing.assert_array_equal(first[[1, 0]], second[[0, 2]])


async def test_queries_and_documents_are_kept_apart() -> None:
    inner = Recording()
    cached = CachedEmbedder(inner)

    await cached.embed(["a"], input_type="query")
    await cached.embed(["a"], input_type="document")

    assert inner.asked == [("a",), ("a",)]


async def test_the_least_recently_used_text_is_forgotten_first() -> None:
    inner = Recording()
    cached = CachedEmbedder(inner, max_entries=2)

    for text in ("a", "b", "a", "c", "a", "b"):
        await cached.embed([text])

    assert inner.asked == [("a",), ("b",), ("c",), ("b",)]


async def test_more_texts_than_entries_are_all_answered() -> None:
    cached = CachedEmbedder(HashingEmbedder(), max_entries=1)

    actual = await cached.embed(["a", "b", "c"])

    np.testing.assert_array_equal(await HashingEmbedder().embed(["a", "b", "c"]), actual)


async def test_changing_a_result_does_not_change_the_cache() -> None:
    cached = CachedEmbedder(HashingEmbedder())
    first = await cached.embed(["a"])
    expected = first.copy()

    first[:] = 7

    np.testing.assert_array_equal(expected, await cached.embed(["a"]))


async def test_the_space_is_that_of_the_inner_embedder() -> None:
    assert CachedEmbedder(HashingEmbedder(64)).fingerprint == HashingEmbedder(64).fingerprint


def test_a_cache_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="max_entries must be at least 1"):
        CachedEmbedder(HashingEmbedder(), max_entries=0)
