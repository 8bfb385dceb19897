"""Static embeddings through model2vec (extra `model2vec`): very fast, less exact.

A text's vector is the mean of its tokens' vectors, looked up in a table, so order and context
do not count and a text of any length is read whole.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from embedders.base import InputType, LateDimension, check_texts, space_fingerprint, unit_rows
from embedders.errors import MissingExtra, ModelNotFound
from embedders.weights import digest_arrays

try:
    from model2vec import StaticModel
except ImportError as error:
    raise MissingExtra("model2vec", extra="model2vec", module=error.name or "model2vec") from error


class Model2VecEmbedder(LateDimension):
    """A static model, from a local folder or by its name.

    Loaded at the first use, in a worker thread. A name that is not a folder is looked up on the
    Hugging Face hub, which needs the network unless it is in the local cache.
    """

    def __init__(self, model: str, *, batch_size: int = 1024) -> None:
        """Choose the model; nothing is loaded yet.

        Args:
            model: A folder saved by model2vec, or the name of a model.
            batch_size: Texts per step; a cancelled call stops at the next one.

        Raises:
            ValueError: `batch_size` is below 1 or the model has no name.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not model:
            raise ValueError("model must not be empty")
        self._model = model
        self._batch_size = batch_size
        self._loading = threading.Lock()
        self._loaded: StaticModel | None = None
        self._dimension: int | None = None
        self._digest = ""

    @property
    def max_tokens(self) -> int | None:
        """None: a text of any length is read whole."""
        return None

    @property
    def fingerprint(self) -> str:
        """The name of the space: the last part of the model's name and a digest of its table.

        Raises:
            NotPrepared: The model was not loaded yet.
        """
        return space_fingerprint("model2vec", Path(self._model).name, self.dimension, self._digest)

    async def prepare(self) -> None:
        """Load the model.

        Raises:
            ModelNotFound: It cannot be loaded; the reason is quoted.
        """
        await asyncio.to_thread(self._load)

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        """Embed texts by averaging their tokens.

        Args:
            texts: The texts; none may be empty.
            input_type: Checked and then ignored: static models embed both alike.

        Returns:
            Array of shape (len(texts), dimension), rows of unit length.

        Raises:
            InvalidText: A text is not a string, empty or not valid Unicode.
            ModelNotFound: The model cannot be loaded.
            InvalidVector: The model knows no token of a text.
        """
        checked = check_texts(texts, input_type)
        loaded = await asyncio.to_thread(self._load)
        rows = np.zeros((len(checked), self.dimension), dtype=np.float32)
        for start in range(0, len(checked), self._batch_size):
            part = checked[start : start + self._batch_size]
            # Without max_length=None the model would cut at 512 tokens; its worker processes
            # are no business of a library.
            rows[start : start + len(part)] = await asyncio.to_thread(
                loaded.encode, part, max_length=None, use_multiprocessing=False
            )
        return unit_rows(
            rows,
            count=len(checked),
            dimension=self.dimension,
            source=f"the static model {self._model!r}",
        )

    async def close(self) -> None:
        """Free the model's memory; the next use loads it again."""
        self._loaded = None

    def _load(self) -> StaticModel:
        with self._loading:
            if self._loaded is None:
                try:
                    loaded = StaticModel.from_pretrained(
                        self._model, max_length=None, force_download=False
                    )
                except Exception as error:
                    # The library lets errors of its downloader, parser and file system through.
                    raise ModelNotFound(
                        f"cannot load the static model {self._model!r} "
                        f"({type(error).__name__}: {error}): pass a folder or an existing name"
                    ) from error
                table = cast("NDArray[np.generic]", cast("Any", loaded).embedding)
                vocabulary = cast("str", cast("Any", loaded).tokenizer.to_str())
                self._digest = digest_arrays({"embedding": table}) + vocabulary
                self._dimension = int(loaded.dim)
                self._loaded = loaded
            return self._loaded
