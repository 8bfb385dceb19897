"""Embedders of LangChain for a memory, and a memory's embedders for LangChain."""

import weakref
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chrysalis_memory.errors import ChrysalisError
from chrysalis_memory.integrations.anywhere import LoopThread, await_on, run_on
from embedders.base import (
    Embedder,
    InputType,
    LateDimension,
    check_texts,
    space_fingerprint,
    unit_rows,
)
from embedders.errors import EmbedderUnavailable
from embedders.resolve import as_embedder

try:
    from langchain_core.embeddings import Embeddings
except ImportError as error:
    raise ChrysalisError(
        f"LangChain's embeddings need the module {error.name!r}, which is not installed: "
        "pip install 'chrysalis-memory[langchain]'"
    ) from error


class LangChainEmbedder(LateDimension):
    """An embedder of this package made of LangChain's ``Embeddings``.

    Args:
        embeddings: Embeds documents and queries, each in its own way.
        model: Names the embedding space; by default the class and its model's name. Change it when
            the vectors change.
        dimension: Length of the vectors, when it is known.
    """

    max_tokens = None

    def __init__(
        self, embeddings: Embeddings, *, model: str | None = None, dimension: int | None = None
    ) -> None:
        self._embeddings = embeddings
        self._model = model or _model_name(embeddings)
        self._dimension = dimension

    @property
    def fingerprint(self) -> str:
        """The name of the space: the model's name and the dimension.

        Raises:
            NotPrepared: the dimension was not given and nothing was embedded yet.
        """
        return space_fingerprint("langchain", self._model, self.dimension)

    async def prepare(self) -> None:
        """Embed a word to learn the dimension, unless it is known.

        Raises:
            EmbedderUnavailable: the embeddings raised.
        """
        if self._dimension is None:
            await self.embed(["dimension"])

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        """Embed texts; see :meth:`embedders.Embedder.embed`.

        Raises:
            InvalidText: a text that cannot be embedded.
            EmbedderUnavailable: the embeddings raised; their error is the cause.
            InvalidVector: they returned something unusable.
        """
        checked = check_texts(texts, input_type)
        if not checked:
            return np.zeros((0, self.dimension), dtype=np.float32)
        try:
            if input_type == "query":
                answer = [await self._embeddings.aembed_query(text) for text in checked]
            else:
                answer = await self._embeddings.aembed_documents(checked)
        except Exception as error:
            # Such models mostly sit behind a server, so whatever they raise is worth a retry.
            raise EmbedderUnavailable(
                f"the embeddings {self._model!r} raised {type(error).__name__}: {error}"
            ) from error
        source = f"the embeddings {self._model!r}"
        rows = unit_rows(answer, count=len(checked), dimension=self._dimension, source=source)
        self._dimension = rows.shape[1]
        return rows

    async def close(self) -> None:
        """Do nothing: the embeddings belong to the caller."""


def _model_name(embeddings: Embeddings) -> str:
    """Return what tells the model apart: its name, or that of the function that is wrapped."""
    kind = type(embeddings).__name__
    for attribute in ("model", "model_name", "func", "afunc"):
        value = getattr(embeddings, attribute, None)
        name = value if isinstance(value, str) else getattr(value, "__qualname__", None)
        if name:
            return f"{kind}:{name}"
    return kind


class ChrysalisEmbeddings(Embeddings):
    """LangChain's ``Embeddings`` made of an embedder of this package.

    Args:
        embedder: A name such as ``"minilm"``, or an embedder, which stays the caller's.

    Raises:
        UnknownEmbedder: no embedder has this name.
    """

    def __init__(self, embedder: Embedder | str = "minilm") -> None:
        self._embedder = as_embedder(embedder)
        self._thread = LoopThread()
        weakref.finalize(self, self._thread.stop_soon).atexit = False

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts that are kept."""
        return run_on(self._thread.loop, lambda: self._embed(texts, "document"))

    def embed_query(self, text: str) -> list[float]:
        """Embed a text that is looked for."""
        return run_on(self._thread.loop, lambda: self._embed([text], "query"))[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts that are kept."""
        return await await_on(self._thread.loop, lambda: self._embed(texts, "document"))

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a text that is looked for."""
        return (await await_on(self._thread.loop, lambda: self._embed([text], "query")))[0]

    async def _embed(self, texts: list[str], input_type: InputType) -> list[list[float]]:
        return (await self._embedder.embed(texts, input_type=input_type)).tolist()
