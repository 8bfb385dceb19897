"""Ways to have the n-th step of something fail.

A step is a read, write, sync or truncation of the disk, an instruction of SQLite, so many bytes of
its memory, or a call inside the package.
"""

import contextlib
import inspect
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NamedTuple

import apsw

import chrysalis_memory
from tests.faults.failing_disk import PLAN

Kind = Literal["io-error", "disk-full", "out-of-memory", "interrupt", "exception"]

_PACKAGE = str(Path(chrysalis_memory.__file__).parent)
_INSTRUCTIONS = 5
"""Instructions of SQLite between two looks at whether it is interrupted."""


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


class Planned:
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
