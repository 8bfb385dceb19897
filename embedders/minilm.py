"""The default embedder: all-MiniLM-L6-v2, bundled, run by onnxruntime on the CPU.

The model (Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression
of Pre-Trained Transformers", 2020; fine-tuned for sentences by the sentence-transformers
project) is shipped beside this file with 8-bit weights. It needs no network, no key and no
torch. `scripts/build_minilm.py` makes the files; their NOTICE says from what.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from embedders.base import InputType, check_texts, space_fingerprint, unit_rows
from embedders.errors import ModelNotFound
from embedders.windows import even_spans, join_windows

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MODEL_NAME = "all-MiniLM-L6-v2"
DIMENSION = 384
MAX_TOKENS = 256
SPECIAL_TOKENS_PER_WINDOW = 2

BUNDLED_FOLDER = Path(__file__).parent / "models" / MODEL_NAME

# More threads than this do not speed up batches this small.
_DEFAULT_THREADS_MAX = 4


@dataclass(frozen=True)
class TokenVectors:
    """The vectors of one text's tokens, for late interaction.

    Attributes:
        ids: Token ids in the model's vocabulary, shape (tokens,).
        tokens: The same as strings; "##" marks the continuation of a word.
        vectors: One unit vector per token, shape (tokens, 384), each computed in the context
            of its window. The model's start and end marks are left out.
    """

    ids: NDArray[np.int64]
    tokens: list[str]
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class _Windows:
    """Texts as windows of token ids, special tokens included, with batches to run them in."""

    ids: list[list[int]]
    owners: list[int]
    batches: list[list[int]]


class MiniLMEmbedder:
    """all-MiniLM-L6-v2 without torch: 384 dimensions, English, up to 256 tokens at once.

    The vector of a text is the mean of its token vectors, as in the original. Nothing is loaded
    before the first use; the work is done in worker threads, one hop per batch, so that the
    event loop stays free and a cancelled call stops at the next batch.
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        batch_tokens: int = 2048,
        folder: Path = BUNDLED_FOLDER,
    ) -> None:
        """Choose how much of the machine to use; nothing is loaded yet.

        Args:
            threads: Threads of one forward pass; by default one per core, at most 4.
            batch_tokens: The most tokens in one forward pass, padding included, at least 256.
                More cost memory (about 60 kB each) and delay cancellation.
            folder: Where model.onnx, tokenizer.json and manifest.json lie.

        Raises:
            ValueError: `threads` is below 1 or `batch_tokens` below 256.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        if batch_tokens < MAX_TOKENS:
            raise ValueError(f"batch_tokens must be at least {MAX_TOKENS}, got {batch_tokens}")
        self._threads = threads or min(_DEFAULT_THREADS_MAX, os.cpu_count() or 1)
        self._batch_tokens = batch_tokens
        self._folder = folder
        self._fingerprint = ""
        self._network: _Network | None = None
        self._loading = threading.Lock()

    @property
    def model(self) -> str:
        """Always "all-MiniLM-L6-v2"."""
        return MODEL_NAME

    @property
    def dimension(self) -> int:
        """Always 384."""
        return DIMENSION

    @property
    def max_tokens(self) -> int | None:
        """256, the original's limit; longer texts are embedded in windows."""
        return MAX_TOKENS

    @property
    def fingerprint(self) -> str:
        """The name of the space, with the digest of the bundled files.

        Raises:
            ModelNotFound: The manifest beside the model is missing or unreadable.
        """
        if not self._fingerprint:
            digests = _read_manifest(self._folder)
            details = [f"{name}={digests[name]}" for name in sorted(digests)]
            self._fingerprint = space_fingerprint("minilm", MODEL_NAME, DIMENSION, *details)
        return self._fingerprint

    async def prepare(self) -> None:
        """Load the model now instead of at the first text (about 0.2 s).

        Raises:
            ModelNotFound: The files of the model are missing or damaged.
        """
        await asyncio.to_thread(self._load)

    async def embed(
        self, texts: Sequence[str], *, input_type: InputType = "document"
    ) -> NDArray[np.float32]:
        """Embed texts by their meaning.

        Args:
            texts: The texts; none may be empty. Longer ones than 254 word pieces are embedded
                in windows and averaged.
            input_type: Checked and then ignored: this model embeds both alike.

        Returns:
            Array of shape (len(texts), 384), rows of unit length.

        Raises:
            InvalidText: A text is not a string, empty or not valid Unicode.
            ModelNotFound: The files of the model are missing or damaged.
        """
        checked = check_texts(texts, input_type)
        if not checked:
            return np.zeros((0, DIMENSION), dtype=np.float32)
        network, windows = await asyncio.to_thread(self._split, checked)
        means = np.empty((len(windows.ids), DIMENSION), dtype=np.float32)
        for batch in windows.batches:
            means[batch] = await asyncio.to_thread(
                network.text_vectors, [windows.ids[window] for window in batch]
            )
        units = unit_rows(means, count=len(means), dimension=DIMENSION, source=MODEL_NAME)
        return join_windows(
            units,
            owners=windows.owners,
            weights=[len(ids) for ids in windows.ids],
            count=len(checked),
            source=MODEL_NAME,
        )

    async def embed_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        """Give a vector per token instead of one per text, from the same forward pass.

        Args:
            texts: The texts; none may be empty. The windows of a long one are strung together.

        Returns:
            One entry per text, in order.

        Raises:
            InvalidText: A text is not a string, empty or not valid Unicode.
            ModelNotFound: The files of the model are missing or damaged.
        """
        checked = check_texts(texts, "document")
        if not checked:
            return []
        network, windows = await asyncio.to_thread(self._split, checked)
        vectors: dict[int, NDArray[np.float32]] = {}
        for batch in windows.batches:
            rows = await asyncio.to_thread(
                network.token_vectors, [windows.ids[window] for window in batch]
            )
            vectors.update(zip(batch, rows, strict=True))
        grouped: list[list[int]] = [[] for _ in checked]
        for window, owner in enumerate(windows.owners):
            grouped[owner].append(window)
        return [network.gather(windows.ids, vectors, group) for group in grouped]

    async def close(self) -> None:
        """Free the model's memory; the next use loads it again."""
        self._network = None

    def _load(self) -> _Network:
        with self._loading:
            if self._network is None:
                self._network = _Network(self._folder, threads=self._threads)
            return self._network

    def _split(self, texts: list[str]) -> tuple[_Network, _Windows]:
        network = self._load()
        windows: list[list[int]] = []
        owners: list[int] = []
        for owner, ids in enumerate(network.tokenize(texts)):
            for start, stop in even_spans(len(ids), MAX_TOKENS - SPECIAL_TOKENS_PER_WINDOW):
                windows.append([network.start_id, *ids[start:stop], network.end_id])
                owners.append(owner)
        return network, _Windows(windows, owners, self._batches(windows))

    def _batches(self, windows: list[list[int]]) -> list[list[int]]:
        """Group windows of like length, longest first, so that little padding is computed."""
        batches: list[list[int]] = []
        width = 0
        for window in sorted(range(len(windows)), key=lambda at: -len(windows[at])):
            if not batches or (len(batches[-1]) + 1) * width > self._batch_tokens:
                batches.append([])
                width = len(windows[window])
            batches[-1].append(window)
        return batches


