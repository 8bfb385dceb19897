"""Errors injected at every step of learning, changing, forgetting, merging and reindexing.

What a step is, see ``injectors.py``. After each: what was asked for is done whole or not at all, an
error of the package's own says that it is not, and the store goes on.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from chrysalis_memory import MemoryStorage
from chrysalis_memory.backends.sqlite import vector_index
from chrysalis_memory.errors import StorageError
from chrysalis_memory.transaction import Transaction
from tests.faults.audit import audit
from tests.faults.failing_disk import failing_disk
from tests.faults.injectors import INJECTORS, Kind, Planned
from tests.faults.looking import Tables, meaning, seen, tables
from tests.faults.operations import (
    NOW_US,
    OPERATIONS,
    Operation,
    clock,
    learn_text,
    make_template,
)
from tests.faults.runs import Run

Way = Literal["alone", "in a group", "with a checkpoint"]
WAYS: tuple[Way, ...] = ("alone", "in a group", "with a checkpoint")

_GOLDEN = 0.6180339887498949
_WAIT_SECONDS = 60
_LIMITS = (
    vector_index.LIMITS,
    vector_index.Limits(exact_below=8, rows_exact=4),
    vector_index.Limits(exact_below=8, held_bytes=0, rows_exact=4),
)
"""By turns: few vectors are searched as few are, as middling many are, and as many are."""


class _Clean(NamedTuple):
    """What an operation comes to when nothing fails."""

    steps: int
    tables: Tables
    meaning: dict[str, Any]


class Rounds:
    """Plays rounds of one kind of fault in a folder."""

    def __init__(
        self, kind: Kind, folder: Path, operations: tuple[Operation, ...] = OPERATIONS
    ) -> None:
        self._kind = kind
        self._path = folder / "memory.db"
        self._operations = operations
        self._clean: dict[tuple[str, Way], _Clean] = {}
        self.outcomes: Counter[str] = Counter()
        make_template(self._path)
        self._template = self._path.read_bytes()

    def play(self, seed: int) -> None:
        """Play one round: the seed says which operation, which step, alone or in a group.

        Raises:
            AssertionError: the store did not do it whole or not at all, or does not go on.
        """
        place, which = divmod(seed, len(self._operations))
        operation = self._operations[which]
        way = "alone" if operation.is_read else WAYS[place % len(WAYS)]
        steps = self._clean_run(operation, way).steps
        # Spread evenly over all steps whatever the number of rounds; the last is beyond the end.
        step = 1 + int(place * _GOLDEN % 1 * (steps + 1))
        planned = Planned(INJECTORS[self._kind](), step, random.Random(seed))
        try:
            self._round(operation, planned, way)
        except Exception as error:
            raise AssertionError(
                f"seed {seed}: {self._kind} at step {step} of {steps} of {operation.name} {way}: "
                f"{error}"
            ) from error

    @contextmanager
    def _prepared(self, operation: Operation) -> Iterator[MemoryStorage]:
        self._path.write_bytes(self._template)
        with self._opened() as storage:
            storage.run(learn_text("known before", id="before"))
            storage.read(lambda session: seen(session, NOW_US))  # so that all caches are filled
            operation.prepare(storage)
            yield storage

    def _opened(self) -> MemoryStorage:
        synchronous = "FULL" if self._kind == "io-error" else "NORMAL"
        return MemoryStorage(
            self._path, "ada", clock=clock(), timeout_seconds=1, synchronous=synchronous
        )

    def _clean_run(self, operation: Operation, way: Way) -> _Clean:
        key = operation.name, way
        if key not in self._clean:
            play = self._grouped if way == "in a group" else self._alone
            with self._prepared(operation) as storage:
                _checkpoint_each(storage, way)
                errors, steps = play(storage, operation, Planned(INJECTORS[self._kind]()))
                assert all(isinstance(error, StorageError | None) for error in errors), errors
                self._clean[key] = _Clean(steps, tables(storage), meaning(storage))
        return self._clean[key]

    def _round(self, operation: Operation, planned: "Planned", way: Way) -> None:
        with self._prepared(operation) as storage:
            _checkpoint_each(storage, way)
            if way == "in a group":
                self._play_grouped(storage, operation, planned)
            else:
                self._play_alone(storage, operation, planned, way)
            with self._opened() as fresh:
                self._must_agree(storage, fresh)
                self._must_go_on(storage, operation)
                last = self._must_agree(storage, fresh)
        assert not self._path.with_name("memory.db-wal").exists(), "the log was left behind"
        with self._opened() as storage:
            assert tables(storage) == last, "reopened, it holds something else"
            audit(storage)

    # Alone

    def _alone(
        self, storage: MemoryStorage, operation: Operation, planned: "Planned"
    ) -> tuple[list[BaseException | None], int]:
        """Do the operation as a transaction of its own, in this thread; return what came of it."""
        connection = _connection(storage, reading=operation.is_read)
        error: BaseException | None = None
        planned.arm(connection)
        try:
            (storage.read if operation.is_read else storage.run)(operation.work)
        except BaseException as raised:  # noqa: BLE001 - judged by the caller
            error = raised
        return [error], planned.disarm(connection)

    def _play_alone(
        self, storage: MemoryStorage, operation: Operation, planned: "Planned", way: Way
    ) -> None:
        before, after = tables(storage), self._clean_run(operation, way).tables
        errors, _ = self._alone(storage, operation, planned)
        now = tables(storage)
        if way == "with a checkpoint" and isinstance(errors[0], StorageError) and now == after:
            # apsw raises what its VFS has raised even where SQLite passes over it, as it does over
            # a checkpoint that fails; test_injection.py has a real disk refuse one. Of interrupts,
            # which the package never sends, SQLite tells after it has committed, too.
            self.outcomes["checkpoint that failed"] += 1
            return
        self._judge(errors[0], now, before, after)

    def _judge(self, error: BaseException | None, now: Any, before: Any, after: Any) -> None:
        """Check that what is held is what the outcome says."""
        self.outcomes["done" if error is None else type(error).__name__] += 1
        if error is None:
            assert now == after, "it returned, and what it did is not there as it should be"
        elif isinstance(error, StorageError):
            assert now == before, f"it changed something and raised {error!r}"
        elif isinstance(error, MemoryError | KeyboardInterrupt):
            assert now in (before, after), f"it is half done after {error!r}"
        else:
            raise AssertionError(f"it raised {error!r}") from error

    # In a group

    def _grouped(
        self, storage: MemoryStorage, operation: Operation, planned: "Planned"
    ) -> tuple[list[BaseException | None], int]:
        """Do the operation between two others in one commit; return what each came to."""
        connection = _connection(storage)
        running, release = threading.Event(), threading.Event()

        def hold(_: Transaction) -> None:
            running.set()
            assert release.wait(_WAIT_SECONDS)
            planned.arm(connection)  # here, because calls are traced on the thread that asks for it

        futures = [storage.submit(hold)]
        assert running.wait(_WAIT_SECONDS)
        works = [
            learn_text("a companion of the first", id="first"),
            operation.work,
            learn_text("a companion of the last", id="last"),
        ]
        futures += [storage.submit(work) for work in works]
        release.set()
        try:
            errors = [future.exception(_WAIT_SECONDS) for future in futures]
        except TimeoutError:
            raise AssertionError("a write waits for ever") from None
        return errors[1:], planned.disarm(connection)

    def _play_grouped(
        self, storage: MemoryStorage, operation: Operation, planned: "Planned"
    ) -> None:
        before, after = meaning(storage), self._clean_run(operation, "in a group").meaning
        errors, _ = self._grouped(storage, operation, planned)
        now = meaning(storage)
        for memory_id, error in (("first", errors[0]), ("last", errors[2])):
            self._judge(error, memory_id in now["memories"], before=False, after=True)
        self._judge(errors[1], _without(now), _without(before), _without(after))

    # Afterwards

    def _must_agree(self, storage: MemoryStorage, other: MemoryStorage) -> Tables:
        """Check that what both keep in RAM says the same of what is in the file; return that."""
        held = tables(storage)
        assert tables(other) == held, "another connection reads something else"
        truth = other.read(lambda session: seen(session, NOW_US))
        assert storage.read(lambda session: seen(session, NOW_US)) == truth, "stale readers"
        assert storage.run(lambda t: seen(t.session, NOW_US)) == truth, "a stale writer"
        return held

    def _must_go_on(self, storage: MemoryStorage, operation: Operation) -> None:
        """Check that everything works afterwards, through both ways of writing."""
        head = storage.read(lambda session: session.head())
        storage.run(learn_text("learned afterwards", id="afterwards", embedded=False))
        queued = storage.submit(learn_text("learned afterwards, too", id="too", embedded=False))
        queued.result(_WAIT_SECONDS)
        assert storage.read(lambda session: session.changes_after(head)) >= 2, "change numbers"
        changed = storage.update("afterwards", lambda memory: memory.set_content("changed"))
        assert changed.content == "changed"
        assert storage.forget("m5")
        if operation.is_repair:
            storage.run(operation.work)


def _connection(storage: MemoryStorage, *, reading: bool = False) -> Any:
    if reading:  # the one that was given back last is lent next
        return storage.read(lambda session: cast("Any", session).connection)
    return storage.run(lambda t: cast("Any", t.session).connection)


def _checkpoint_each(storage: MemoryStorage, way: Way) -> None:
    """Have each commit followed by a checkpoint, which is not to fail it."""
    if way == "with a checkpoint":
        _connection(storage).pragma("wal_autocheckpoint", 1)


def _without(held: dict[str, Any]) -> dict[str, Any]:
    """Leave the companions out of what a store means."""
    ours = ("first", "last")

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            known = cast("dict[str, Any]", value)
            return {key: kept(one) for key, one in known.items() if key not in ours}
        if isinstance(value, list):
            known = cast("list[Any]", value)
            return [one for one in known if one not in ours and one[0] not in ours]
        return value

    return kept(held)


def _play(kind: Kind) -> Callable[[int, int, Path], str]:
    def play(rounds: int, seed: int, folder: Path) -> str:
        known = vector_index.LIMITS
        with failing_disk():
            one = Rounds(kind, folder)
            try:
                for number in range(seed, seed + rounds):
                    turn = number // (len(OPERATIONS) * len(WAYS))  # whatever is done how
                    vector_index.LIMITS = _LIMITS[turn % len(_LIMITS)]
                    one.play(number)
            finally:
                vector_index.LIMITS = known
        told = ", ".join(f"{count:,} {name}" for name, count in sorted(one.outcomes.items()))
        return f"0 half done; {told}"

    return play


RUNS = tuple(Run(f"inject-{kind}", 200, 5_000, _play(kind)) for kind in INJECTORS)
