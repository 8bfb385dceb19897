"""Random histories of a store beside a ``MemoryCollection``: both always hold the same."""

import json
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import apsw

from chrysalis_memory import (
    Embedding,
    HybridLogicalClock,
    MemoryCollection,
    MemoryDocument,
    MemoryStorage,
    learning,
)
from chrysalis_memory.backends.base import WeightedTerm
from chrysalis_memory.errors import MemoryForgotten
from chrysalis_memory.learning import NewMemory
from chrysalis_memory.query import Filter, Query
from chrysalis_memory.transaction import Transaction
from tests.faults.audit import audit
from tests.faults.looking import vector_of
from tests.faults.runs import Run

OPERATIONS = 200
_EVERY = 50
"""After so many operations both are compared, and at the end."""
_WORDS = tuple(f"word{number}" for number in range(12))
_TAGS = ("red", "blue", "green")
_IDS = tuple(f"m{number}" for number in range(30))
_START_US = 1_700_000_000_000_000
_STEP_US = 60_000_000


class PlannedFailure(Exception):
    """What a batch fails with halfway."""


class _Model(Transaction):
    """A transaction that reads and writes a collection in RAM."""

    def __init__(self, clock: HybridLogicalClock) -> None:
        super().__init__(cast("Any", None), "ada", clock)
        self.collection = MemoryCollection("model")
        self._stamps = clock

    def load(self, memory_id: str) -> MemoryDocument | None:
        """Return a handle that writes as the store's do."""
        known = {one.id: one for one in self.collection.states()}.get(memory_id)
        if known is None:
            return None
        return MemoryDocument.of(memory_id, known.state, writer="ada", clock=self._stamps)

    def prefetch(self, memory_ids: Iterable[str]) -> None:
        """There is nothing to lock."""

    def put(self, document: MemoryDocument, embedding: Embedding | None = None) -> MemoryDocument:
        """Merge a document into the collection."""
        self.collection.put(document)
        return document


class _Other:
    """A second process that merges documents into files."""

    _SCRIPT = """
import json, sys
from chrysalis_memory import MemoryDocument, MemoryStorage
storage = None
for line in sys.stdin:
    path, documents = json.loads(line)
    if storage is None or str(storage.path) != path:
        if storage is not None:
            storage.close()
        storage = MemoryStorage(path, "other", synchronous="NORMAL") if path else None
    if storage is not None:
        storage.merge(MemoryDocument.from_bytes(bytes.fromhex(one)) for one in documents)
    print("done", flush=True)
"""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def merge(self, path: Path | None, documents: Iterable[MemoryDocument]) -> None:
        """Merge documents there; without a path, close the file."""
        given, out = cast("Any", self._process.stdin), cast("Any", self._process.stdout)
        hexed = [one.to_bytes().hex() for one in documents]
        given.write(json.dumps([str(path or ""), hexed]) + "\n")
        given.flush()
        assert out.readline() == "done\n", "the other process failed"

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=60)


