"""Offline means offline: learning, recalling and merging open no socket.

The event loop wakes itself through a pair of connected sockets that no network sees; that pair is
the one thing allowed.
"""

import subprocess
import sys
from pathlib import Path

import pytest

REPLACED = """
import socket

class Refused(socket.socket):
    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        if fileno is None:
            raise AssertionError("a socket was opened")
        super().__init__(family, type, proto, fileno)

def refuse(*arguments, **options):
    raise AssertionError(f"the network was asked: {arguments}")

socket.socket = Refused
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse
"""

AUDITED = """
import socket
import sys

def hook(event, arguments):
    if event == "socket.__new__" and arguments[1] == socket.AF_UNIX:
        return
    if event.startswith("socket.") or event in ("urllib.Request", "http.client.connect"):
        print("REFUSED", event, arguments, file=sys.stderr)
        raise AssertionError(f"{event} {arguments}")

sys.addaudithook(hook)
"""

DESCRIPTORS = """
import os

def sockets():
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except OSError:
            pass  # the listing's own descriptor
    return sorted(link for link in found if link.startswith("socket:"))
"""

MAIN = """
import asyncio
import sys
from chrysalis_memory import AgentMemory

async def main(folder):
    async with (
        AgentMemory("ada", path=f"{folder}/a.db") as ada,
        AgentMemory("bob", path=f"{folder}/b.db") as bob,
    ):
        await ada.learn("The cat sleeps on the sofa", tags=["pet"])
        await ada.learn_many(["Shares fell on Monday", "The train leaves at nine"])
        await bob.learn("Bob drinks tea")
        assert await ada.merge(bob) == 1
        await ada.export(f"{folder}/export.jsonl")
        await bob.import_(f"{folder}/export.jsonl")
        await ada.embed_pending()
        found = await ada.recall("where does the pet take its nap?", k=1)
        await ada.reindex()
        await ada.forget(found[0].id)
        print(found[0].content)
"""


def run(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("preamble", [REPLACED, AUDITED], ids=["replaced", "audited"])
def test_the_default_embedder_learns_recalls_and_merges_without_a_socket(
    preamble: str, tmp_path: Path
) -> None:
    done = run(f"{preamble}\n{MAIN}\nasyncio.run(main(sys.argv[1]))", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The cat sleeps on the sofa\n"
    assert "REFUSED" not in done.stderr


@pytest.mark.parametrize("preamble", [REPLACED, AUDITED], ids=["replaced", "audited"])
@pytest.mark.parametrize(
    "attempt",
    ["socket.socket()", "socket.create_connection(('127.0.0.1', 9))", "socket.getaddrinfo('a', 1)"],
)
def test_the_guard_would_notice(preamble: str, attempt: str) -> None:
    done = run(f"{preamble}\n{attempt}")
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_native_code_holds_no_socket_either(tmp_path: Path) -> None:
    script = """
async def watched(folder):
    before = sockets()
    await main(folder)
    assert sockets() == before, sockets()

asyncio.run(watched(sys.argv[1]))
assert sockets() == []
"""
    done = run(f"{DESCRIPTORS}\n{MAIN}\n{script}", str(tmp_path))
    assert done.returncode == 0, done.stderr
