"""Processes that write until they are killed, and tell what they do over a pipe.

``python -m tests.faults.writers`` has everything imported and forks a writer for each line it is
sent, so that a writer begins within a millisecond. It holds no connection and no thread itself.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chrysalis_memory import MemoryStorage
from tests.faults.ledger import Told
from tests.faults.workload import Workload, set_on_writer

ROOT = Path(__file__).resolve().parents[2]
_TIMEOUT_SECONDS = 60.0
_GROUPS_OF_AN_OPENING = 20
_CHECKPOINT_PAGES = 100


# In the processes that are killed


def serve() -> None:
    """Fork a writer for each line that asks for one; wait for the end of one that is named."""
    for line in sys.stdin:
        asked = json.loads(line)
        if "ended" in asked:
            _, status = os.waitpid(asked["ended"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        pipe = os.open(asked.pop("pipe"), os.O_WRONLY)
        process = os.fork()
        if process == 0:
            _write(pipe, **asked)
        os.close(pipe)
        print(process, flush=True)


def _write(pipe: int, **asked: Any) -> None:
    def tell(**said: Any) -> None:
        os.write(pipe, json.dumps(said).encode() + b"\n")

    try:
        write_forever(tell, **asked)
    except BaseException:  # noqa: BLE001 - told to whoever reads the pipe
        tell(failed=traceback.format_exc())
    finally:
        os._exit(1)  # a fork of another program's process must not run its exit handlers


def write_forever(
    tell: Callable[..., None], *, path: str, seed: int, name: str, lies_at: int
) -> None:
    """Write until killed; every acknowledgement follows the return of the call it is for.

    ``lies_at`` plants a fault: the operation of that number is acknowledged before it is
    committed, and the writer dies between the two.
    """
    workload, done = Workload(seed, name), 0

    def begun(told: Told) -> None:
        tell(begun=[data.hex() for data in told])
        if done == lies_at:
            tell(done=1)
            os.kill(os.getpid(), signal.SIGKILL)

    while True:
        # Closed and opened now and then, with checkpoints often: these too are to be cut.
        with MemoryStorage(path, name, timeout_seconds=_TIMEOUT_SECONDS) as storage:
            set_on_writer(storage, "wal_autocheckpoint", _CHECKPOINT_PAGES)
            for _ in range(_GROUPS_OF_AN_OPENING):
                group = [operation.told(begun) for operation in workload.group()]
                if len(group) == 1:
                    storage.run(group[0])
                    tell(done=1)
                else:
                    for future in [storage.submit(work) for work in group]:
                        future.result()
                        tell(done=1)
                done += len(group)


# In the process that kills


class Writer:
    """A running writer, and what it has told so far."""

    def __init__(self, process: int, pipe: int) -> None:
        self.process = process
        self.pipe = pipe
        self.acknowledged: deque[Told] = deque()
        self.in_flight: deque[Told] = deque()
        self.failed = ""
        self.ended = False
        self._unread = b""

    def read(self) -> None:
        """Take what the pipe holds; half a line is no word."""
        data = os.read(self.pipe, 1 << 16)
        self.ended = data == b""
        *lines, self._unread = (self._unread + data).split(b"\n")
        for said in map(json.loads, lines):
            if "begun" in said:
                self.in_flight.append([bytes.fromhex(data) for data in said["begun"]])
            elif "done" in said:
                self.acknowledged.append(self.in_flight.popleft())
            else:
                self.failed = said["failed"]

    def kill(self) -> None:
        """Send SIGKILL."""
        os.kill(self.process, signal.SIGKILL)


class Writers:
    """Starts writers in a folder, follows them, and sees them dead."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.writers"],
            cwd=ROOT,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # a process that forks has one thread
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._running: list[Writer] = []

    def start(self, path: Path, seed: int, name: str, *, lies_at: int = -1) -> Writer:
        """Start a writer on a file."""
        fifo = self._folder / f"{name}.pipe"
        os.mkfifo(fifo)
        pipe = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        asked = {"path": str(path), "seed": seed, "name": name, "lies_at": lies_at}
        process = int(self._ask({"pipe": str(fifo), **asked}))
        fifo.unlink()
        writer = Writer(process, pipe)
        self._running.append(writer)
        return writer

    def follow(self, *, operations: int = 0, seconds: float = 0.0) -> None:
        """Read until so many more operations are acknowledged, then for so many seconds."""
        wanted = operations + self._acknowledged()
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while self._acknowledged() < wanted and not any(one.ended for one in self._running):
            assert time.monotonic() < deadline, f"no {operations} operations in {_TIMEOUT_SECONDS}"
            self._read(deadline)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._read(deadline)

    def kill(self, writers: list[Writer]) -> None:
        """Kill some, read what they had told, and see that SIGKILL was what ended them."""
        for writer in writers:
            writer.kill()  # one that ended by itself is there until it is asked about
        for writer in writers:
            ended = int(self._ask({"ended": writer.process}))
            while not writer.ended:
                writer.read()
            os.close(writer.pipe)
            self._running.remove(writer)
            assert (ended, writer.failed) == (-signal.SIGKILL, ""), writer.failed

    def _acknowledged(self) -> int:
        return sum(len(one.acknowledged) for one in self._running)

    def _read(self, deadline: float) -> None:
        left = max(0.0, deadline - time.monotonic())
        by_pipe = {one.pipe: one for one in self._running if not one.ended}
        for pipe in select.select(list(by_pipe), [], [], left)[0]:
            by_pipe[pipe].read()

    def _ask(self, asked: dict[str, Any]) -> str:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        return self._server.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for writer in list(self._running):
            self.kill([writer])
        self._server.communicate(timeout=_TIMEOUT_SECONDS)


if __name__ == "__main__":
    serve()
