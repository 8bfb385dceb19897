"""Kills one side of a first sync, as ``kill -9`` does, at random moments; then syncs once more.

``python tests/e2e/killing.py 200`` runs two hundred rounds and says what was hit.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from chrysalis_memory import MemoryDocument, MemoryStorage
from tests.e2e.programs import run, start, url_of

WHOLE_SECONDS = 120.0
MEMORIES = 3_000
"""On either side, and as many that both have and have changed apart."""


def make_templates(folder: Path, memories: int = MEMORIES) -> None:
    """Write the two files that every round begins with copies of."""
    with (
        MemoryStorage(folder / "left.db", "left") as left,
        MemoryStorage(folder / "right.db", "right") as right,
    ):
        shared = [MemoryDocument(id=f"s{n}", content=f"shared {n}") for n in range(memories)]
        for storage, tag in ((left, "left"), (right, "right")):
            changed = [MemoryDocument.from_bytes(document.to_bytes()) for document in shared]
            for document in changed:
                document.add_tag(tag)
            storage.merge(changed)
            storage.merge(
                MemoryDocument(id=f"{tag}{n}", content=f"{tag} {n}") for n in range(memories)
            )


def states(path: Path) -> dict[str, str]:
    """Return everything that a file holds."""
    with MemoryStorage(path) as storage:
        return {document.id: document.to_json() for document in storage.states()}


def joined(folder: Path) -> dict[str, str]:
    """Return what both templates come to when they are merged."""
    with MemoryStorage(":memory:") as storage:
        for name in ("left.db", "right.db"):
            with MemoryStorage(folder / name) as template:
                storage.merge(template.states())
        return {document.id: document.to_json() for document in storage.states()}


def kill_rounds(folder: Path, rounds: int, *, seed: int, memories: int = MEMORIES) -> Counter[str]:
    """Kill one side of a sync again and again; return how often each was hit, and when.

    Args:
        folder: An empty folder.
        rounds: How often.
        seed: Decides who is killed and when.
        memories: How many each side holds alone, and how many both.

    Raises:
        AssertionError: something was lost, or one more sync did not make both the same.
    """
    make_templates(folder, memories)
    expected = joined(folder)
    chance = random.Random(seed)
    seconds = Round(folder, memories).run(
        "nobody", WHOLE_SECONDS
    )  # how long a whole sync takes here
    hits: Counter[str] = Counter()
    for number in range(rounds):
        victim = chance.choice(("client", "server"))
        after_seconds = chance.uniform(0, seconds)
        try:
            one = Round(folder, memories)
            one.run(victim, after_seconds)
            for name in ("a.db", "b.db"):
                assert states(folder / name) == expected, f"{name} is not what was written"
        except AssertionError as error:
            error.add_note(f"seed {seed}, round {number}: {victim} after {after_seconds:.3f} s")
            raise
        hits[one.hit] += 1
    return hits


class Round:
    """One first sync that is cut short, and the next, which is not."""

    def __init__(self, folder: Path, memories: int) -> None:
        self._folder = folder
        self._of_each = 2 * memories
        self._of_all = 3 * memories
        self.hit = "nobody"

    def run(self, victim: str, after_seconds: float) -> float:
        """Run the round; return how many seconds the first sync went on."""
        for name, template in (("a.db", "left.db"), ("b.db", "right.db")):
            for suffix in ("-wal", "-shm"):
                (self._folder / (name + suffix)).unlink(missing_ok=True)
            shutil.copyfile(self._folder / template, self._folder / name)
        with self._server() as server:
            url = url_of(server)
            took = self._cut(url, server, victim, after_seconds)
            if server.poll() is None:
                self._sync_once_more(url)
                self._end(server)
                return took
        with self._server() as server:
            self._sync_once_more(url_of(server))
            self._end(server)
        return took

    def _server(self) -> "subprocess.Popen[str]":
        return start(self._folder, "serve", "b.db", "--port", "0")

    def _end(self, server: "subprocess.Popen[str]") -> None:
        server.terminate()
        output, errors = server.communicate(timeout=60)
        assert (server.returncode, errors) == (0, ""), (output, errors)

    def _cut(
        self, url: str, server: "subprocess.Popen[str]", victim: str, after_seconds: float
    ) -> float:
        with start(self._folder, "sync", "a.db", url) as client:
            self._until_it_opens(client)
            began = time.monotonic()
            try:
                client.wait(after_seconds)
            except subprocess.TimeoutExpired:
                self.hit = victim
                {"client": client, "server": server}[victim].kill()  # SIGKILL
            output = client.communicate(timeout=60)
            took = time.monotonic() - began
        if self.hit == "server":
            server.communicate(timeout=60)
            assert "Traceback" not in output[1], output
        if self.hit != "nobody":
            self.hit += ", " + self._how_far()
        return took

    def _how_far(self) -> str:
        """Tell how far the sync had come."""
        held: list[int] = []
        for name in ("a.db", "b.db"):
            with MemoryStorage(self._folder / name) as storage:
                held.append(storage.count())
        if held == [self._of_each, self._of_each]:
            return "before the first memory"
        return "after the last memory" if held[1] == self._of_all else "between memories"

    def _until_it_opens(self, client: "subprocess.Popen[str]") -> None:
        """Wait for the client to open its file, which it does just before it syncs."""
        while not (self._folder / "a.db-wal").exists() and client.poll() is None:
            time.sleep(0.001)

    def _sync_once_more(self, url: str) -> None:
        done = run(self._folder, "sync", "a.db", url)
        assert done.returncode == 0, done.stderr
        assert "both hold the same" in done.stdout, done.stdout


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="chrysalis-kill-") as name:
        hits = kill_rounds(Path(name), given.rounds, seed=given.seed)
    print(f"{given.rounds} rounds converged and nothing was lost; killed: {dict(hits)}")
