from pathlib import Path

import pytest

from chrysalis_memory import MemoryStorage
from tests.faults import erasure
from tests.faults.residue import Trace, traces


@pytest.mark.parametrize("run", erasure.RUNS, ids=lambda run: run.name)
def test_no_byte_of_what_was_erased_is_left_here_or_after_a_sync(
    run: erasure.Run, tmp_path: Path
) -> None:
    assert "no byte of them left" in run.play(run.short, 0, tmp_path)


def test_the_scan_finds_what_forgetting_alone_leaves(tmp_path: Path) -> None:
    def forget(storage: MemoryStorage, memory_ids: list[str]) -> None:
        for memory_id in memory_ids:
            storage.forget(memory_id)

    with pytest.raises(AssertionError, match=r"seed 0: \d+ traces, such as .*memory\.db"):
        erasure.play(1, 0, tmp_path, forget)


def test_the_scan_finds_what_plain_deleting_leaves(tmp_path: Path) -> None:
    assert erasure.plainly_deleted(0, tmp_path) > 0


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"--Quicksand7--", b"Quicksan"),
        (b"--quicksand7--", b"quicksan"),
        ("\0Quicksand7".encode("utf-16-le"), b"Quicksan"),
        ("Quicksand7".encode("utf-16-be"), b"Quicksan"),
        (b"-\x01\x02\x03\x04\x05\x06\x07\x08-", b"\x01\x02\x03\x04\x05\x06\x07\x08"),
    ],
)
def test_the_scan_finds_a_secret_in_every_form(tmp_path: Path, data: bytes, found: bytes) -> None:
    (tmp_path / "file").write_bytes(b"-" * 100 + data + b"-" * 100)
    (tmp_path / "other").write_bytes(b"quicksa" * 30)
    seen = traces(tmp_path, ["Quicksand7"], [bytes(range(1, 9))], [])
    assert ("file", found) in {(trace.file, trace.found) for trace in seen}
    assert {"file"} == {trace.file for trace in seen}


def test_what_may_stay_is_no_trace(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"-" * 100 + b"quicksand seventeen" + b"-" * 100)
    seen = traces(tmp_path, ["seventeen", "quicksand"], [], ["a quicksand"])
    assert seen == [Trace("file", 110, b"seventee"), Trace("file", 111, b"eventeen")] * 2
