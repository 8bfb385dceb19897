"""The seam between merging and an engine: what every backend provides.

A backend stores rows and finds them; it knows nothing of merging. All work happens inside a
session: :meth:`Backend.read` gives a consistent snapshot, :meth:`Backend.write` one transaction.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeVar

from chrysalis_memory.backends.feed import ChangeFeed
from chrysalis_memory.backends.rows import MemoryRow, SavedRow, StoredMemory
from chrysalis_memory.backends.wholeness import Whole
from chrysalis_memory.embedding import Vector
from chrysalis_memory.query import Order, Query

T = TypeVar("T")
Accuracy = Literal["fast", "balanced", "exact"]
"""How many of the nearest vectors are found among many: more takes longer."""


class Space(NamedTuple):
    """An embedding space: the vectors one embedder made."""

    number: int
    fingerprint: str
    model: str
    dimension: int
    name: str | None
    """What resolves to the embedder; ``None`` for one that was given as an object."""
    active: bool
    """Whether recall searches it; a space that is being built is not active yet."""


class Term(NamedTuple):
    """What the word index looks for: tokens in a row."""

    tokens: tuple[str, ...]
    """Without tokens it is nowhere."""
    prefix: bool = False
    """Whether the last token may go on."""


class MadeVector(NamedTuple):
    """A vector that was made of a text."""

    space: Space
    text_hash: bytes
    vector: Vector
    """Unit vector, float32 of shape ``(dimension,)``."""


class WeightedTerm(NamedTuple):
    """A term of a query, and what it is worth."""

    term: Term
    idf: float
    """Its inverse document frequency."""
    frequency: int = 0
    """How many memories hold it, or more."""


class Neighbours(NamedTuple):
    """The memories before and after one in its episode, by number, and what is asked there."""

    before: int | None = None
    after: int | None = None
    earlier: int | None = None
    """The one before ``before``."""
    asks: bool = False
    """Whether the memory itself holds a question mark and another comes after it."""
    answers: bool = False
    """Whether the one before it holds a question mark."""


class Nearest(NamedTuple):
    """What a vector search found, and how."""

    pairs: list[tuple[int, float]]
    """Each as ``(number, cosine)``, nearest first."""
    exact: bool
    """Whether these are the nearest for certain."""
    compared: int | None
    """How many vectors were compared in full; ``None`` where that is not told."""


class Priors(NamedTuple):
    """What recall weighs a candidate by, apart from its relevance."""

    number: int
    id: str
    importance: float
    confidence: float
    access_count: int
    updated_at: int
    source: str


class Pending(NamedTuple):
    """A memory that waits for its vector."""

    number: int
    id: str
    content: str


class Session(ChangeFeed, Whole, Protocol):
    """Work on one connection, inside one snapshot or one transaction."""

    def meta(self, key: str) -> str | None:
        """Return a setting of the file."""
        ...

    def set_meta(self, key: str, value: str) -> None:
        """Write a setting of the file."""
        ...

    def load(self, memory_id: str) -> StoredMemory | None:
        """Return one memory, forgotten or not; ``None`` when the id is unknown.

        Raises:
            InvalidValue: an id that is no text.
        """
        ...

    def load_numbers(self, numbers: Sequence[int]) -> list[StoredMemory]:
        """Return memories by local number, in that order; unknown numbers are left out."""
        ...

    def select(
        self, query: Query, order: Order, limit: int | None, offset: int = 0
    ) -> list[StoredMemory]:
        """Return the memories that match, in order; forgotten ones never match."""
        ...

    def everything(self, *, after: int, limit: int) -> list[StoredMemory]:
        """Return memories with a number above ``after``, forgotten ones too, by number."""
        ...

    def count(self, query: Query) -> int:
        """Return how many memories match."""
        ...

    def tag_counts(self, query: Query) -> list[tuple[str, int]]:
        """Return the tags of matching memories with their counts, most frequent first."""
        ...

    def namespace_counts(self, query: Query) -> list[tuple[str, int]]:
        """Return the namespaces of matching memories with their counts, in code point order."""
        ...

    def source_counts(self, query: Query) -> list[tuple[str, int]]:
        """Return the sources of matching memories with their counts, most frequent first."""
        ...

    def save(self, row: MemoryRow, saved: SavedRow | None, made: MadeVector | None = None) -> int:
        """Insert a memory, or replace ``saved``, with its derived rows; return its number.

        Raises the change number. Access rows of an earlier life and vectors of a forgotten memory
        are removed; the vector of a memory whose text changed is replaced by ``made`` or by one
        already known of that text, or removed and the memory marked pending.
        """
        ...

    def save_access(self, number: int, access: Mapping[str, int]) -> None:
        """Write access counts by replica; existing counts only grow."""
        ...

    def spaces(self) -> list[Space]:
        """Return every embedding space of the file."""
        ...

    def create_space(self, fingerprint: str, model: str, dimension: int, name: str | None) -> Space:
        """Create a space in which every living memory is pending."""
        ...

    def activate_space(self, space: Space) -> None:
        """Make recall search ``space`` and drop every other one."""
        ...

    def drop_space(self, space: Space) -> None:
        """Remove a space with its vectors."""
        ...

    def rebuild_index(self, space: Space, *, after: int = -1, limit: int = 4) -> int | None:
        """Build a slice of the search index of ``space`` anew from its vectors.

        The index answers rightly between slices, so each can be a transaction of its own.

        Args:
            space: Which space.
            after: Go on behind this memory number.
            limit: The size of the slice, in blocks of 256 memory numbers.

        Returns:
            Where to go on, or ``None`` when all is done.
        """
        ...

    def pending(self, space: Space, *, limit: int) -> list[Pending]:
        """Return memories without a vector in ``space``, by number."""
        ...

    def pending_count(self, space: Space) -> int:
        """Return how many memories have no vector in ``space``."""
        ...

    def save_vector(self, space: Space, number: int, text_hash: bytes, vector: Vector) -> bool:
        """Store the vector of a memory, unless its text has changed since; tell whether it did.

        Raises:
            InvalidValue: a vector of another length than those of the space.
        """
        ...

    def sample(self, space: Space, count: int) -> list[int]:
        """Return the numbers of up to ``count`` memories with a vector, spread evenly."""
        ...

    def vector(self, space: Space, number: int) -> Vector | None:
        """Return the stored vector of a memory."""
        ...

    def nearest(
        self, space: Space, vector: Vector, k: int, query: Query, *, accuracy: Accuracy = "balanced"
    ) -> Nearest:
        """Return the ``k`` nearest matching memories and all that tie with the last.

        Always ``k`` where so many match; in a large space that they are the very nearest is
        certain only of ``"exact"``, and of a filter that few memories pass.
        """
        ...

    def similarities(
        self, space: Space, vector: Vector, numbers: Iterable[int]
    ) -> dict[int, float]:
        """Return the cosine of each numbered memory that has a vector in ``space``."""
        ...

    def term(self, word: str) -> Term:
        """Return what the index looks for, for a word or a phrase of a query.

        Words are folded and stemmed; ``*`` at the end stands for any ending.
        """
        ...

    def document_count(self) -> int:
        """Return how many living memories there are."""
        ...

    def document_frequencies(self, terms: Sequence[Term]) -> list[int]:
        """Return how many memories hold each term, or for tokens in a row the rarest of them."""
        ...

    def best_by_words(
        self, terms: Sequence[WeightedTerm], query: Query, *, limit: int, alone: bool = True
    ) -> list[tuple[int, float]]:
        """Return the ``limit`` matching memories that hold the terms best.

        Each as ``(number, BM25)``, best first, ties by id.

        Args:
            terms: Any of them.
            query: What the memories must match.
            limit: How many at most.
            alone: Whether nothing else looks for candidates. Otherwise terms that very many
                memories of a large store hold bring none in, unless the query has a filter or a
                memory still waits for its vector.
        """
        ...

    def holding(self, term: Term, query: Query) -> list[int]:
        """Return the numbers of the matching memories that hold a term, in any order."""
        ...

    def word_totals(self, query: Query) -> tuple[int, int]:
        """Return how many memories match, and how many tokens they have together."""
        ...

    def bm25(
        self,
        terms: Sequence[WeightedTerm],
        numbers: Sequence[int],
        *,
        mean_length: float | None = None,
    ) -> dict[int, float]:
        """Return the BM25 of each numbered memory that holds any of the terms.

        ``sum(idf · f · (k1 + 1) / (f + k1 · (1 - b + b · length / mean length)))`` over the terms,
        each occurring ``f`` times, k1 = 0.9, b = 0.4; the mean is that of all unless given.
        """
        ...

    def rebuild_words(self, *, after: int = -1, limit: int = 500) -> int | None:
        """Make the tokens of a slice of memories anew, and write those that differ.

        It goes on behind the number ``after``, for ``limit`` memories, and returns where to go on,
        or ``None`` when all is done.
        """
        ...

    def neighbours(self, numbers: Sequence[int], query: Query) -> dict[int, Neighbours]:
        """Return who stands beside memories that have a place in an episode.

        They are the numbered ones and those that stand beside them.
        An episode is that of one namespace, ordered by position, then id. Archived and expired
        memories are passed over unless ``query`` includes them. Question marks are the Latin, the
        full-width and the Arabic one.
        """
        ...

    def context(self, number: int, query: Query, *, count: int) -> list[int]:
        """Return up to ``count`` memories on each side of one in its episode, in order.

        Those are passed over that :meth:`neighbours` passes over.
        """
        ...

    def without_tokens(self, space: Space, *, limit: int) -> list[Pending]:
        """Return memories whose token vectors are not stored in ``space``, by number."""
        ...

    def save_tokens(self, space: Space, number: int, text_hash: bytes, packed: bytes) -> bool:
        """Store the packed token vectors of a memory, unless its text has changed; tell whether.

        They are removed when the text changes or is forgotten, and by :meth:`rebuild_index`.
        """
        ...

    def tokens_of(self, space: Space, numbers: Sequence[int]) -> dict[int, bytes]:
        """Return the packed token vectors of those numbered memories that have some."""
        ...

    def matching(self, numbers: Sequence[int], query: Query) -> list[int]:
        """Return those of the numbered memories that match, by number."""
        ...

    def priors(self, numbers: Sequence[int]) -> list[Priors]:
        """Return what recall weighs the numbered memories by."""
        ...

    def size_bytes(self) -> int:
        """Return the size of the store on disk."""
        ...


class Backend(Protocol):
    """An engine that runs work in sessions."""

    def read(self, work: Callable[[Session], T], *, snapshot: bool = True) -> T:
        """Run ``work`` on a reading session in the calling thread.

        Without ``snapshot`` its statements may see several states; a single one need not ask.
        """
        ...

    def write(self, work: Callable[[Session], T]) -> Future[T]:
        """Run ``work`` as one transaction; the future ends when it is durable.

        Cancelling the future before the work starts leaves it undone; later it is done whole.
        """
        ...

    def run(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` as one transaction, and return what it returns once it is durable."""
        ...

    def on_group_end(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` on whichever thread wrote, whenever a group of writes has ended."""
        ...

    def place(self) -> str:
        """Return what names where the store is; a copy of it elsewhere gives something else."""
        ...

    def backup(self, path: Path) -> None:
        """Write a copy of the store to a new file, as of one moment.

        Raises:
            StorageError: there is a file already, or it cannot be written; then there is none.
        """
        ...

    def check_cleanable(self) -> None:
        """Raise ``StorageError`` where only an administrator can :meth:`clean`."""
        ...

    def clean(self, *, at_once: bool, pauses: bool = True) -> bool:
        """Leave no byte of what was forgotten, or raise; tell whether there was something to do.

        Without ``at_once`` only if something was noted, and with ``pauses`` not soon again.
        """
        ...

    def close(self) -> None:
        """Finish accepted writes and what is being read, and release the engine."""
        ...