class History:
    """One random sequence of operations on a new file."""

    def __init__(self, seed: int, path: Path, other: _Other) -> None:
        self._chance = random.Random(seed)
        self._path = path
        self._other = other
        self._wall_us = _START_US
        self._model = _Model(self._new_clock())
        self._storage = self._opened()
        self._second: MemoryStorage | None = None
        self._dimension = 16
        self.seen: Counter[str] = Counter()
        self._storage.open_space("space 16", "model", 16)

    def _new_clock(self) -> HybridLogicalClock:
        # Both stamp alike: each operation has a moment of its own, later than all before.
        return HybridLogicalClock(lambda: self._wall_us)

    def _opened(self) -> MemoryStorage:
        return MemoryStorage(self._path, "ada", clock=self._new_clock(), synchronous="NORMAL")

    def play(self) -> None:
        """Play the operations, comparing now and then."""
        try:
            for number in range(OPERATIONS):
                self._wall_us += _STEP_US
                name = self._chance.choices(_NAMES, _SHARES)[0]
                self.seen[name] += 1
                getattr(self, f"_{name}")()
                if number % _EVERY == _EVERY - 1:
                    self._compare()
            self._reopen()
            self._compare()
        finally:
            if self._second is not None:
                self._second.close()
            self._other.merge(None, ())
            self._storage.close()

    # What is done to both

    def _text(self) -> str:
        return " ".join(self._chance.sample(_WORDS, self._chance.randint(1, 4)))

    def _both(self, work: Callable[[Any], object]) -> None:
        """Do the same to the store and to the model; both must take it alike."""
        outcomes: list[str] = []
        write = self._chance.choice((self._storage.run, self._submitted))
        for run in (write, lambda w: w(self._model)):
            try:
                run(work)
                outcomes.append("done")
            except MemoryForgotten:
                outcomes.append("forgotten")
        assert outcomes[0] == outcomes[1], f"the store and the model disagree: {outcomes}"

    def _submitted(self, work: Callable[[Transaction], object]) -> object:
        return self._storage.submit(work).result(60)

    def _document(self, writer: str) -> MemoryDocument:
        memory = MemoryDocument(
            self._chance.choice(_IDS), self._text(), source_instance=writer, clock=self._new_clock()
        )
        self._vary(memory)
        return memory

    def _vary(self, memory: MemoryDocument) -> None:
        chance = self._chance
        if chance.random() < 0.5:
            memory.add_tag(chance.choice(_TAGS))
        for change in chance.sample(_CHANGES, chance.randint(0, 3)):
            change(memory, chance, self._wall_us)

    def _put(self) -> None:
        document = self._document("ada")
        self._both(lambda t: t.put(document))

    def _learn(self) -> None:
        chance = self._chance
        new = NewMemory.of(
            content=self._text(),
            id=chance.choice((None, None, chance.choice(_IDS))),
            namespace=chance.choice((None, "user/a")),
            tags=chance.sample(_TAGS, chance.randint(0, 2)),
            importance=chance.choice((None, 0.2, 0.9)),
            episode=chance.choice((None, None, "talk")),
        )
        vector = vector_of(new.content, self._dimension)
        made = Embedding(vector, f"space {self._dimension}", new.content)
        self._both(lambda t: learning.learn(t, new, made))

    def _update(self) -> None:
        known = [one.id for one in self._model.collection.all()]
        if not known:
            return
        memory_id, state, text = (
            self._chance.choice(known),
            self._chance.getstate(),
            self._chance.choice((None, self._text())),
        )

        def work(transaction: Any) -> None:
            memory = transaction.load(memory_id)
            if text is not None:
                memory.set_content(text)
            self._chance.setstate(state)  # the same changes for both
            self._vary(memory)
            transaction.put(memory)

        self._both(work)

    def _forget(self) -> None:
        memory_id = self._chance.choice(_IDS)
        expected = self._model.collection.forget(memory_id)
        assert self._storage.forget(memory_id) == expected

    def _use(self) -> None:
        counts = {one: self._chance.randint(1, 3) for one in self._chance.sample(_IDS, 4)}
        self._storage.record_access(counts)
        for memory_id, count in counts.items():
            memory = self._model.collection.get(memory_id)
            if memory is not None:
                memory.record_access(self._storage.replica, count)
                self._model.collection.merge_memory(memory)

    def _foreign(self) -> list[MemoryDocument]:
        """Return what another replica might hold: changed, forgotten, written without knowing."""
        found: list[MemoryDocument] = []
        for _ in range(self._chance.randint(1, 8)):
            memory = self._document("b")
            known = self._model.load(memory.id)
            if known is not None and not known.is_forgotten and self._chance.random() < 0.7:
                memory = MemoryDocument.of(
                    memory.id, known.state, writer="b", clock=self._new_clock()
                )
                self._vary(memory)
            if self._chance.random() < 0.1:
                memory.forget()
            else:
                memory.record_access("b", self._chance.randint(1, 5))
            found.append(memory)
        return found

    def _merge_by(self, merge: Callable[[list[MemoryDocument]], object]) -> None:
        documents = self._foreign()
        merge([MemoryDocument.from_bytes(one.to_bytes()) for one in documents])
        for one in documents:
            self._model.collection.merge_memory(one)

    def _merge(self) -> None:
        self._merge_by(self._storage.merge)

    def _second_store(self) -> None:
        if self._second is None:
            self._second = MemoryStorage(
                self._path, "second", clock=self._new_clock(), synchronous="NORMAL"
            )
        self._merge_by(self._second.merge)

    def _second_process(self) -> None:
        self._merge_by(lambda documents: self._other.merge(self._path, documents))

    # What changes nothing

    def _failing_batch(self) -> None:
        documents = self._foreign()

        def work(transaction: Transaction) -> None:
            transaction.merge_many(documents)
            raise PlannedFailure

        before, after = self._document("ada"), self._document("ada")
        running, release = threading.Event(), threading.Event()
        held = self._storage.submit(lambda _: (running.set(), release.wait(60)))
        assert running.wait(60)
        # They wait together, so they share a commit, and each has a savepoint.
        good = [held, self._storage.submit(lambda t: t.merge(before))]
        bad = self._storage.submit(work)
        good.append(self._storage.submit(lambda t: t.merge(after)))
        release.set()
        assert isinstance(bad.exception(60), PlannedFailure)
        for future in good:
            future.result(60)
        self._model.collection.merge_memory(before)
        self._model.collection.merge_memory(after)

    def _reopen(self) -> None:
        self._storage.close()
        self._storage = self._opened()

    def _vacuum(self) -> None:
        connection = apsw.Connection(str(self._path))
        connection.set_busy_timeout(5_000)
        connection.execute("VACUUM")
        connection.close()

    def _rebuild(self) -> None:
        self._storage.rebuild_indexes()

    def _embed(self) -> None:
        (space,) = self._storage.spaces()
        waiting = self._storage.pending(space, limit=1_000)
        made = [
            (one.number, Embedding(vector_of(one.content, space.dimension), "", one.content))
            for one in waiting
        ]
        self._storage.put_vectors(space, made)

    def _reindex(self) -> None:
        dimension = 24 if self._dimension == 16 else 16
        space = self._storage.open_space(f"space {dimension}", "model", dimension)
        for one in self._storage.pending(space, limit=1_000):
            made = Embedding(vector_of(one.content, dimension), "", one.content)
            self._storage.put_vectors(space, [(one.number, made)])
        self._storage.activate_space(space)
        self._dimension = dimension

    # Comparing

    def _compare(self) -> None:
        held = {one.id: one.to_json() for one in self._storage.states()}
        expected = {one.id: one.to_json() for one in self._model.collection.states()}
        assert held == expected, _difference(held, expected)
        moment = datetime.fromtimestamp(self._wall_us / 1e6, UTC)
        for wanted in _filters(moment):
            self._compare_filter(wanted, moment)
        self._compare_words(moment)
        self._compare_vectors(moment)
        audit(self._storage)

    def _compare_filter(self, wanted: Filter, moment: datetime) -> None:
        expected = self._model.collection.find(wanted, now=moment)
        found = self._storage.find(wanted)
        assert [one.id for one in found] == [one.id for one in expected], f"find {wanted!r}"
        assert self._storage.count(wanted) == len(expected), f"count {wanted!r}"
        query = self._storage.query(wanted)
        tags = Counter(tag for one in expected for tag in one.get_tags())
        assert dict(self._storage.read(lambda s: s.tag_counts(query))) == tags, "tag counts"
        places = Counter(one.namespace for one in expected)
        counted = dict(self._storage.read(lambda s: s.namespace_counts(query)))
        assert counted == places, "namespace counts"

    def _compare_words(self, moment: datetime) -> None:
        memories = self._model.collection.find(Filter(), now=moment)
        living = self._model.collection.all()
        query = Query(Filter(), self._wall_us)

        def work(session: Any) -> dict[str, tuple[int, set[str]]]:
            found: dict[str, tuple[int, set[str]]] = {}
            for word in _WORDS:
                term = session.term(word)
                (frequency,) = session.document_frequencies([term])
                weighted = [WeightedTerm(term, 1.0, frequency)]
                ranked = session.best_by_words(weighted, query, limit=1_000)
                rows = session.load_numbers([number for number, _ in ranked])
                found[word] = frequency, {row.id for row in rows}
            return found

        def holding(among: list[MemoryDocument], word: str) -> set[str]:
            return {one.id for one in among if word in one.content.split()}

        expected = {word: (len(holding(living, word)), holding(memories, word)) for word in _WORDS}
        assert self._storage.read(work) == expected, "words"

    def _compare_vectors(self, moment: datetime) -> None:
        (space,) = self._storage.spaces()
        waiting = {one.id for one in self._storage.pending(space, limit=1_000)}
        vector = vector_of("what is asked", space.dimension)
        memories = self._model.collection.find(Filter(), now=moment)
        expected = sorted(
            (
                (float(vector @ vector_of(one.content, space.dimension)), one.id)
                for one in memories
                if one.id not in waiting
            ),
            reverse=True,
        )[:5]

        def work(session: Any) -> list[float]:
            pairs = session.nearest(space, vector, 5, Query(Filter(), self._wall_us)).pairs
            return [cosine for _, cosine in pairs][:5]

        found = self._storage.read(work)
        assert len(found) == len(expected), "nearest"
        for (cosine, memory_id), other in zip(expected, found, strict=True):
            assert abs(cosine - other) < 1e-4, f"nearest {memory_id}"


