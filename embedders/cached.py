"""Remembers the vectors of recent texts, around any other embedder."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedders.base import Embedder, InputType, check_texts

_Key = tuple[str, InputType, bytes]


class CachedEmbedder:
    """A least-recently-used cache by fingerprint, input type and text.

    Every distinct text that is missing is embedded once per call. Texts are kept as hashes, so
    the cache costs about `4 · dimension + 200` bytes per entry.
    """

    def __init__(self, inner: Embedder, *, max_entries: int = 10_000) -> None:
        """Put a cache before an embedder.

        Args:
            inner: The embedder that embeds what is missing.
            max_entries: The most vectors kept; the least recently used goes first.

        Raises:
            ValueError: `max_entries` is below 1.
        """
        if max_entries < 1:
            raise ValueError(f"max_entries must be at least 1, got {max_entries}")
        self._inner = inner
        self._max_entries = max_entries
        self._entries: OrderedDict[_Key, NDArray[np.float32]] = OrderedDict()

    @property
    def model(self) -> str:
        """The inner embedder's model."""
        return self._inner.model

    @property
    def dimension(self) -> int:
        """The inner embedder's dimension.

        Raises:
            NotPrepared: The inner embedder does not know it yet.
        """
        return self._inner.dimension

    @property
    def max_tokens(self) -> int | None:
        """The inner embedder's limit."""
        return self._inner.max_tokens

    @property
    def fingerprint(self) -> str:
        """The inner embedder's: a cache does not change the space.

        Raises:
            NotPrepared: The inner embedder does not know it yet.
        """
        return self._inner.fingerprint

    async def prepare(self) -> None:
        """Prepare the inner embedder.

        Raises:
            EmbedderUnavailable: The model cannot be reached now.
            ModelNotFound: There is no such model.
        """
        await self._inner.prepare()

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        """Give the vectors of texts, embedding only those that are not cached.

        Args:
            texts: The texts; none may be empty.
            input_type: Part of the key: a model may embed queries differently.

        Returns:
            Array of shape (len(texts), dimension), rows of unit length; the caller's own copy.

        Raises:
            EmbedderError: Whatever the inner embedder raises.
        """
        checked = check_texts(texts, input_type)
        # The key needs the fingerprint, which a remote model may not know before this.
        await self._inner.prepare()
        space = self._inner.fingerprint
        keys: list[_Key] = [(space, input_type, _digest(text)) for text in checked]
        found = {key: self._entries[key] for key in keys if key in self._entries}
        missing = {key: text for key, text in zip(keys, checked, strict=True) if key not in found}
        if missing:
            rows = await self._inner.embed(list(missing.values()), input_type=input_type)
            # Copies, because a row is a view that would keep its whole batch alive.
            found.update((key, row.copy()) for key, row in zip(missing, rows, strict=True))
        self._keep(keys, found)
        if not keys:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return np.stack([found[key] for key in keys])

    async def close(self) -> None:
        """Forget every vector and close the inner embedder."""
        self._entries.clear()
        await self._inner.close()

    def _keep(self, keys: list[_Key], found: dict[_Key, NDArray[np.float32]]) -> None:
        for key in keys:
            self._entries[key] = found[key]
            self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()
