"""Any callable as an embedder: sync or async, for one text or for a batch."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from embedders.base import InputType, LateDimension, check_texts, space_fingerprint, unit_rows
from embedders.errors import EmbedderError, EmbedderUnavailable


class FunctionEmbedder(LateDimension):
    """Embeds by calling a function that turns a text into a list of floats.

    A sync function is called in a worker thread, an async one is awaited. It gets every text
    whole, whatever its length; queries and documents alike.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *,
        batch: bool = False,
        batch_size: int = 64,
        model: str | None = None,
        dimension: int | None = None,
    ) -> None:
        """Wrap a function; it is not called yet.

        Args:
            function: `str -> list[float]`, or with `batch` `list[str] -> list[list[float]]`;
                sync or async.
            batch: Whether the function takes a list of texts.
            batch_size: With `batch`, the most texts of one call.
            model: Names the embedding space; by default the function's qualified name. Change
                it when the function's vectors change. Lambdas all have the same name.
            dimension: Length of the vectors, when it is known.

        Raises:
            TypeError: `function` cannot be called.
            ValueError: `batch_size` or `dimension` is below 1.
        """
        if not callable(function):
            raise TypeError(f"function must be callable, got {function!r}")
        for name, value in (("batch_size", batch_size), ("dimension", dimension)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self._function = function
        self._batch = batch
        self._batch_size = batch_size
        self._model = model or _qualified_name(function)
        self._dimension = dimension
        self._is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - asks for async, not for callable
        )

    @property
    def max_tokens(self) -> int | None:
        """None: only the function knows."""
        return None

    @property
    def fingerprint(self) -> str:
        """The name of the space: the model's name and the dimension.

        Raises:
            NotPrepared: The dimension was not given and the function was not called yet.
        """
        return space_fingerprint("function", self._model, self.dimension)

    async def prepare(self) -> None:
        """Call the function once to learn the dimension, unless it is known.

        Raises:
            EmbedderUnavailable: The function raised.
        """
        if self._dimension is None:
            await self.embed(["dimension"])

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        """Embed texts by calling the function, one call after the other.

        Args:
            texts: The texts; none may be empty.
            input_type: Checked and then ignored: the function is not told.

        Returns:
            Array of shape (len(texts), dimension), rows of unit length.

        Raises:
            InvalidText: A text is not a string, empty or not valid Unicode.
            EmbedderUnavailable: The function raised; its error is the cause.
            InvalidVector: It returned something unusable; DimensionMismatch when only the
                length is wrong.
            NotPrepared: `texts` is empty and the dimension is unknown.
        """
        checked = check_texts(texts, input_type)
        if not checked:
            return np.zeros((0, self.dimension), dtype=np.float32)
        size = self._batch_size if self._batch else 1
        rows: list[NDArray[np.float32]] = []
        for start in range(0, len(checked), size):
            part = checked[start : start + size]
            answer = await self._call(part if self._batch else part[0], start)
            checked_rows = unit_rows(
                cast("Any", answer if self._batch else [answer]),
                count=len(part),
                dimension=self._dimension,
                source=f"the function {self._model!r}",
                positions=range(start, start + len(part)),
            )
            self._dimension = checked_rows.shape[1]
            rows.append(checked_rows)
        return np.concatenate(rows)

    async def close(self) -> None:
        """Do nothing: the function belongs to the caller."""

    async def _call(self, argument: str | list[str], position: int) -> object:
        try:
            if self._is_async:
                return await cast("Any", self._function(argument))
            answer = await asyncio.to_thread(self._function, argument)
            # A lambda around an async function is sync itself but returns an awaitable.
            return await answer if inspect.isawaitable(answer) else answer
        except EmbedderError:
            raise
        except Exception as error:
            # Such functions mostly call a server, so whatever they raise is worth a retry.
            raise EmbedderUnavailable(
                f"the function {self._model!r} raised {type(error).__name__} "
                f"for texts[{position}]: {error}"
            ) from error


def _qualified_name(function: Callable[..., object]) -> str:
    while isinstance(function, functools.partial):
        function = cast("functools.partial[object]", function).func
    return getattr(function, "__qualname__", type(function).__qualname__)
