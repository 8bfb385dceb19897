"""The hybrid logical clock: stamps that never go back, whatever the wall clock does."""

import threading

import pytest

from chrysalis_memory import HybridLogicalClock
from chrysalis_memory.crdt.clock import STAMP_MAX, check_stamp, system_wall_us
from chrysalis_memory.errors import InvalidValue

HUGE = pytest.param(10**5000, id="more digits than Python prints")


class Wall:
    """A wall clock that shows what the test says."""

    def __init__(self, *, us):
        self.us = us

    def __call__(self):
        return self.us


def test_a_stamp_is_the_wall_time_when_the_wall_clock_has_moved_on():
    wall = Wall(us=100)
    clock = HybridLogicalClock(wall_us=wall)
    first = clock.now()
    wall.us = 250
    assert (100, 250) == (first, clock.now())


def test_stamps_rise_by_one_while_the_wall_clock_stands_still():
    clock = HybridLogicalClock(wall_us=Wall(us=100))
    assert [100, 101, 102] == [clock.now() for _ in range(3)]


def test_stamps_rise_when_the_wall_clock_goes_back():
    wall = Wall(us=1_000)
    clock = HybridLogicalClock(wall_us=wall)
    first = clock.now()
    wall.us = 10
    assert (1_000, 1_001) == (first, clock.now())


def test_a_stamp_is_above_the_one_it_has_to_exceed():
    clock = HybridLogicalClock(wall_us=Wall(us=5))
    assert 43 == clock.now(above=42)
    assert 44 == clock.now()


def test_an_observed_stamp_is_exceeded_by_every_later_one():
    clock = HybridLogicalClock(wall_us=Wall(us=5))
    clock.observe(99)
    assert 100 == clock.now()


def test_an_old_observed_stamp_does_not_set_the_clock_back():
    clock = HybridLogicalClock(wall_us=Wall(us=5))
    clock.observe(99)
    clock.observe(7)
    assert 100 == clock.now()


def test_a_stamp_further_ahead_than_the_drift_bound_is_not_followed():
    clock = HybridLogicalClock(wall_us=Wall(us=100), drift_us=10)
    clock.observe(111)
    assert 100 == clock.now()
    clock.observe(110)
    assert 111 == clock.now()


def test_changing_something_from_the_far_future_does_not_drag_everything_else_along():
    clock = HybridLogicalClock(wall_us=Wall(us=100), drift_us=10)
    assert 5_001 == clock.now(above=5_000)
    assert clock.now() < 5_000


def test_there_is_no_stamp_after_the_year_9999_and_the_clock_goes_on():
    clock = HybridLogicalClock(wall_us=Wall(us=100))
    with pytest.raises(InvalidValue):
        clock.now(above=STAMP_MAX - 1)
    assert 100 == clock.now()


def test_observing_gives_no_stamp_by_itself():
    clock = HybridLogicalClock(wall_us=Wall(us=500))
    clock.observe(20)
    assert 500 == clock.now()


def test_a_clock_reads_the_wall_time_of_the_machine_by_default():
    before = system_wall_us()
    stamp = HybridLogicalClock().now()
    assert before <= stamp <= system_wall_us()


def test_threads_never_get_the_same_stamp():
    clock = HybridLogicalClock(wall_us=Wall(us=1))
    stamps = []
    start = threading.Barrier(4)

    def take():
        start.wait()
        stamps.extend([clock.now() for _ in range(500)])

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(range(1, 2_001)) == sorted(stamps)


@pytest.mark.parametrize("stamp", [1, 1_700_000_000_000_000, STAMP_MAX - 1])
def test_a_positive_integer_before_the_year_10000_is_a_stamp(stamp):
    assert stamp == check_stamp(stamp)


@pytest.mark.parametrize("stamp", [0, -1, STAMP_MAX, 2**63, HUGE, 1.0, True, "1", None])
def test_anything_else_is_no_stamp(stamp):
    with pytest.raises(InvalidValue):
        check_stamp(stamp)
