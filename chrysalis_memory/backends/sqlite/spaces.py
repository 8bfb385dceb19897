"""The embedding spaces of a file: their vectors, what waits for one, and the search in them."""

from collections.abc import Iterable
from typing import NamedTuple

from chrysalis_memory import codec
from chrysalis_memory.backends.base import Accuracy, MadeVector, Nearest, Pending, Space
from chrysalis_memory.backends.sqlite.caches import Caches
from chrysalis_memory.backends.sqlite.collected import Collected, Mark
from chrysalis_memory.backends.sqlite.conditions import Condition
from chrysalis_memory.backends.sqlite.database import Database
from chrysalis_memory.backends.sqlite.token_vectors import TokenVectors
from chrysalis_memory.backends.sqlite.vector_index import VectorIndex
from chrysalis_memory.embedding import Vector, VectorStorage
from chrysalis_memory.query import Query


class _CodeChange(NamedTuple):
    space: Space
    number: int
    vector: Vector | None


class VectorSpaces(TokenVectors):
    """Keeps and searches the vectors on one connection.

    Changes of codes are collected: those of one group of writes mostly lie in one chunk.
    """

    def __init__(
        self, connection: Database, caches: Caches | None, vector_storage: VectorStorage
    ) -> None:
        self.connection = connection
        self._vector_storage: VectorStorage = vector_storage
        self.codes_changed = Collected[_CodeChange]()
        self._spaces: list[Space] | None = None
        self._indexes: dict[Space, VectorIndex] = {}
        self._caches = caches

    def begin_spaces(self) -> None:
        """Forget what an earlier snapshot showed."""
        self._spaces = None
        self._indexes.clear()
        self.codes_changed.clear()

    def undo_spaces(self, mark: Mark) -> None:
        """Forget what a write did that was rolled back."""
        self._spaces = None
        self.codes_changed.undo(mark)

    def spaces(self) -> list[Space]:
        """See :meth:`Session.spaces`."""
        if self._spaces is None:
            rows = self.connection.execute(
                "SELECT number, fingerprint, model, dimension, name, active FROM space "
                "ORDER BY number"
            )
            self._spaces = [Space(*row[:5], active=bool(row[5])) for row in rows]
        return self._spaces

    def create_space(self, fingerprint: str, model: str, dimension: int, name: str | None) -> Space:
        """See :meth:`Session.create_space`."""
        active = not self.spaces()
        self._spaces = None
        self.connection.execute(
            "INSERT INTO space (fingerprint, model, dimension, name, active) "
            "VALUES (?, ?, ?, ?, ?)",
            (fingerprint, model, dimension, name, active),
        )
        number = self.connection.last_insert_rowid()
        space = Space(number, fingerprint, model, dimension, name, active)
        self._vectors(space).create()
        self.connection.execute(
            "INSERT INTO pending SELECT ?, number FROM memory WHERE content IS NOT NULL",
            (space.number,),
        )
        return space

    def activate_space(self, space: Space) -> None:
        """See :meth:`Session.activate_space`."""
        for other in self.spaces():
            if other.number != space.number:
                self.drop_space(other)
        self.connection.execute("UPDATE space SET active = 1 WHERE number = ?", (space.number,))
        self._spaces = None

    def drop_space(self, space: Space) -> None:
        """See :meth:`Session.drop_space`."""
        self._vectors(space).drop()
        self.connection.execute("DELETE FROM space WHERE number = ?", (space.number,))
        self._spaces = None

    def rebuild_index(self, space: Space, *, after: int = -1, limit: int = 4) -> int | None:
        """See :meth:`Session.rebuild_index`."""
        if after < 0:
            self.drop_tokens(space)
        return self._vectors(space).rebuild(after, limit)

    def _vectors(self, space: Space) -> VectorIndex:
        self.write_codes()
        return self._unwritten(space)

    def write_codes(self) -> None:
        """Write the codes that were collected; searching does so too."""
        by_space: dict[int, tuple[Space, dict[int, Vector | None]]] = {}
        for space, number, vector in self.codes_changed.take():
            by_space.setdefault(space.number, (space, {}))[1][number] = vector
        for space, vectors in by_space.values():
            self._unwritten(space).put_codes(vectors)

    def _unwritten(self, space: Space) -> VectorIndex:
        """Return the index of a space, whose latest codes may not be written yet."""
        if space not in self._indexes:
            codes = None if self._caches is None else self._caches.codes
            self._indexes[space] = VectorIndex(
                self.connection, space, codes, storage=self._vector_storage
            )
        return self._indexes[space]

    def text_changed(
        self, number: int, old: str | None, content: str | None, made: MadeVector | None
    ) -> None:
        """Give a memory the vectors of its new text, or have it wait for them."""
        if old is not None:
            self.delete_tokens(number)
        text_hash = None if content is None else codec.text_hash(content)
        for space in self.spaces():
            vector = None
            if made is not None and (made.space, made.text_hash) == (space, text_hash):
                vector = made.vector
            elif text_hash is not None:
                vector = self._unwritten(space).vector_of_text(text_hash)
            if old is not None and self._unwritten(space).delete(number):
                self.codes_changed.add(_CodeChange(space, number, None))
            if vector is not None and text_hash is not None:
                self._put_vector(space, number, text_hash, vector)
            waits = content is not None and vector is None
            if waits or old is not None:
                self._mark_pending(space, number, waits=waits)

    def _put_vector(self, space: Space, number: int, text_hash: bytes, vector: Vector) -> None:
        stored = self._unwritten(space).put(number, text_hash, vector)
        self.codes_changed.add(_CodeChange(space, number, stored))

    def _mark_pending(self, space: Space, number: int, *, waits: bool) -> None:
        self.connection.execute(
            "INSERT OR IGNORE INTO pending VALUES (?, ?)"
            if waits
            else "DELETE FROM pending WHERE space = ? AND memory = ?",
            (space.number, number),
        )

    def pending(self, space: Space, *, limit: int) -> list[Pending]:
        """See :meth:`Session.pending`."""
        rows = self.connection.execute(
            "SELECT m.number, m.id, m.content FROM pending p JOIN memory m ON m.number = p.memory "
            "WHERE p.space = ? ORDER BY p.memory LIMIT ?",
            (space.number, limit),
        )
        return [Pending(*row) for row in rows]

    def pending_count(self, space: Space) -> int:
        """See :meth:`Session.pending_count`."""
        return self.connection.execute(
            "SELECT count(*) FROM pending WHERE space = ?", (space.number,)
        ).get

    def save_vector(self, space: Space, number: int, text_hash: bytes, vector: Vector) -> bool:
        """See :meth:`Session.save_vector`."""
        content = self.connection.execute(
            "SELECT content FROM memory WHERE number = ?", (number,)
        ).get
        if content is None or codec.text_hash(content) != text_hash:
            return False
        self._put_vector(space, number, text_hash, vector)
        self._mark_pending(space, number, waits=False)
        return True

    def sample(self, space: Space, count: int) -> list[int]:
        """See :meth:`Session.sample`."""
        return self._unwritten(space).sample(count)

    def vector(self, space: Space, number: int) -> Vector | None:
        """See :meth:`Session.vector`."""
        return self._unwritten(space).vector(number)

    def nearest(
        self,
        space: Space,
        vector: Vector,
        k: int,
        query: Query,
        *,
        accuracy: Accuracy = "balanced",
    ) -> Nearest:
        """See :meth:`Session.nearest`."""
        return self._vectors(space).nearest(vector, k, self.condition(query), accuracy)

    def similarities(
        self, space: Space, vector: Vector, numbers: Iterable[int]
    ) -> dict[int, float]:
        """See :meth:`Session.similarities`."""
        return self._unwritten(space).similarities(vector, numbers)

    def condition(self, query: Query) -> Condition | None:
        """Return what memories must match; ``None`` where every living one does."""
        if query.is_empty and not self._leaves_out(query.now_us):
            return None
        answers = None if self._caches is None else self._caches.answers
        return Condition(self.connection, query, answers)

    def _leaves_out(self, now_us: int) -> bool:
        """Tell whether any memory is archived or has expired."""
        return self.connection.execute(
            "SELECT EXISTS (SELECT 1 FROM memory WHERE archived = 1) OR EXISTS "
            "(SELECT 1 FROM memory WHERE expires_at IS NOT NULL AND expires_at <= ?)",
            (now_us,),
        ).get
