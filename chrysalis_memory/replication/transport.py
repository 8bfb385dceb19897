"""The seam between the protocol and what carries it."""

import asyncio
from typing import Protocol

from chrysalis_memory.replication import frames
from chrysalis_memory.replication.messages import Answer, Offer, Push, Request
from chrysalis_memory.replication.replica import Replica

WRITES = (Offer, Push)
"""Requests that may change the peer; they are pushed, all others are pulled."""


class Transport(Protocol):
    """Carries frames to one peer and brings its answers.

    Both verbs are idempotent: a frame may be sent again when no answer came.
    """

    @property
    def name(self) -> str:
        """Where the peer is; what is kept of it is kept under this name."""
        ...

    async def pull(self, frame: bytes) -> bytes:
        """Ask the peer for something: changes since a cursor, memories, sums.

        Raises:
            PeerUnavailable: the peer cannot be reached now.
            PeerRefused: it does not let this replica in.
        """
        ...

    async def push(self, frame: bytes) -> bytes:
        """Offer or give the peer something; raises as :meth:`pull`."""
        ...

    async def close(self) -> None:
        """Release what the transport holds."""
        ...


def answer(replica: Replica, frame: bytes) -> bytes:
    """Answer one frame, whoever brought it.

    Raises:
        InvalidFrame: no valid request; nothing was changed.
        UnsupportedProtocol: a request of a newer version; nothing was changed.
        StorageError: the store could not.
    """
    return frames.encode(replica.answer(frames.request(frame)))


async def exchange(transport: Transport, request: Request) -> Answer:
    """Send a request and return the answer.

    Raises:
        ReplicationError: the peer cannot be reached, refuses, or answers with no valid message.
    """
    frame = frames.encode(request)
    carry = transport.push if isinstance(request, WRITES) else transport.pull
    return frames.answer(await carry(frame))


class LocalTransport:
    """Carries frames to another store of this process: a second file, or a database.

    Args:
        replica: The other store; whoever opened it closes it.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    @property
    def name(self) -> str:
        """Where the other store is."""
        return str(self._replica.storage.path)

    async def pull(self, frame: bytes) -> bytes:
        """See :meth:`Transport.pull`."""
        return await asyncio.to_thread(answer, self._replica, frame)

    async def push(self, frame: bytes) -> bytes:
        """See :meth:`Transport.push`."""
        return await asyncio.to_thread(answer, self._replica, frame)

    async def close(self) -> None:
        """See :meth:`Transport.close`."""
