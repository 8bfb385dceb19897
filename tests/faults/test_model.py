"""A store and a collection in RAM hold the same, whatever is done to them."""

from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory.backends.sqlite.session import SQLiteSession
from chrysalis_memory.backends.sqlite.words import WordIndex
from tests.faults.model import RUNS


def test_a_store_holds_what_a_collection_holds(tmp_path: Path) -> None:
    (run,) = RUNS
    assert run.play(run.short, 0, tmp_path).startswith("0 differences in 10,000 operations")


def _keep_words(_: Any, __: Any) -> None:
    """Keep the words of a write that was rolled back."""


def _begin_blindly(session: Any) -> None:
    """Take what was known for true though somebody else has written."""
    session._version = session._kept_version = 1


@pytest.mark.parametrize(
    ("where", "method", "planted"),
    [
        (WordIndex, "undo_words", _keep_words),
        (SQLiteSession, "begin_writing", _begin_blindly),
    ],
)
def test_a_store_that_goes_wrong_is_found_out(
    where: type, method: str, planted: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where, method, planted)
    (run,) = RUNS
    with pytest.raises(AssertionError, match=r"seed \d+: (AssertionError|StorageError)"):
        run.play(10, 0, tmp_path)