class _Network:
    """The loaded tokenizer and graph. Its methods block; they may run in several threads."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        # onnxruntime sends usage events from the moment it is imported; nothing here does that.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        # Imported here because they take longer to import than everything else together.
        runtime: Any = importlib.import_module("onnxruntime")
        from tokenizers import Tokenizer

        digests = _read_manifest(folder)
        graph = _read_checked(folder / "model.onnx", digests)
        vocabulary = _read_checked(folder / "tokenizer.json", digests)
        self._tokenizer: Tokenizer = Tokenizer.from_str(vocabulary.decode("utf-8"))
        # The original file cuts and pads at 128 tokens; windows and batches do both here.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.start_id: int = self._special("[CLS]")
        self.end_id: int = self._special("[SEP]")
        runtime.disable_telemetry_events()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        # Spinning threads would keep the cores busy between two texts.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def text_vectors(self, windows: list[list[int]]) -> NDArray[np.float32]:
        """Run windows and average their tokens; shape (windows, 384), not normalised."""
        return self._run("text_vectors", windows)

    def token_vectors(self, windows: list[list[int]]) -> list[NDArray[np.float32]]:
        """Run windows; for each its tokens' vectors without the two special ones."""
        rows = self._run("token_vectors", windows)
        return [rows[at, 1 : len(ids) - 1] for at, ids in enumerate(windows)]

    def gather(
        self,
        windows: list[list[int]],
        vectors: dict[int, NDArray[np.float32]],
        group: list[int],
    ) -> TokenVectors:
        """String the windows of one text together."""
        ids = [token for window in group for token in windows[window][1:-1]]
        rows = np.concatenate([vectors[window] for window in group])
        return TokenVectors(
            ids=np.array(ids, dtype=np.int64),
            tokens=[self._tokenizer.id_to_token(token) or "[UNK]" for token in ids],
            vectors=unit_rows(rows, count=len(ids), dimension=DIMENSION, source=MODEL_NAME),
        )

    def _run(self, output: str, windows: list[list[int]]) -> NDArray[np.float32]:
        ids = np.zeros((len(windows), max(map(len, windows))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask}
        return cast("NDArray[np.float32]", self._session.run([output], feeds)[0])

    def _special(self, token: str) -> int:
        identifier = self._tokenizer.token_to_id(token)
        if identifier is None:
            raise ModelNotFound(f"the tokenizer of {MODEL_NAME} has no {token} token: reinstall")
        return identifier


def _read_manifest(folder: Path) -> dict[str, str]:
    """Read the sha256 of every file of the model, by file name."""
    path = folder / "manifest.json"
    try:
        files: dict[str, str] = json.loads(path.read_text("utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelNotFound(
            f"cannot read {path} of the bundled model {MODEL_NAME} ({error}): "
            "reinstall chrysalis-memory"
        ) from error
    return files


def _read_checked(path: Path, digests: dict[str, str]) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelNotFound(
            f"cannot read {path} of the bundled model {MODEL_NAME} ({error}): "
            "reinstall chrysalis-memory"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != digests.get(path.name):
        raise ModelNotFound(
            f"{path} is damaged: its sha256 is {digest}, expected {digests.get(path.name)}: "
            "reinstall chrysalis-memory"
        )
    return content
