"""What has been signed and arrived before, within bounded memory."""

import heapq

NONCES_MAX = 50_000
"""So many are remembered of each peer, about 10 MB; ten minutes of 80 requests a second."""


class Nonces:
    """The nonces of one peer; whatever is not remembered is refused, so nothing passes twice.

    Everything signed at ``floor`` or before is refused, and everything that arrived and was signed
    later is remembered. Whatever is forgotten lifts the floor to its time stamp; so neither a full
    memory nor a clock that is set back lets anything through a second time.

    Args:
        floor: A time stamp, in microseconds since 1970; what was signed until then is refused.
        most: How many are remembered.
    """

    def __init__(self, floor: int, *, most: int = NONCES_MAX) -> None:
        self.floor = floor
        self._most = most
        self._seen: set[str] = set()
        self._by_stamp: list[tuple[int, str]] = []

    def take(self, nonce: str, stamp: int, *, until: int) -> bool:
        """Remember a nonce; tell whether it is new.

        Args:
            nonce: Of a request whose signature is valid.
            stamp: When that was signed; later than ``floor``.
            until: What was signed at this time or before is forgotten, being refused for its age.
        """
        if nonce in self._seen:
            return False
        self._seen.add(nonce)
        heapq.heappush(self._by_stamp, (stamp, nonce))
        while self._by_stamp and (
            self._by_stamp[0][0] <= until or len(self._by_stamp) > self._most
        ):
            self.floor, forgotten = max(self._by_stamp[0][0], self.floor), self._by_stamp[0][1]
            self._seen.remove(forgotten)
            heapq.heappop(self._by_stamp)
        return True
