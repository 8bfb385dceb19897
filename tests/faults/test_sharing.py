"""Several processes that share a file do not get in one another's way."""

from pathlib import Path

import pytest

from tests.faults import sharing
from tests.faults.sharing import RUNS


def test_four_writers_and_four_readers_share_a_file_without_being_refused(tmp_path: Path) -> None:
    (run,) = RUNS
    assert ", 0 busy, " in run.play(run.short, 0, tmp_path)


def test_a_log_that_grows_too_long_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "WAL_BYTES_MAX", 10_000)
    (run,) = RUNS
    with pytest.raises(AssertionError, match=r"seed 0: the log had [\d,]+ bytes"):
        run.play(1, 0, tmp_path)
