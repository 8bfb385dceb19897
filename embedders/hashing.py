"""A lexical embedder for tests: words and character n-grams hashed into a vector.

It knows spelling, not meaning: texts that share words are close, synonyms are not. It needs no
model and gives the same vectors everywhere, which is what tests want.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from embedders.base import InputType, check_texts, space_fingerprint, unit_rows

_WORD = re.compile(r"\w+")
_GRAM_SIZES = (3, 4)
_GRAM_WEIGHT = 0.3


class HashingEmbedder:
    """Feature hashing of words and character 3- and 4-grams.

    Every feature adds +1 or -1 (times the square root of its count, and 0.3 for a gram) to one
    place of the vector; place and sign come from its hash, so that collisions cancel out on
    average. Source: Weinberger, Dasgupta, Langford, Smola, Attenberg, "Feature Hashing for
    Large Scale Multitask Learning" (2009).
    """

    DIMENSION_MIN: ClassVar[int] = 8

    def __init__(self, dimension: int = 256) -> None:
        """Choose the length of the vectors.

        Args:
            dimension: Length of every vector, at least 8; shorter ones would make nearly all
                features collide.

        Raises:
            ValueError: The dimension is below 8.
        """
        if dimension < self.DIMENSION_MIN:
            raise ValueError(f"dimension must be at least {self.DIMENSION_MIN}, got {dimension}")
        self._dimension = dimension

    @property
    def model(self) -> str:
        """Always "hashing"."""
        return "hashing"

    @property
    def dimension(self) -> int:
        """The length of every vector, as given."""
        return self._dimension

    @property
    def max_tokens(self) -> int | None:
        """None: a text of any length is read whole."""
        return None

    @property
    def fingerprint(self) -> str:
        """The name of the space: one per dimension."""
        return space_fingerprint(
            "hashing", "words-and-grams", self._dimension, repr(_GRAM_SIZES), repr(_GRAM_WEIGHT)
        )

    async def prepare(self) -> None:
        """Do nothing: the dimension is known from the start."""

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        """Embed texts by their spelling.

        Args:
            texts: The texts; none may be empty.
            input_type: Ignored: queries and documents are hashed alike.

        Returns:
            Array of shape (len(texts), dimension), rows of unit length.

        Raises:
            InvalidText: A text is not a string, empty or not valid Unicode.
        """
        checked = check_texts(texts, input_type)
        rows = np.zeros((len(checked), self._dimension), dtype=np.float64)
        for row, text in zip(rows, checked, strict=True):
            self._fill(row, text)
            # Hashing is pure Python: let other tasks run, and cancellation in, between texts.
            await asyncio.sleep(0)
        return unit_rows(rows, count=len(checked), dimension=self._dimension, source="hashing")

    async def close(self) -> None:
        """Do nothing: nothing is held."""

    def _fill(self, row: NDArray[np.float64], text: str) -> None:
        for feature, count in Counter(_features(text)).items():
            digest = int.from_bytes(blake2b(feature.encode(), digest_size=8).digest(), "big")
            weight = count**0.5 * (1.0 if feature.startswith("w:") else _GRAM_WEIGHT)
            row[(digest >> 1) % self._dimension] += weight if digest & 1 else -weight
        if not row.any():
            # The signs of a short text may cancel exactly; its whole then speaks for it.
            digest = blake2b(text.encode(), digest_size=8).digest()
            row[int.from_bytes(digest, "big") % self._dimension] = 1.0


def _features(text: str) -> Iterator[str]:
    lowered = text.lower()
    words: list[str] = _WORD.findall(lowered)
    # Punctuation alone ("?!") has no word; its characters are its features.
    for word in words or lowered.split():
        yield f"w:{word}"
        marked = f"<{word}>"
        for size in _GRAM_SIZES:
            for start in range(len(marked) - size + 1):
                yield f"g:{marked[start : start + size]}"
