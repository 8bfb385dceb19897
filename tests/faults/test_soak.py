"""Four processes at work on two files that sync."""

import math
from pathlib import Path

import pytest

from tests.faults import soak
from tests.faults.soak import Part

STEADY = Part(dict.fromkeys(("learn", "recall", "update", "forget", "sync"), 1.0), 9, 1, 1, 1)


def test_files_that_are_worked_on_and_synced_stay_whole_and_come_to_the_same(tmp_path: Path):
    # Halves are compared over an hour, by ``make faults``: after seconds, caches still fill.
    bounds = soak.Bounds(rss_bytes=math.inf, slowdown=math.inf)
    assert "operations" in soak.play(soak.RUNS[0].short, 0, tmp_path, bounds)


@pytest.mark.parametrize(
    ("late", "says"),
    [
        (STEADY._replace(rss_bytes=20 << 20), "rss_bytes grew"),
        (STEADY._replace(file_bytes=20 << 20), "file_bytes grew"),
        (STEADY._replace(wal_bytes=65 << 20), "a log of 65 MB"),
        (STEADY._replace(rss_bytes=385 << 20), "a process of 385 MB"),
        (STEADY._replace(medians_ms=STEADY.medians_ms | {"recall": 3.0}), "recall took 1.00 ms"),
    ],
)
def test_what_grows_or_slows_down_is_told(late: Part, says: str):
    assert "recall 1.00 -> 1.00 ms" in soak.judged([[STEADY] * soak.PARTS], 0, soak.AN_HOUR)
    with pytest.raises(AssertionError, match=says):
        soak.judged([[STEADY] * 5 + [late] * 5], 0, soak.AN_HOUR)
