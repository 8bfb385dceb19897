"""When a process that writes without a pause leaves the file's lock to others."""

import time
from collections.abc import Callable

TURN_SECONDS = 0.01
PAUSE_SECONDS = 0.002
RECENT_SECONDS = 10.0


class Turns:
    """Pauses between two writes for those who wait for the lock.

    They look for it once a millisecond. Between two writes that follow at once it is free for less
    than that; and where processors are scarce, it is so in just the moments in which the others do
    not run, because whoever holds it waits for the disk, and whoever has given it back computes.
    In ten minutes of four writers and four readers on two processors one of them was kept waiting
    for five seconds. So after ``TURN_SECONDS`` of writing without a pause there is one, as long as
    others have written in the last ``RECENT_SECONDS``; a process that writes alone has none.

    Args:
        clock: Returns seconds.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._began = self._ended = 0.0
        self._others_until = 0.0

    def begin(self) -> None:
        """Wait, if it is the turn of others; called before the lock is asked for."""
        now = self._clock()
        if now - self._ended < PAUSE_SECONDS:
            if now - self._began < TURN_SECONDS or now > self._others_until:
                return
            self._sleep(PAUSE_SECONDS)
            now = self._clock()
        self._began = now

    def end(self) -> None:
        """Note that the lock was given back."""
        self._ended = self._clock()

    def others_wrote(self) -> None:
        """Note that somebody else has written since the last write."""
        self._others_until = self._clock() + RECENT_SECONDS
