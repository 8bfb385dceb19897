"""Hostile files are refused or used rightly, and the harness sees it where they are not."""

import sys
from pathlib import Path

import pytest

from tests.faults import opening

USES = "from tests.faults import using; import chrysalis_memory.backends.sqlite as engine; "
PLANTED = {
    "a crash": (
        "import os, sys; sys.stdin.readline(); os.kill(os.getpid(), 11)",
        "",
        r"seed 7 \(truncated\): the process died with -11",
    ),
    "a schema that is not looked at": (
        f"{USES}engine.fingerprint._verify = lambda *_: None; using.main()",
        "added objects",
        "opened|UNTYPED",
    ),
    "values that are not told as damage": (
        f"{USES}engine.backend.is_of_values = lambda _: False; using.main()",
        "hostile rows",
        "UNTYPED",
    ),
    "an error of another kind": (
        f"{USES}using.AgentMemory.count = lambda _: 1 / 0; using.main()",
        "foreign log",
        "ZeroDivisionError",
    ),
    "a file that takes too long": (
        'import sys; sys.stdin.readline(); print(\'{"told": {}, "seconds": 2.1}\', flush=True)',
        "flips",
        r"seed 7 \(flips\): 2.1 s",
    ),
}


@pytest.mark.parametrize("run", opening.RUNS, ids=lambda run: run.name)
def test_a_hostile_file_gives_an_error_of_the_tree_or_is_used_rightly(
    run: opening.Run, tmp_path: Path
):
    told = run.play(run.short, 0, tmp_path)

    for came_to in ("refused", "used", "right"):
        assert came_to in told


def test_reading_page_by_page_ends_in_a_file_whose_pages_have_changed_places(tmp_path: Path):
    assert "used" in opening.play(1, 4847, tmp_path, kind="swapped pages")


@pytest.mark.parametrize("planted", PLANTED)
def test_the_harness_sees_what_breaks_the_promise(planted: str, tmp_path: Path):
    code, kind, seen = PLANTED[planted]
    command = (sys.executable, "-c", code)

    with pytest.raises(AssertionError, match=seen):
        opening.play(60, 7, tmp_path, command=command, kind=kind or "truncated")
