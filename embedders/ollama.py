"""Embeddings by an Ollama server, through the official client (extra `ollama`).

The server adds no prefixes and would cut long texts in silence. Prefixes are added here for
models trained with them, and `truncate` is always off: a text the server refuses as too long is
split (see `embedders.windows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from embedders.base import InputType, LateDimension, check_texts, space_fingerprint, unit_rows
from embedders.errors import (
    EmbedderError,
    EmbedderUnavailable,
    InvalidVector,
    MissingExtra,
    ModelNotFound,
    TextTooLong,
)
from embedders.windows import join_windows, split_text

try:
    from ollama import ResponseError

    from embedders.ollama_server import (
        STATUS_NOT_FOUND,
        STATUS_SERVER_ERROR,
        OllamaServer,
        may_answer_later,
    )
except ImportError as error:
    raise MissingExtra("ollama", extra="ollama", module=error.name or "ollama") from error

_SENTENCE_QUERY = "Represent this sentence for searching relevant passages: "
_INSTRUCTION = (
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
)

PREFIXES: dict[str, tuple[str, str]] = {
    "nomic-embed-text": ("search_query: ", "search_document: "),
    "nomic-embed-text-v2-moe": ("search_query: ", "search_document: "),
    "mxbai-embed-large": (_SENTENCE_QUERY, ""),
    "snowflake-arctic-embed": (_SENTENCE_QUERY, ""),
    "snowflake-arctic-embed2": ("query: ", ""),
    "bge-large": (_SENTENCE_QUERY, ""),
    "embeddinggemma": ("task: search result | query: ", "title: none | text: "),
    "qwen3-embedding": (
        _INSTRUCTION,
        "",
    ),
}
"""(query, document) prefixes by model name without tag, as the models' cards give them."""

# Refused texts go straight to this size, which fits every common context, instead of being
# halved from megabytes down.
_WINDOW_CHARACTERS = 4000
# A window this short that is still too long means that something else is wrong.
_WINDOW_CHARACTERS_MIN = 32

_STATUS_BAD_REQUEST = 400


