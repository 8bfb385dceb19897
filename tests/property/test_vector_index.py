"""Whatever happened to a store, its vector index equals one built anew and finds what is there."""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chrysalis_memory import Embedding, Filter, MemoryDocument, MemoryStorage
from chrysalis_memory.backends.sqlite import vector_index
from chrysalis_memory.backends.sqlite.code_table import CodeTable
from chrysalis_memory.backends.sqlite.codes import CHUNK, SEGMENT_CHUNKS
from chrysalis_memory.query import Query
from chrysalis_memory.search import active_space

DIMENSION = 70  # two words to a code, the second not full
NOW_US = 1_800_000_000_000_000
CODES = vector_index.Limits(exact_below=0, held_bytes=0, rows_exact=2, asked_max=2)
HELD = CODES._replace(held_bytes=1 << 20)
EXACT = vector_index.Limits()
MEMORIES = 12
FIRST = (0, CHUNK - 5, SEGMENT_CHUNKS * CHUNK - 5, 2**33 - 5)
"""The numbers behind which memories begin: around the borders of the index's parts."""
KINDS = (("float32", "float32"), ("int8", "int8"), ("float32", "int8"))
"""What the two stores of a file store vectors as."""
FILTERS = (
    Filter(),
    Filter.of(tags_all="even"),
    Filter.of(namespace="a"),
    Filter.of(namespace="a", tags_none="even"),
    Filter.of(include_archived=True),
)

numbers = st.integers(0, MEMORIES - 1)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), numbers, st.integers(0, 5)),
        st.tuples(st.just("forget"), numbers),
        st.tuples(st.just("archive"), numbers, st.booleans()),
        st.tuples(st.just("tag"), numbers, st.booleans()),
        st.tuples(st.just("fail"), numbers, st.integers(0, 5)),
        st.tuples(st.just("search"), st.integers(0, 5)),
        st.tuples(st.just("rebuild")),
        st.tuples(st.just("reopen")),
        st.tuples(st.just("other")),
        st.tuples(st.just("hold"), st.integers(0, 5)),
        st.tuples(st.just("release")),
    ),
    min_size=3,
    max_size=25,
)


def vector_of(text: int) -> np.ndarray:
    return Embedding(
        np.random.default_rng(text).normal(size=DIMENSION), "model", f"text {text}"
    ).vector


