"""A client that asks too often waits; others do not, and no crowd fills the memory."""

import pytest

from chrysalis_memory.servers import rates
from chrysalis_memory.servers.rates import Rates, client_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_is_let_in_and_the_next_request_waits_for_its_turn(clock: Clock):
    bounded = Rates(2, burst=3, clock=clock)

    assert [bounded.wait_seconds("a") for _ in range(5)] == [0, 0, 0, 0.5, 0.5]
    clock.now += 0.5
    assert [bounded.wait_seconds("a") for _ in range(2)] == [0, 0.5]


def test_a_pause_gives_no_more_than_a_burst(clock: Clock):
    bounded = Rates(2, burst=3, clock=clock)
    bounded.wait_seconds("a")
    clock.now += 3600

    assert [bounded.wait_seconds("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_what_costs_less_may_come_more_often(clock: Clock):
    bounded = Rates(1, burst=1, clock=clock)
    waits = [bounded.wait_seconds("a", cost=0.25) for _ in range(5)]

    assert waits == [0, 0, 0, 0, 0.25]


def test_clients_do_not_share_their_requests(clock: Clock):
    bounded = Rates(1, burst=1, clock=clock)

    assert [bounded.wait_seconds(client) for client in ("a", "b", "a")] == [0, 0, 1]


def test_a_crowd_is_forgotten_from_those_who_came_longest_ago(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rates, "CLIENTS_MAX", 3)
    bounded = Rates(1, burst=1, clock=clock)
    for client in ("a", "b", "c", "d"):
        bounded.wait_seconds(client)

    assert len(bounded._buckets) == 3
    assert [bounded.wait_seconds(client) for client in ("d", "a")] == [1, 0]


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_network_of_ipv6_addresses_is_one_client(address: str, client: str):
    assert client_of(address) == client
