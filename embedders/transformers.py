"""Any sentence-transformers model, by local path or name (extra `transformers`)."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from embedders.base import InputType, check_texts, space_fingerprint, unit_rows
from embedders.errors import EmbedderError, MissingExtra, ModelNotFound, NotPrepared
from embedders.weights import digest_arrays
from embedders.windows import join_windows, split_to_fit

try:
    # Not an import statement, because its types are only there where torch is installed.
    _library: Any = importlib.import_module("sentence_transformers")
except ImportError as error:
    raise MissingExtra(
        "transformers", extra="transformers", module=error.name or "sentence_transformers"
    ) from error

# Some models state a limit so large that it means none.
_NO_LIMIT = 1_000_000


@dataclass(frozen=True)
class _Loaded:
    """What is known of the model, and the model itself until it is closed (untyped there)."""

    network: Any
    dimension: int
    max_tokens: int | None
    digest: str
    prompts: dict[InputType, str]


class TransformersEmbedder:
    """A sentence-transformers model; prompts for queries and documents are the model's own.

    Loaded at the first use; loading and embedding run in worker threads.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str | None = None,
        batch_size: int = 32,
        dimension: int | None = None,
        local_files_only: bool = False,
    ) -> None:
        """Choose the model; nothing is loaded yet.

        Args:
            model: A folder saved by sentence-transformers, or the name of a model.
            device: Such as "cpu" or "cuda"; by default the library's choice.
            batch_size: Windows per forward pass; a cancelled call stops at the next one.
            dimension: Shortens the vectors to their first components, for models trained so
                (Kusupati et al., "Matryoshka Representation Learning", 2022). By default the
                model's own dimension.
            local_files_only: Never use the network, even for a name that is not cached.

        Raises:
            ValueError: A number is below 1 or the model has no name.
        """
        for name, value in (("batch_size", batch_size), ("dimension", dimension)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not model:
            raise ValueError("model must not be empty")
        self._model = model
        self._device = device
        self._batch_size = batch_size
        self._requested_dimension = dimension
        self._local_files_only = local_files_only
        self._loading = threading.Lock()
        self._known: _Loaded | None = None

    @property
    def model(self) -> str:
        """The folder or name as given."""
        return self._model

    @property
    def dimension(self) -> int:
        """The length of every vector.

        Raises:
            NotPrepared: The model was not loaded yet.
        """
        return self._prepared().dimension

    @property
    def max_tokens(self) -> int | None:
        """How many tokens the model reads at once; None without a limit, or before it is loaded."""
        return self._known.max_tokens if self._known else None

    @property
    def fingerprint(self) -> str:
        """The name of the space: the last part of the model's name, weights and prompts.

        Raises:
            NotPrepared: The model was not loaded yet.
        """
        known = self._prepared()
        prompts = (known.prompts["query"], known.prompts["document"])
        name = Path(self._model).name
        return space_fingerprint(
            "transformers", name, known.dimension, known.digest, str(known.max_tokens), *prompts
        )

    async def prepare(self) -> None:
        """Load the model.

        Raises:
            ModelNotFound: It cannot be loaded; the reason is quoted.
        """
        await asyncio.to_thread(self._load)

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        """Embed texts with the model.

        Args:
            texts: The texts; none may be empty. Longer ones than `max_tokens` are embedded in
                windows and averaged.
            input_type: Decides the prompt.

        Returns:
            Array of shape (len(texts), dimension), rows of unit length.

        Raises:
            InvalidText: A text is not a string, empty or not valid Unicode.
            ModelNotFound: The model cannot be loaded.
            InvalidVector: The model gives something unusable.
            EmbedderError: The model's prompt leaves no room for a text.
        """
        checked = check_texts(texts, input_type)
        loaded = await asyncio.to_thread(self._load)
        if not checked:
            # The library would answer with shape (0,).
            return np.zeros((0, loaded.dimension), dtype=np.float32)
        source = f"the model {self._model!r}"
        windows, owners, weights = await asyncio.to_thread(_split, loaded, checked, input_type)
        rows = np.empty((len(windows), loaded.dimension), dtype=np.float32)
        # Like lengths together, so that little padding is computed.
        order = sorted(range(len(windows)), key=lambda window: -weights[window])
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            answer = await asyncio.to_thread(
                self._encode, loaded, [windows[window] for window in batch], input_type
            )
            # Normalised here, because the library does not after shortening.
            rows[batch] = unit_rows(
                answer,
                count=len(batch),
                dimension=loaded.dimension,
                source=source,
                positions=[owners[window] for window in batch],
            )
        return join_windows(rows, owners=owners, weights=weights, count=len(checked), source=source)

    async def close(self) -> None:
        """Free the model's memory; the next use loads it again."""
        if self._known is not None:
            # What is known of the space outlives the weights.
            self._known = replace(self._known, network=None)

    def _prepared(self) -> _Loaded:
        if self._known is None:
            raise NotPrepared(self._model)
        return self._known

    def _encode(
        self, loaded: _Loaded, texts: list[str], input_type: InputType
    ) -> NDArray[np.float32]:
        encode = (
            loaded.network.encode_query if input_type == "query" else loaded.network.encode_document
        )
        return cast(
            "NDArray[np.float32]",
            encode(
                texts,
                batch_size=self._batch_size,
                show_progress_bar=False,
                truncate_dim=self._requested_dimension,
            ),
        )

    def _load(self) -> _Loaded:
        with self._loading:
            if self._known is None or self._known.network is None:
                try:
                    network = _library.SentenceTransformer(
                        self._model,
                        device=self._device,
                        local_files_only=self._local_files_only,
                    )
                except Exception as error:
                    # The library lets errors of its downloader, parser and file system through.
                    raise ModelNotFound(
                        f"cannot load the model {self._model!r} "
                        f"({type(error).__name__}: {error}): pass a folder or an existing name"
                    ) from error
                self._known = self._describe(network)
            return self._known

    def _describe(self, network: Any) -> _Loaded:
        own = int(network.get_embedding_dimension())
        if self._requested_dimension is not None and self._requested_dimension > own:
            raise EmbedderError(
                f"dimension={self._requested_dimension} exceeds the {own} of {self._model!r}"
            )
        limit = network.max_seq_length
        state = {
            # As float32, because numpy has no bfloat16.
            name: tensor.detach().cpu().float().numpy()
            for name, tensor in network.state_dict().items()
        }
        prompts: dict[str, str] = network.prompts
        return _Loaded(
            network=network,
            dimension=self._requested_dimension or own,
            max_tokens=int(limit) if limit is not None and limit < _NO_LIMIT else None,
            digest=digest_arrays(state),
            prompts={
                "query": prompts.get("query") or "",
                "document": prompts.get("document") or "",
            },
        )


def _split(
    loaded: _Loaded, texts: list[str], input_type: InputType
) -> tuple[list[str], list[int], list[int]]:
    """Split texts that the model would cut; give windows, their texts and their tokens."""
    tokenizer = loaded.network.tokenizer

    def count_tokens(text: str, *, special: bool = False) -> int:
        encoded = tokenizer(text, add_special_tokens=special, truncation=False, verbose=False)
        return len(encoded["input_ids"])

    windows: list[str] = []
    owners: list[int] = []
    limit = None
    if loaded.max_tokens is not None:
        limit = loaded.max_tokens - count_tokens(loaded.prompts[input_type], special=True)
        if limit < 1:
            raise EmbedderError(
                f"the prompt {loaded.prompts[input_type]!r} fills all {loaded.max_tokens} tokens"
            )
    for owner, text in enumerate(texts):
        parts = (
            [text] if limit is None else split_to_fit(text, limit=limit, count_tokens=count_tokens)
        )
        windows.extend(parts)
        owners.extend([owner] * len(parts))
    return windows, owners, [count_tokens(window) for window in windows]
