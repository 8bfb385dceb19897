"""Several processes share one file: every write of each is kept, and nobody sees half of one."""

import subprocess
import sys
from pathlib import Path

import pytest

from chrysalis_memory import MemoryStorage

PREAMBLE = """
import sys
from chrysalis_memory import MemoryDocument, MemoryStorage
path, name = sys.argv[1:]
"""


def start(script: str, path: Path, name: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + script, str(path), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    out, errors = process.communicate("go\n", timeout=60)
    assert process.returncode == 0, errors
    return out.strip()


WRITE = """
sys.stdin.readline()
with MemoryStorage(path, name, timeout_seconds=30, synchronous="NORMAL") as storage:
    for i in range(40):
        storage.put(MemoryDocument(f"{name}-{i}", f"text {i} of {name}", source_instance=name))
        blind = MemoryDocument("shared", "shared", source_instance=name)
        blind.add_tag(f"{name}-{i}")
        storage.put(blind)
    print(storage.replica)
"""


def test_processes_that_write_at_once_keep_every_write(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "memory.db"
    processes = [start(WRITE, path, name) for name in ("ada", "bob", "eve")]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    replicas = {finish(process) for process in processes}
    written = {f"{name}-{i}" for name in ("ada", "bob", "eve") for i in range(40)}
    with MemoryStorage(path) as storage:
        assert {storage.replica} == replicas
        assert {memory.id for memory in storage.all()} == written | {"shared"}
        assert set(storage.get("shared").get_tags()) == written
        integrity = storage.read(lambda s: s.connection.pragma("integrity_check"))
        assert integrity == "ok"


def test_what_another_process_wrote_is_seen_at_once(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with MemoryStorage(path, "here") as storage:
        assert storage.count() == 0
        finish(start(WRITE, path, "there"))
        assert storage.count() == 41
        storage.forget("there-0")
        assert storage.count() == 40


KILLED = """
import os
storage = MemoryStorage(path, name)
storage.put(MemoryDocument("before", "before"))

def die(transaction):
    transaction.put(MemoryDocument("half", "half of a write"))
    os.kill(os.getpid(), 9)

storage.submit(die).result()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_process_killed_inside_a_write_leaves_what_it_had_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    process = start(KILLED, path, "victim")
    process.communicate(timeout=60)
    assert process.returncode == -9
    with MemoryStorage(path) as storage:
        assert [memory.id for memory in storage.all()] == ["before"]
        storage.put(next(storage.states()))


LOCKED = """
storage = MemoryStorage(path, name)

def hold(transaction):
    transaction.put(MemoryDocument("theirs", "theirs"))
    print("locked", flush=True)
    sys.stdin.readline()

storage.submit(hold).result()
storage.close()
"""


def test_reading_goes_on_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with MemoryStorage(path, timeout_seconds=60) as storage:
        process = start(LOCKED, path, "holder")
        assert process.stdout.readline() == "locked\n"
        assert storage.count() == 0
        mine = storage.submit(lambda t: t.put(t.new_document("mine", "mine", None)))
        assert not mine.done()
        finish(process)
        mine.result(60)
        assert {memory.id for memory in storage.all()} == {"mine", "theirs"}
