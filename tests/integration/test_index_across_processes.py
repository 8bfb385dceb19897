"""What two processes do to one file, each finds with its warm caches what a new index finds."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import LAWS

from tests import index_player
from tests.index_player import MEMORIES, TEXTS, Player

COUNT = 1_200
"""More memories than a search by codes takes as candidates, so that some are left out."""
CODES = (0, 2, 2)  # no vector is compared exactly but the best by their codes
EXACT = (5_000, 400, 20)

numbers, texts = st.integers(0, MEMORIES + 2), st.integers(0, TEXTS - 1)
actions = st.one_of(
    st.tuples(st.just("learn"), numbers, texts),
    st.tuples(st.just("learn"), numbers, texts),
    st.tuples(st.just("forget"), numbers),
    st.tuples(st.just("tag"), numbers, st.booleans()),
    st.tuples(st.just("fail"), numbers, texts),
    st.tuples(st.just("rebuild")),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("answers")),
    st.tuples(st.just("answers")),
)
steps = st.lists(st.tuples(st.sampled_from(("here", "there")), actions), min_size=4, max_size=15)


class OtherProcess:
    """A player in a process of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", index_player.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def play(self, name: str, *arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the other process has ended"
        return json.loads(answer)


@pytest.fixture(scope="module")
def there() -> Iterator[OtherProcess]:
    other = OtherProcess()
    yield other
    other.process.communicate(timeout=60)
    assert other.process.returncode == 0


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with ``COUNT`` memories."""
    path = tmp_path_factory.mktemp("index") / "many.db"
    player = Player(path)
    player.learn_many(COUNT)
    player.close()
    return path


def built_anew(path: Path, limits: tuple[int, ...]) -> Any:
    """Return what is found in a new file that has taken the memories of this one."""
    with TemporaryDirectory() as folder:
        player = Player(Path(folder) / "new.db", limits)
        player.take(path)
        answers = player.answers()
        player.close()
        return answers


@pytest.mark.parametrize("limits", [CODES, EXACT], ids=["codes", "exact"])
@settings(LAWS, max_examples=20)
@given(played=steps)
def test_two_processes_find_what_an_index_built_anew_finds(
    many: Path, there: OtherProcess, limits: tuple[int, ...], played: list[Any]
) -> None:
    with TemporaryDirectory() as folder, ExitStack() as opened:
        path = Path(folder) / "memory.db"
        shutil.copy(many, path)
        there.play("open", str(path), limits)
        players = {"here": Player(path, limits), "there": there}
        for player in players.values():
            opened.callback(player.play, "close")
            player.play("answers")
        for where, (name, *arguments) in played:
            players[where].play(name, *arguments)
        expected = built_anew(path, limits)
        for where, player in players.items():
            assert (where, player.play("answers")) == (where, expected)
