"""Files from strangers, opened and used in a process of their own: an error of the tree, or right.

Each round makes one file hostile, half of them in the place where they were used last, where they
are not read through first. The process that uses them may not die, and takes 2 seconds at most of
its processor's time: how long it waits for that is the machine's business.
"""

import json
import select
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import apsw
import numpy as np

from chrysalis_memory import Embedding, MemoryDocument, MemoryStorage
from chrysalis_memory.backends.sqlite.place import place_of
from chrysalis_memory.changes import Quarantined
from chrysalis_memory.state import encode
from embedders.hashing import HashingEmbedder
from tests.faults.hostile import KINDS, Files
from tests.faults.runs import Run

SECONDS = 2.0
_HANGS_SECONDS = 60.0
_COMMAND = (sys.executable, "-m", "tests.faults.using")
_REPOSITORY = Path(__file__).parents[2]
_ENDLESS = ("no end",)
"""Kinds that only reading a file through reveals."""


class User:
    """A process that uses files; another one takes its place once it is dead."""

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None

    def use(self, path: Path) -> dict[str, Any]:
        """Return what the uses of a file came to.

        Raises:
            AssertionError: the process died or hangs.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                cwd=_REPOSITORY,
            )  # fmt: skip
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        if not select.select([process.stdout], [], [], _HANGS_SECONDS)[0]:
            self.close()
            raise AssertionError(f"no answer within {_HANGS_SECONDS:.0f} s")
        answer = process.stdout.readline()
        if not answer:
            code = process.wait()
            self.close()
            raise AssertionError(f"the process died with {code}")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def play(
    rounds: int, seed: int, folder: Path, *, command: Sequence[str] = _COMMAND, kind: str = ""
) -> str:
    """Use so many hostile files; see :class:`~tests.faults.runs.Run`."""
    whole, files = _made(folder)
    user, found, slowest = User(command), Counter[str](), 0.0
    kinds = [kind] if kind else list(KINDS)
    try:
        for number in range(seed, seed + rounds):
            name = kinds[number % len(kinds)]
            told = _round(user, name, number, folder, whole, files)
            slowest = max(slowest, told["seconds"])
            found[
                "refused" if "start" in told["told"] else "used" if told["told"] else "right"
            ] += 1
    finally:
        user.close()
    return f"{dict(found)}, slowest {slowest:.2f} s"


def _round(
    user: User, name: str, number: int, folder: Path, whole: Path, files: Files
) -> dict[str, Any]:
    rng = Random(f"{name} {number}")
    path = folder / f"{number}.db"
    shutil.copy(whole, path)
    if rng.random() < 0.5 and name not in _ENDLESS:
        outside = apsw.Connection(str(path))
        outside.execute("UPDATE meta SET value = ? WHERE key = 'place'", (place_of(path),))
        outside.close()
    unchanged = path.read_bytes()
    KINDS[name].make(path, files, rng)
    before = path.read_bytes()
    where = f"seed {number} ({name}): "
    try:
        told = user.use(path)
    except AssertionError as error:
        raise AssertionError(f"{where}{error}") from error
    untyped = [one for one in told["told"].values() if one.startswith("UNTYPED")]
    assert not untyped, where + untyped[0]
    assert told["seconds"] <= SECONDS, f"{where}{told['seconds']:.1f} s, {told['told']}"
    if KINDS[name].must_be_refused and before != unchanged:
        assert "start" in told["told"], f"{where}opened: {told['told']}"
        assert path.read_bytes() == before, f"{where}refused, but changed"
    for one in folder.glob(f"{number}.db*"):
        one.unlink()
    return told


def _made(folder: Path) -> tuple[Path, Files]:
    """Make a memory with something in every table, another one, and the log of that."""
    whole, other = folder / "whole.db", folder / "other.db"
    with MemoryStorage(whole, "ada", synchronous="NORMAL") as storage:
        _fill(storage, 60, "tea")
    with MemoryStorage(other, "bob", synchronous="NORMAL") as storage:
        _fill(storage, 30, "coffee")
        log = Path(f"{other}-wal").read_bytes()
    return whole, Files(whole.read_bytes(), other.read_bytes(), log)


def _fill(storage: MemoryStorage, count: int, what: str) -> None:
    rng = np.random.default_rng(count)
    fingerprint = HashingEmbedder(64).fingerprint
    storage.open_space(fingerprint, "hashing", 64, name="hashing:64")
    for number in range(count):
        memory = MemoryDocument(
            id=f"m{number}", content=f"{what} number {number} in the garden, {number % 7} of them",
            memory_type="episodic" if number % 3 else None,
        )  # fmt: skip
        memory.add_tag(what)
        memory.set_metadata({"n": number, "s": "text", "j": [1, None]})
        memory.set_importance(number / count, "ada")
        memory.set_namespace("user/ada" if number % 2 else "")
        if number % 4:
            memory.set_episode("talk", number)
        vector = rng.standard_normal(64).astype(np.float32)
        storage.put(memory, Embedding(vector, fingerprint, memory.content))
    storage.put(MemoryDocument(id="waits", content=f"{what} waits for its vector"))
    storage.record_access({"m1": 2, "m3": 1})
    storage.forget("m2")
    later = MemoryDocument(id="later", content="from the future")
    one = Quarantined("later", bytes(16), 2**52, encode("later", later.state), "somebody")
    storage.run(lambda t: t.session.quarantine(one))
    storage.run(lambda t: t.session.set_peer("peer somebody", '["00", "00", "00"]'))


RUNS = (Run("hostile and corrupt files", 500, 20_000, play),)
