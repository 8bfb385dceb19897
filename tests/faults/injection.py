"""Errors injected at every step of learning, changing, forgetting, merging and reindexing.

A step is a read, write, sync or truncation of the disk, an instruction of SQLite, so many bytes of
its memory, or a call inside the package. After each: what was asked for is done whole or not at
all, an error of the package's own says that it is not, and the store goes on.
"""

import contextlib
import inspect
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NamedTuple, cast

import apsw

import chrysalis_memory
from chrysalis_memory import MemoryStorage
from chrysalis_memory.backends.sqlite import vector_index
from chrysalis_memory.errors import StorageError
from chrysalis_memory.transaction import Transaction
from tests.faults.audit import audit
from tests.faults.failing_disk import PLAN, failing_disk
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

Kind = Literal["io-error", "disk-full", "out-of-memory", "interrupt", "exception"]

Way = Literal["alone", "in a group", "with a checkpoint"]
WAYS: tuple[Way, ...] = ("alone", "in a group", "with a checkpoint")

_GOLDEN = 0.6180339887498949
_WAIT_SECONDS = 60
_PACKAGE = str(Path(chrysalis_memory.__file__).parent)
_INSTRUCTIONS = 5
"""Instructions of SQLite between two looks at whether it is interrupted."""
_SMALL = vector_index.Limits(exact_below=8, rows_exact=4)
"""Limits that have few vectors searched as many are."""


class Injector(NamedTuple):
    """A way to have the n-th step fail, and to count steps."""

    arm: Callable[[Any, int, random.Random], None]
    """Has the n-th step on a connection fail from now on; 0 counts only."""
    disarm: Callable[[Any], int]
    """Ends that; returns how many steps there were."""


# Faults of the disk


def _disk(failure: Literal["io-error", "disk-full"]) -> Injector:
    def arm(_: Any, first: int, chance: random.Random) -> None:
        count = chance.choice((1, 1, 3, 1_000_000))
        PLAN.arm(failure, first=first, count=count, seed=chance.randrange(1 << 30))

    def disarm(_: Any) -> int:
        PLAN.disarm()
        return PLAN.steps

    return Injector(arm, disarm)


# Faults of memory: each byte more that SQLite may have is a step


def _memory() -> Injector:
    used = 0

    def arm(_: Any, first: int, __: random.Random) -> None:
        nonlocal used
        used = apsw.memory_used()
        apsw.memory_high_water(True)
        if first:
            apsw.hard_heap_limit(used + first - 1)

    def disarm(_: Any) -> int:
        apsw.hard_heap_limit(0)
        apsw.soft_heap_limit(0)
        return apsw.memory_high_water() - used

    return Injector(arm, disarm)


# Interrupts


def _interrupt() -> Injector:
    looked = 0

    def arm(connection: Any, first: int, _: random.Random) -> None:
        nonlocal looked
        looked = 0

        def look() -> bool:
            nonlocal looked
            looked += 1
            return looked == first

        connection.set_progress_handler(look, _INSTRUCTIONS)

    def disarm(connection: Any) -> int:
        with contextlib.suppress(apsw.ConnectionClosedError):  # a read that could not end
            connection.set_progress_handler(None)
        return looked

    return Injector(arm, disarm)


# Exceptions of Python, at the calls inside the package


class _Tracer:
    def __init__(self, first: int, error: type[BaseException]) -> None:
        self.calls = 0
        self._first = first
        self._error = error
        self.is_over = False

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if self.is_over or not code.co_filename.startswith(_PACKAGE):
            return None
        if code.co_flags & inspect.CO_GENERATOR:  # what is raised as one is closed reaches nobody
            return None
        if event in ("call", "return"):
            self.calls += 1
            if self.calls == self._first:
                raise self._error("raised on purpose")
        frame.f_trace_lines = False
        return self


def _exception() -> Injector:
    tracer = _Tracer(0, MemoryError)

    def arm(_: Any, first: int, chance: random.Random) -> None:
        nonlocal tracer
        # Ctrl-C reaches the main thread only; the writing thread is another.
        is_main = threading.current_thread() is threading.main_thread()
        errors = (MemoryError, KeyboardInterrupt) if is_main else (MemoryError,)
        tracer = _Tracer(first, chance.choice(errors))
        sys.settrace(tracer)

    def disarm(_: Any) -> int:
        sys.settrace(None)
        tracer.is_over = True
        return tracer.calls

    return Injector(arm, disarm)


INJECTORS: dict[Kind, Callable[[], Injector]] = {
    "io-error": lambda: _disk("io-error"),
    "disk-full": lambda: _disk("disk-full"),
    "out-of-memory": _memory,
    "interrupt": _interrupt,
    "exception": _exception,
}


class _Planned:
    """One step of one kind that is to fail; step 0 counts only."""

    def __init__(
        self, injector: Injector, step: int = 0, chance: random.Random | None = None
    ) -> None:
        self._injector = injector
        self._step = step
        self._chance = random.Random(0) if chance is None else chance

    def arm(self, connection: Any) -> None:
        """Begin, in the thread whose calls count."""
        self._injector.arm(connection, self._step, self._chance)

    def disarm(self, connection: Any) -> int:
        """End it; return how many steps there were."""
        return self._injector.disarm(connection)


# Rounds


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
        planned = _Planned(INJECTORS[self._kind](), step, random.Random(seed))
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
                errors, steps = play(storage, operation, _Planned(INJECTORS[self._kind]()))
                assert all(isinstance(error, StorageError | None) for error in errors), errors
                self._clean[key] = _Clean(steps, tables(storage), meaning(storage))
        return self._clean[key]

    def _round(self, operation: Operation, planned: "_Planned", way: Way) -> None:
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
        self, storage: MemoryStorage, operation: Operation, planned: "_Planned"
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
        self, storage: MemoryStorage, operation: Operation, planned: "_Planned", way: Way
    ) -> None:
        before, after = tables(storage), self._clean_run(operation, way).tables
        errors, _ = self._alone(storage, operation, planned)
        now = tables(storage)
        if way == "with a checkpoint" and isinstance(errors[0], StorageError) and now == after:
            # apsw raises what its VFS has raised even where SQLite passes over it, as it does over
            # a checkpoint that fails; test_injection.py has a real disk refuse one.
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
        self, storage: MemoryStorage, operation: Operation, planned: "_Planned"
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
        self, storage: MemoryStorage, operation: Operation, planned: "_Planned"
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
                    vector_index.LIMITS = _SMALL if number % 2 else known
                    one.play(number)
            finally:
                vector_index.LIMITS = known
        told = ", ".join(f"{count:,} {name}" for name, count in sorted(one.outcomes.items()))
        return f"0 half done; {told}"

    return play


RUNS = tuple(Run(f"inject-{kind}", 200, 5_000, _play(kind)) for kind in INJECTORS)