class Player:
    """Plays steps on a file through two stores, and keeps snapshots open meanwhile."""

    def __init__(self, folder: Path, first: int, kinds: tuple[Any, Any]) -> None:
        self.path = folder / "memory.db"
        self.kinds = list(kinds)
        self.stores = [self._open(kind) for kind in kinds]
        self.held: list[tuple[Any, list[Any]]] = []
        self.storage.open_space("model", "model", DIMENSION)
        if first:
            forgotten = (
                "INSERT INTO memory VALUES (?, 'first', 2, x'00', x'00', 1, NULL, '', '', NULL, "
                "NULL, 0, 0, 0, 0, NULL, 0, '')"
            )
            self.storage.submit(
                lambda t: t.session.connection.execute(forgotten, (first,))
            ).result()

    @property
    def storage(self) -> MemoryStorage:
        return self.stores[0]

    def _open(self, kind: Any) -> MemoryStorage:
        return MemoryStorage(self.path, "ada", synchronous="NORMAL", vector_storage=kind)

    def put(self, number: int, text: int) -> None:
        def work(transaction: Any) -> None:
            name, content = f"m{number}", f"text {text}"
            document = transaction.load(name)
            if document is None or document.is_forgotten:
                forgotten = document
                document = transaction.new_document(name, content, None)
                if forgotten is not None:
                    document = document.revived(forgotten.state.life)
                document.set_namespace("a" if number % 3 else "b")
            else:
                document.set_content(content)
            vector = np.random.default_rng(text).normal(size=DIMENSION)
            transaction.put(document, Embedding(vector, "model", content))

        self.storage.submit(work).result()

    def forget(self, number: int) -> None:
        if self.storage.get(f"m{number}") is not None:
            self.storage.forget(f"m{number}")

    def archive(self, number: int, archived: bool) -> None:
        self._change(number, lambda document: document.set_archived(archived))

    def tag(self, number: int, tagged: bool) -> None:
        self._change(
            number,
            lambda document: document.add_tag("even") if tagged else document.remove_tag("even"),
        )

    def _change(self, number: int, change: Callable[[MemoryDocument], None]) -> None:
        if self.storage.get(f"m{number}") is not None:
            self.storage.update(f"m{number}", change)

    def fail(self, number: int, text: int) -> None:
        def work(transaction: Any) -> None:
            space = active_space(transaction.session)
            index = vector_index.VectorIndex(transaction.session.connection, space)
            for (stored,) in transaction.session.connection.execute(
                "SELECT number FROM memory LIMIT 3"
            ).fetchall():
                index.put(stored, b"", vector_of(text + number))
                index.put_codes({stored: vector_of(text + number)})
            raise RuntimeError("after the write")

        with pytest.raises(RuntimeError):
            self.storage.submit(work).result()

    def rebuild(self) -> None:
        self.storage.rebuild_indexes()

    def reopen(self) -> None:
        self.release()
        self.stores.pop(0).close()
        self.kinds.append(self.kinds.pop(0))
        self.stores.append(self._open(self.kinds[-1]))

    def other(self) -> None:
        self.stores.reverse()
        self.kinds.reverse()

    def search(self, text: int) -> None:
        for storage in self.stores:
            storage.read(lambda session: check(session, vector_of(text)))

    def hold(self, text: int) -> None:
        """Open a snapshot that later steps must not change the answers of."""
        session = self.storage._backend._borrow()
        session.connection.execute("BEGIN")
        session.begin()
        session.spaces()
        self.held.append((session, [self.storage, vector_of(text), answers(session)]))

    def release(self) -> None:
        for session, (storage, vector, seen) in self.held:
            check(session, vector)
            assert answers(session) == seen
            session.connection.execute("COMMIT")
            storage._backend._give_back(session)
        self.held.clear()

    def end(self) -> None:
        self.search(3)
        self.release()
        for storage in self.stores:
            before = storage.read(codes)
            storage.rebuild_indexes()
            assert storage.read(codes) == before, "the index is not the one built anew"
            storage.close()


def codes(session: Any) -> list[Any]:
    return list(CodeTable(session.connection, active_space(session)).chunks_since(0))


def answers(session: Any) -> list[Any]:
    space = active_space(session)
    # How a filter is answered depends on whether it was asked before; what is found does not.
    return [
        session.nearest(space, vector_of(1), 4, Query(wanted, NOW_US)).pairs for wanted in FILTERS
    ]


def check(session: Any, vector: np.ndarray) -> None:
    """Compare with every vector that matches, for several filters and numbers of results."""
    space = active_space(session)
    for wanted in FILTERS:
        query = Query(wanted, NOW_US)
        matching = [row.number for row in session.select(query, "created", None)]
        true = sorted(session.similarities(space, vector, matching).items(), key=lambda p: -p[1])
        for k, accuracy in ((1, "balanced"), (4, "exact"), (50, "balanced"), (50, "exact")):
            found = session.nearest(space, vector, k, query, accuracy=accuracy).pairs
            last = true[min(k, len(true)) - 1][1] if true else 0.0
            assert dict(found) == {n: cosine for n, cosine in true if cosine >= last}
            assert [cosine for _, cosine in found] == sorted(
                (cosine for _, cosine in found), reverse=True
            )


@pytest.mark.parametrize(
    "limits", [CODES, HELD, EXACT], ids=["codes", "codes and vectors", "exact"]
)
@settings(
    max_examples=int(os.environ.get("CHRYSALIS_TEST_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(first=st.sampled_from(FIRST), kinds=st.sampled_from(KINDS), played=steps)
def test_after_any_history_the_index_equals_one_built_anew(
    limits: vector_index.Limits, first: int, kinds: tuple[Any, Any], played: list[Any]
) -> None:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(vector_index, "LIMITS", limits)
        player = Player(Path(folder), first, kinds)
        for name, *arguments in played:
            getattr(player, name)(*arguments)
        player.end()
