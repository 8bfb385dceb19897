"""Hybrid logical clock: time stamps that never go back, in one integer of microseconds."""

import threading
import time
from collections.abc import Callable

from chrysalis_memory.codec import shown
from chrysalis_memory.errors import InvalidValue

STAMP_MAX = 253_402_300_800_000_000
"""Stamps are positive and below this, the year 10000, where calendars of most languages end."""

DRIFT_US = 5 * 60 * 1_000_000
"""How far replicas' clocks may differ by default: 5 minutes."""


def system_wall_us() -> int:
    """Return the machine's wall clock in microseconds since 1970."""
    return time.time_ns() // 1000


def check_stamp(stamp: object) -> int:
    """Return ``stamp`` if it is a usable time stamp.

    Raises:
        InvalidValue: not an integer, not positive, or after the year 9999.
    """
    if type(stamp) is not int or not 0 < stamp < STAMP_MAX:
        raise InvalidValue(
            f"a stamp is an integer of microseconds from 1 to the year 9999, got {shown(stamp)}"
        )
    return stamp


class HybridLogicalClock:
    """Gives strictly rising stamps that stay close to wall time.

    A stamp is ``max(wall_us, last + 1)``: the logical part of the hybrid logical clock of Kulkarni
    et al. (2014) folded into the microseconds. Thread safe.

    Args:
        wall_us: Reads the wall clock, in microseconds since 1970.
        drift_us: How far ahead of the wall clock an observed stamp may be; default 5 minutes.
    """

    __slots__ = ("_drift_us", "_last", "_lock", "wall_us")

    def __init__(
        self, wall_us: Callable[[], int] = system_wall_us, *, drift_us: int = DRIFT_US
    ) -> None:
        self.wall_us = wall_us
        self._drift_us = drift_us
        self._last = 0
        self._lock = threading.Lock()

    def now(self, *, above: int = 0) -> int:
        """Return a stamp greater than every earlier one, every observed one, and ``above``.

        An ``above`` further ahead than the drift bound moves only this one stamp, as in
        :meth:`observe`.

        Raises:
            InvalidValue: the wall clock or ``above`` is past the year 9999.
        """
        with self._lock:
            wall = self.wall_us()
            stamp = check_stamp(max(wall, self._last + 1, above + 1))
            if stamp <= max(wall, self._last) + self._drift_us:
                self._last = stamp
            return stamp

    def horizon(self) -> int:
        """Return the greatest stamp that does not lie too far in the future."""
        return self.wall_us() + self._drift_us

    def observe(self, stamp: int) -> None:
        """Make every later stamp greater than ``stamp``, one read from another replica.

        A stamp further ahead of the wall clock than the drift bound is not followed: one replica
        with a wrong clock would drag all others into its future.
        """
        with self._lock:
            if stamp <= self.horizon():
                self._last = max(self._last, stamp)


SYSTEM_CLOCK = HybridLogicalClock()
"""The clock used where none is given: the one place where the core meets real time."""
