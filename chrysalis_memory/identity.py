"""Who a store is among its replicas: a random id and a random epoch, renewed when in doubt.

The replica id names access counters, the epoch the store's change feed. Both must belong to one
store alone, so a file that is found in another place than the one it was used in, and so is a copy
or was restored from one, gets new ones when it is opened. A file that was put back where it was is
recognised by its peers, who have seen more of it than it holds.
"""

import secrets
from typing import NamedTuple

from chrysalis_memory.backends.base import Session

_EPOCH_BYTES = 8
_REPLICA_BYTES = 8


class Identity(NamedTuple):
    """A store's names; they are never merged."""

    replica: str
    epoch: str
    """In hexadecimal digits."""
    place: str
    """A digest of where the store was opened last."""


def known(session: Session) -> Identity | None:
    """Return the identity that a store has, ``None`` if it has none yet."""
    parts = [session.meta(key) for key in Identity._fields]
    return None if None in parts else Identity(*(str(part) for part in parts))


def renew(session: Session, place: str) -> Identity:
    """Give the store a new identity."""
    identity = Identity(secrets.token_hex(_REPLICA_BYTES), secrets.token_hex(_EPOCH_BYTES), place)
    for key, value in identity._asdict().items():
        session.set_meta(key, value)
    return identity
