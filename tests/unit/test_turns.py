"""A process that writes without a pause leaves the lock to others, if others write."""

from chrysalis_memory.backends.sqlite.turns import (
    PAUSE_SECONDS,
    RECENT_SECONDS,
    TURN_SECONDS,
    Turns,
)


class Time:
    """A clock that goes on as somebody sleeps or writes."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def write(turns: Turns, time: Time, seconds: float, *, before: bool = False) -> None:
    turns.begin()
    if before:
        turns.others_wrote()
    time.now += seconds
    turns.end()


def made() -> tuple[Turns, Time]:
    time = Time()
    return Turns(lambda: time.now, time.sleep), time


def test_whoever_writes_alone_never_pauses() -> None:
    turns, time = made()
    for _ in range(1_000):
        write(turns, time, TURN_SECONDS / 3)
    assert time.slept == []


def test_beside_others_there_is_a_pause_after_each_turn() -> None:
    turns, time = made()
    write(turns, time, 0.0, before=True)
    for _ in range(100):
        write(turns, time, TURN_SECONDS * 0.4)
    assert time.slept == [PAUSE_SECONDS] * 33


def test_who_pauses_anyway_is_not_kept() -> None:
    turns, time = made()
    write(turns, time, 0.0, before=True)
    for _ in range(100):
        time.now += PAUSE_SECONDS * 1.5
        write(turns, time, TURN_SECONDS * 2)
    assert time.slept == []


def test_once_the_others_are_gone_there_are_no_pauses() -> None:
    turns, time = made()
    write(turns, time, 0.0, before=True)
    time.now += RECENT_SECONDS + 1
    for _ in range(100):
        write(turns, time, TURN_SECONDS)
    assert time.slept == []