class _Refused(Exception):
    """The server answered with an error status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{reason} (status {status})")
        self.status = status
        self.too_long = status in (_STATUS_BAD_REQUEST, STATUS_SERVER_ERROR) and (
            "context length" in reason or "input length" in reason
        )


@dataclass
class _Windows:
    """Unit vectors of all windows so far, with the text each belongs to and its size."""

    vectors: list[NDArray[np.float32]] = field(default_factory=list[NDArray[np.float32]])
    owners: list[int] = field(default_factory=list[int])
    weights: list[int] = field(default_factory=list[int])

    def add(self, rows: NDArray[np.float32], owners: list[int], texts: list[str]) -> None:
        self.vectors.append(rows)
        self.owners.extend(owners)
        self.weights.extend(len(text) for text in texts)


class OllamaEmbedder(LateDimension):
    """A model served by Ollama (`/api/embed`).

    The dimension is unknown until `prepare`, the first text or `dimension=`. One connection
    pool is kept per event loop.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        dimension: int | None = None,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
        revision: str = "",
        batch_size: int = 32,
        timeout_seconds: float = 60.0,
        keep_alive: float | str | None = None,
    ) -> None:
        """Choose model and server; nothing is sent yet.

        Args:
            model: Name of the model, with or without tag.
            base_url: The server; by default OLLAMA_HOST, else http://127.0.0.1:11434.
            dimension: Length of the vectors, sent to the server as `dimensions`, so that
                models trained for it shorten theirs. By default the model's own.
            query_prefix: Put before queries; by default what `PREFIXES` has for the model.
            document_prefix: Put before documents; the same default.
            revision: Becomes part of the fingerprint. Tags can be moved to other weights: give
                the digest `ollama list` shows when that must not pass unnoticed.
            batch_size: Texts per request.
            timeout_seconds: Longest wait for an answer, loading the model included; a
                connection must come within 5 of them.
            keep_alive: How long the server keeps the model loaded, as Ollama takes it
                (seconds or "5m"); by default the server's own setting.

        Raises:
            ValueError: A number is not positive or the model has no name.
        """
        numbers = {
            "dimension": dimension,
            "batch_size": batch_size,
            "timeout_seconds": timeout_seconds,
        }
        for name, value in numbers.items():
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if not model:
            raise ValueError("model must not be empty")
        query, document = PREFIXES.get(model.rpartition("/")[2].partition(":")[0], ("", ""))
        self._prefixes: dict[InputType, str] = {
            "query": query if query_prefix is None else query_prefix,
            "document": document if document_prefix is None else document_prefix,
        }
        self._model = model
        self._requested_dimension = dimension
        self._dimension = dimension
        self._revision = revision
        self._batch_size = batch_size
        self._keep_alive = keep_alive
        self._server = OllamaServer(
            model, base_url, timeout_seconds,
            unavailable=EmbedderUnavailable, malformed=InvalidVector,
        )  # fmt: skip

    @property
    def max_tokens(self) -> int | None:
        """None: the server decides, and what it refuses as too long is split."""
        return None

    @property
    def fingerprint(self) -> str:
        """The name of the space: model with tag, dimension, prefixes and revision.

        Raises:
            NotPrepared: The dimension was not given and the server was not asked yet.
        """
        named = self._model.rpartition("/")[2]
        tagged = self._model if ":" in named else f"{self._model}:latest"
        prefixes = (self._prefixes["query"], self._prefixes["document"])
        return space_fingerprint("ollama", tagged, self.dimension, *prefixes, self._revision)

    async def prepare(self) -> None:
        """Ask the server for the dimension, unless it is known.

        Raises:
            EmbedderUnavailable: The server cannot be reached, is busy or too slow.
            ModelNotFound: The server does not have the model.
        """
        if self._dimension is None:
            await self.embed(["dimension"])

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        """Embed texts on the server.

        Args:
            texts: The texts; none may be empty. What the server refuses as too long is split
                into windows and averaged, weighted by characters.
            input_type: Decides the prefix.

        Returns:
            Array of shape (len(texts), dimension), rows of unit length.

        Raises:
            InvalidText: A text is not a string, empty or not valid Unicode.
            EmbedderUnavailable: The server cannot be reached, is busy or too slow.
            ModelNotFound: The server does not have the model.
            TextTooLong: Even small windows of a text are refused.
            InvalidVector: The answer is malformed; DimensionMismatch when only the length is.
            EmbedderError: The server refuses for another reason, which is quoted.
            NotPrepared: `texts` is empty and the dimension is unknown.
        """
        checked = check_texts(texts, input_type)
        if not checked:
            return np.zeros((0, self.dimension), dtype=np.float32)
        done = _Windows()
        for start in range(0, len(checked), self._batch_size):
            batch = checked[start : start + self._batch_size]
            owners = list(range(start, start + len(batch)))
            await self._add_batch(done, batch, owners, self._prefixes[input_type])
        return join_windows(
            np.concatenate(done.vectors),
            owners=done.owners,
            weights=done.weights,
            count=len(checked),
            source=self._server.source,
        )

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        await self._server.close()

    async def _add_batch(
        self, done: _Windows, texts: list[str], owners: list[int], prefix: str
    ) -> None:
        try:
            rows = await self._request([prefix + text for text in texts], owners)
        except _Refused as refusal:
            if refusal.status not in (_STATUS_BAD_REQUEST, STATUS_SERVER_ERROR):
                self._raise_for(refusal, owners)
            # One bad text fails its whole batch: sending each alone shows which it was.
            if len(texts) > 1:
                for text, owner in zip(texts, owners, strict=True):
                    await self._add_batch(done, [text], [owner], prefix)
            elif refusal.too_long and len(texts[0]) > _WINDOW_CHARACTERS_MIN:
                size = min(len(texts[0]) // 2, _WINDOW_CHARACTERS)
                for part in split_text(texts[0], parts=-(-len(texts[0]) // size)):
                    await self._add_batch(done, [part], owners, prefix)
            else:
                self._raise_for(refusal, owners)
        else:
            done.add(rows, owners, texts)

    async def _request(self, texts: list[str], owners: list[int]) -> NDArray[np.float32]:
        try:
            with self._server.asked() as client:
                answer = await client.embed(
                    model=self._model,
                    input=texts,
                    truncate=False,
                    keep_alive=self._keep_alive,
                    dimensions=self._requested_dimension,
                )
        except ResponseError as error:
            raise _Refused(error.status_code, error.error) from error
        rows = unit_rows(
            answer.embeddings,
            count=len(texts),
            dimension=self._dimension,
            source=self._server.source,
            positions=owners,
        )
        self._dimension = rows.shape[1]
        return rows

    def _raise_for(self, refusal: _Refused, owners: list[int]) -> NoReturn:
        first = f"texts[{owners[0]}]"
        if refusal.status == STATUS_NOT_FOUND:
            raise ModelNotFound(
                f"the Ollama server at {self._server.address} does not have {self._model!r} "
                f"({refusal}): ollama pull {self._model}"
            ) from refusal
        if refusal.too_long:
            raise TextTooLong(
                f"{self._server.source} refuses {first} as too long even in parts of "
                f"{_WINDOW_CHARACTERS_MIN} characters ({refusal})"
            ) from refusal
        if may_answer_later(refusal.status):
            raise EmbedderUnavailable(
                f"{self._server.source} cannot answer now for {first}: {refusal}: try again later"
            ) from refusal
        raise EmbedderError(f"{self._server.source} refuses {first}: {refusal}") from refusal
