"""Several processes share one file: every write of each is kept, and nobody sees half of one."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from chrysalis_memory import AgentMemory, MemoryStorage

Start = Callable[..., Awaitable[AgentMemory]]

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


def texts(found: Any) -> list[str]:
    return [memory.content for memory in found]


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


OPEN = """
for line in sys.stdin:
    with MemoryStorage(f"{path}/{line.strip()}.db", timeout_seconds=30) as storage:
        storage.put(MemoryDocument(name, "text"))
        print(storage.replica, flush=True)
"""


def test_a_new_file_can_be_opened_by_many_at_once(tmp_path: Path) -> None:
    processes = [start(OPEN, tmp_path, f"p{i}") for i in range(4)]
    for i in range(80):
        for process in processes:
            process.stdin.write(f"{i}\n")
            process.stdin.flush()
        replicas = [process.stdout.readline() for process in processes]
        if len(set(replicas)) > 1:  # one has failed and says why below
            break
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")
    assert replicas[0]
    assert len(set(replicas)) == 1
    for i in range(80):
        with MemoryStorage(tmp_path / f"{i}.db") as storage:
            assert storage.count() == 4


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


async def test_two_instances_share_one_file(start_agent: Start) -> None:
    ada, bob = await start_agent("ada"), await start_agent("bob")
    learning = (one.learn(f"{one.agent_id} {i}") for i in range(20) for one in (ada, bob))
    ids = await asyncio.gather(*learning)
    assert len(set(ids)) == await ada.count() == await bob.count() == 40
    assert texts(await ada.recall("bob 7", k=1)) == ["bob 7"]
    await ada.forget(ids[0])
    assert await bob.get(ids[0]) is None


async def test_reading_does_not_wait_for_another_process_that_writes(start_agent: Start) -> None:
    agent = await start_agent(timeout_seconds=0.05)
    memory_id = await agent.learn("tea")
    await agent.recall("tea")
    other = apsw.Connection(str(agent.storage.path))
    other.execute("BEGIN IMMEDIATE")
    assert (await agent.get(memory_id)).content == "tea"
    assert texts(await agent.recent()) == texts(await agent.recall("tea")) == ["tea"]
    other.execute("ROLLBACK")
    other.close()
    assert (await agent.get(memory_id)).get_access_count() == 2