_NAMES, _SHARES = zip(
    *{
        "put": 20, "learn": 40, "update": 40, "forget": 14, "use": 12, "merge": 20,
        "second_store": 12, "second_process": 8, "failing_batch": 10, "reopen": 5, "vacuum": 4,
        "rebuild": 4, "embed": 8, "reindex": 3,
    }.items(),
    strict=True,
)  # fmt: skip

_CHANGES: tuple[Callable[[MemoryDocument, random.Random, int], None], ...] = (
    lambda m, c, _: m.set_importance(c.random()),
    lambda m, c, _: m.set_confidence(c.random()),
    lambda m, c, _: m.set_namespace(c.choice(("", "user", "user/a", "users"))),
    lambda m, c, _: m.set_memory_type(c.choice(("episodic", "semantic"))),
    lambda m, c, _: m.set_metadata({"size": c.choice((1, 2, "2", None, True))}),
    lambda m, c, _: m.set_archived(c.random() < 0.5),
    lambda m, c, now: m.set_expires_at(
        datetime.fromtimestamp(now / 1e6, UTC) + timedelta(minutes=c.randint(1, 90))
    ),
    lambda m, c, _: m.set_episode("talk", c.randint(0, 5)),
    lambda m, c, _: m.remove_tag(c.choice(_TAGS)),
)


