"""Callables as embedders."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
import pytest

from embedders import DimensionMismatch, EmbedderUnavailable, InvalidVector, ModelNotFound
from embedders.function import FunctionEmbedder


def two_numbers(text: str) -> list[float]:
    return [3.0, 4.0]


async def test_a_sync_function_is_called_outside_the_event_loop() -> None:
    threads: list[int] = []

    def embed(text: str) -> list[float]:
        threads.append(threading.get_ident())
        return [1.0]

    await FunctionEmbedder(embed).embed(["text"])

    assert threading.get_ident() not in threads


async def test_the_result_is_normalised() -> None:
    actual = await FunctionEmbedder(two_numbers).embed(["text"])

    np.testing.assert_allclose(np.array([[0.6, 0.8]]), actual, rtol=1e-6)


async def test_a_lambda_around_an_async_function_is_awaited() -> None:
    async def embed(text: str) -> list[float]:
        return [0.0, 2.0]

    actual = await FunctionEmbedder(lambda text: embed(text)).embed(["text"])

    np.testing.assert_array_equal(np.array([[0.0, 1.0]], dtype=np.float32), actual)


async def test_an_object_with_an_async_call_is_awaited() -> None:
    class Remote:
        async def __call__(self, text: str) -> list[float]:
            return [5.0]

    assert (await FunctionEmbedder(Remote()).embed(["text"])).shape == (1, 1)


async def test_a_batch_function_gets_at_most_a_batch_at_once() -> None:
    sizes: list[int] = []

    def embed(texts: list[str]) -> np.ndarray:
        sizes.append(len(texts))
        return np.ones((len(texts), 3))

    await FunctionEmbedder(embed, batch=True, batch_size=2).embed(["a", "b", "c"])

    assert sizes == [2, 1]


async def test_what_the_function_raises_is_quoted_and_kept_as_the_cause() -> None:
    def embed(text: str) -> list[float]:
        raise OSError("cable cut")

    with pytest.raises(EmbedderUnavailable, match=r"OSError for texts\[0\]: cable cut") as caught:
        await FunctionEmbedder(embed).embed(["text"])

    assert isinstance(caught.value.__cause__, OSError)


async def test_an_embedder_error_of_the_function_is_not_wrapped() -> None:
    def embed(text: str) -> list[float]:
        raise ModelNotFound("no such model")

    with pytest.raises(ModelNotFound, match="no such model"):
        await FunctionEmbedder(embed).embed(["text"])


@pytest.mark.parametrize("answer", [None, "text", 1.0, [], [0.0, 0.0], [float("nan")], [[1.0]]])
async def test_an_unusable_result_is_refused_by_the_name_of_the_function(answer: Any) -> None:
    with pytest.raises(InvalidVector, match="mine"):
        await FunctionEmbedder(lambda text: answer, model="mine").embed(["text"])


async def test_a_batch_function_that_forgets_a_text_is_refused() -> None:
    with pytest.raises(InvalidVector, match="expected 2 vectors"):
        await FunctionEmbedder(lambda texts: [[1.0]], batch=True).embed(["a", "b"])


async def test_a_function_that_changes_its_dimension_is_refused() -> None:
    embedder = FunctionEmbedder(lambda text: [1.0] * len(text))

    with pytest.raises(DimensionMismatch, match=r"dimension 1 .* got 2"):
        await embedder.embed(["a", "bb"])


def test_the_space_is_named_after_the_function() -> None:
    embedder = FunctionEmbedder(functools.partial(two_numbers), dimension=2)

    assert embedder.model == "two_numbers"
    assert embedder.fingerprint.startswith("function/two_numbers/2/")


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"dimension": 0}])
def test_numbers_out_of_range_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        FunctionEmbedder(two_numbers, **options)
