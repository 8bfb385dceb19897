"""How many requests one client may send: a token bucket for each, within bounded memory."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

CLIENTS_MAX = 10_000
"""So many clients are remembered; those who came longest ago are forgotten first."""
_IPV6_NETWORK_BITS = 64
"""Whoever has one IPv6 address usually has all that share so many bits."""


class _Bucket(NamedTuple):
    level: float
    at_seconds: float


class Rates:
    """Bounds the requests of each client.

    Args:
        per_second: How many requests a client may send in the long run.
        burst: How many it may send at once, after a pause.
        clock: Returns seconds.
    """

    def __init__(
        self, per_second: float, *, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_seconds(self, address: str, *, cost: float = 1.0) -> float:
        """Take a request from a client's bucket; return 0, or after how long to come again.

        Args:
            address: Where the request comes from.
            cost: How many requests it counts as.
        """
        client, now = client_of(address), self._clock()
        bucket = self._buckets.pop(client, _Bucket(self._burst, now))
        level = min(self._burst, bucket.level + (now - bucket.at_seconds) * self._per_second)
        missing = max(0.0, cost - level)
        self._buckets[client] = _Bucket(level if missing else level - cost, now)
        if len(self._buckets) > CLIENTS_MAX:
            self._buckets.popitem(last=False)
        return missing / self._per_second


def client_of(address: str) -> str:
    """Return who is counted as one client: an IPv4 address, or the network of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _IPV6_NETWORK_BITS), strict=False))