def _filters(moment: datetime) -> Iterator[Filter]:
    yield Filter()
    yield Filter(include_archived=True, include_expired=True)
    for conditions in (
        {"tags_all": "red"},
        {"tags_any": ["red", "blue"], "tags_none": "green"},
        {"namespace_prefix": "user"},
        {"namespace": "user/a", "minimum_importance": 0.3},
        {"memory_type": "semantic", "minimum_confidence": 0.5},
        {"metadata": {"size": {"$gte": 2}}},
        {"metadata": {"size": {"$ne": 2}}, "include_archived": True},
        {"episode": "talk"},
        {"created_from": moment - timedelta(minutes=60)},
        {"updated_before": moment - timedelta(minutes=20), "include_expired": True},
    ):
        yield Filter.of(**conditions)


def _difference(held: dict[str, str], expected: dict[str, str]) -> str:
    ids = sorted(one for one in {*held, *expected} if held.get(one) != expected.get(one))
    one = ids[0]
    return f"{len(ids)} states differ, first {one!r}: {held.get(one)} not {expected.get(one)}"


@contextmanager
def _other_process() -> Iterator[_Other]:
    other = _Other()
    try:
        yield other
    finally:
        other.close()


def _play(rounds: int, seed: int, folder: Path) -> str:
    seen: Counter[str] = Counter()
    with _other_process() as other:
        for number in range(seed, seed + rounds):
            path = folder / f"{number}.db"
            history = History(number, path, other)
            try:
                history.play()
            except Exception as error:
                raise AssertionError(f"seed {number}: {error!r}") from error
            seen += history.seen
            path.unlink()
    told = ", ".join(f"{count:,} {name}" for name, count in seen.most_common())
    return f"0 differences in {seen.total():,} operations; {told}"


RUNS = (Run("model", 50, 2_000, _play),)
