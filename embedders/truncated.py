"""The first components of any other embedder's vectors.

Some models are trained so that the first components of a vector are a good, shorter vector by
themselves (Kusupati et al. 2022, "Matryoshka Representation Learning"); their model cards say so.
With others, what is lost has to be measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from embedders.base import Embedder, InputType, check_texts, space_fingerprint, unit_rows
from embedders.errors import EmbedderError, NotPrepared


class TruncatedEmbedder:
    """Keeps the first components of every vector, scaled to unit length again.

    It gives no token vectors: what is trained to be cut is the vector of a whole text.
    """

    def __init__(self, inner: Embedder, dimension: int) -> None:
        """Put a cut behind an embedder.

        Args:
            inner: The embedder whose vectors are cut.
            dimension: How many components are kept, from 1 to the inner embedder's dimension.

        Raises:
            EmbedderError: The dimension is below 1, or above that of the inner embedder, if that
                is known already; otherwise the first call says so.
        """
        if dimension < 1:
            raise EmbedderError(f"a vector keeps at least 1 component, got {dimension}")
        self._inner = inner
        self._dimension = dimension
        with suppress(NotPrepared):  # then the first call checks it
            self._check(inner.dimension)

    @property
    def model(self) -> str:
        """The inner embedder's model and how much of its vectors is kept, as in "name[:256]"."""
        return f"{self._inner.model}[:{self._dimension}]"

    @property
    def dimension(self) -> int:
        """How many components are kept."""
        return self._dimension

    @property
    def max_tokens(self) -> int | None:
        """The inner embedder's limit."""
        return self._inner.max_tokens

    @property
    def fingerprint(self) -> str:
        """The name of the space: the inner embedder's provider and model, and its fingerprint.

        Raises:
            NotPrepared: The inner embedder does not know its own yet.
            EmbedderError: The inner embedder's vectors are shorter than this one's.
        """
        self._check(self._inner.dimension)
        whole = self._inner.fingerprint
        return space_fingerprint("truncate", whole.rsplit("/", 2)[0], self._dimension, whole)

    async def prepare(self) -> None:
        """Prepare the inner embedder.

        Raises:
            EmbedderUnavailable: The model cannot be reached now.
            ModelNotFound: There is no such model.
            EmbedderError: Its vectors are shorter than this one's.
        """
        await self._inner.prepare()
        self._check(self._inner.dimension)

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        """Embed texts with the inner embedder, and keep the first components.

        Args:
            texts: The texts; none may be empty.
            input_type: Passed on.

        Returns:
            Array of shape (len(texts), dimension), rows of unit length.

        Raises:
            InvalidVector: The first components of a vector are all zero.
            EmbedderError: Whatever the inner embedder raises, or its vectors are too short.
        """
        checked = check_texts(texts, input_type)
        if not checked:
            return np.zeros((0, self._dimension), dtype=np.float32)
        rows = await self._inner.embed(checked, input_type=input_type)
        self._check(rows.shape[1])
        return unit_rows(
            rows[:, : self._dimension],
            count=len(checked),
            dimension=self._dimension,
            source=f"{self.model!r}",
        )

    async def close(self) -> None:
        """Close the inner embedder."""
        await self._inner.close()

    def _check(self, whole: int) -> None:
        if self._dimension > whole:
            raise EmbedderError(
                f"the vectors of {self._inner.model!r} have {whole} components, fewer than the "
                f"{self._dimension} that are to be kept"
            )
