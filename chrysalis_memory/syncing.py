"""An agent's syncs with its peers: when asked, and in the background."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, SecretStr

from chrysalis_memory import wire
from chrysalis_memory.config import AgentMemoryConfig
from chrysalis_memory.errors import ChrysalisError, StorageError
from chrysalis_memory.readers import InThread, finish, open_in_thread
from chrysalis_memory.replication import replicator
from chrysalis_memory.replication.peers import open_transport, peer_name, takes_token
from chrysalis_memory.replication.protocol import Report
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.storage import MemoryStorage, Session

SyncReport = Report

SyncProgress = Callable[[SyncReport], None]
"""Called with the report so far."""

BACK_OFF_SECONDS_MAX = 900.0
RELEASE_SECONDS = 60.0
"""How often memories that are kept apart are looked at."""
_JITTER = 0.2
_DOUBLINGS_MAX = 20
_STATUS = "status "

logger = logging.getLogger("chrysalis_memory")


class PeerStatus(BaseModel):
    """What the syncs with one peer came to; the numbers are those of the last try."""

    model_config = ConfigDict(frozen=True)

    peer: str
    """Where the peer is, without credentials."""
    last_try: datetime | None = None
    """When the last sync ended, well or not; ``None`` before the first."""
    last_success: datetime | None = None
    sent: int = 0
    """Memories that the peer was given."""
    received: int = 0
    """Memories that the peer gave."""
    merged: int = 0
    """Of these, how many changed what is stored here."""
    quarantined: int = 0
    """Of these, how many are kept apart because their stamps lie in the future."""
    refused: int = 0
    """Of those sent, how many the peer keeps apart for now."""
    behind: int = 0
    """Changes of the peer that were still to be pulled, or more."""
    waiting: tuple[str, ...] = ()
    """What of a folder or an object store could not be read yet, each with the reason."""
    verified: bool | None = None
    """Whether both held the same, by their sums; ``None`` where that could not be told."""
    failures: int = 0
    """How many tries have failed since the last that did not."""
    error: str | None = None
    """Why the last try failed; ``None`` if it did not."""


class KeptApart(BaseModel):
    """A state that waits because its stamps lie in the future."""

    model_config = ConfigDict(frozen=True)

    id: str
    """The memory that it is a state of."""
    stamp: datetime
    """Its newest stamp."""
    source: str
    """The peer that gave it."""
    reason: str


class Syncing:
    """Syncs one store with any number of peers, and remembers what came of it.

    Args:
        storage: The store.
        config: The peers, the pauses between syncs, the token and the keys.
        in_thread: Runs blocking work beside the event loop.
        before: Is awaited before each sync, to write what is outstanding.
        arrived: Called after each sync that may have merged something, ended well or not.
        sleep: Waits for so many seconds.
        chance: Returns a random number from 0 to 1.
    """

    def __init__(
        self,
        storage: MemoryStorage,
        config: AgentMemoryConfig,
        *,
        in_thread: InThread,
        before: Callable[[], Awaitable[None]],
        arrived: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._storage = storage
        self._replica = Replica(storage)
        self._config = config
        self._in_thread = in_thread
        self._before = before
        self._arrived = arrived
        self._sleep = sleep
        self._chance = chance
        self._locks: dict[str, asyncio.Lock] = {}
        self._statuses: dict[str, PeerStatus] = {}
        self._peers = {peer_name(peer): peer for peer in config.sync_with}

    def work(self) -> list[Coroutine[Any, Any, None]]:
        """Return what is to run for as long as the agent does."""
        return [self._keep_releasing(), *map(self.keep_in_sync, self._peers.values())]

    # Syncing

    async def sync(
        self,
        peer: str | Path,
        *,
        token: str | None = None,
        key: str | None = None,
        progress: SyncProgress | None = None,
    ) -> SyncReport:
        """Make the store and a peer hold the same; see :meth:`AgentMemory.sync`."""
        name = peer_name(peer)
        async with self._locks.setdefault(name, asyncio.Lock()):
            seen = SyncReport()

            def note(report: SyncReport) -> None:
                nonlocal seen
                seen = report
                if progress is not None:
                    progress(report)

            try:
                report = await self._sync(peer, token, key, note)
            except ChrysalisError as error:
                await self._keep_status(name, seen, error)
                raise
            finally:
                self._arrived()
            await self._keep_status(name, report, None)
            return report

    async def _sync(
        self, peer: str | Path, token: str | None, key: str | None, progress: SyncProgress
    ) -> SyncReport:
        await self._before()
        if takes_token(peer):
            token = token if token is not None else _told(self._config.token)
            key = key if key is not None else _told(self._config.key_for(peer_name(peer)))
        transport = await open_in_thread(
            self._in_thread,
            lambda: open_transport(peer, token=token, key=key, file_key=self._config.key),
            lambda one: one.close(),
        )
        try:
            return await replicator.sync(
                self._replica, transport, progress=progress, in_thread=self._in_thread
            )
        finally:
            await finish(transport.close())

    async def keep_in_sync(
        self,
        peer: str | Path,
        *,
        token: str | None = None,
        key: str | None = None,
        told: Callable[[PeerStatus], None] = lambda _: None,
    ) -> None:
        """Sync again and again until cancelled; see :meth:`AgentMemory.keep_in_sync`."""
        name = peer_name(peer)
        failures = 0
        while True:
            try:
                await self.sync(peer, token=token, key=key)
                failures = 0
            except ChrysalisError as error:
                failures += 1
                logger.warning("a sync with %s failed and will be tried again: %s", name, error)
            told(self._statuses[name])
            await self._sleep(self._pause_seconds(failures))

    def _pause_seconds(self, failures: int) -> float:
        """Return when to sync next: later after each failure, and never all peers at once."""
        usual = self._config.sync_seconds
        longest = max(usual, BACK_OFF_SECONDS_MAX)
        pause = min(usual * 2 ** min(failures, _DOUBLINGS_MAX), longest)
        return pause * (1 + _JITTER * (2 * self._chance() - 1))

    # What came of it

    async def statuses(self) -> list[PeerStatus]:
        """Return what is known of every peer; see :meth:`AgentMemory.sync_status`."""
        known = {peer: PeerStatus(peer=peer) for peer in self._peers}
        known |= await self._in_thread(self._kept)
        # What could not be written is known here alone.
        for peer, status in self._statuses.items():
            if _tried(status) >= _tried(known.get(peer)):
                known[peer] = status
        return [known[peer] for peer in sorted(known)]

    def _kept(self) -> dict[str, PeerStatus]:
        """Return what this process and others have written of syncs of this store."""
        return self._storage.read(
            lambda session: {
                name.removeprefix(_STATUS): PeerStatus.model_validate_json(value)
                for name, value in session.peers()
                if name.startswith(_STATUS)
            }
        )

    async def _keep_status(
        self, peer: str, report: SyncReport, error: ChrysalisError | None
    ) -> None:
        """Note what a sync came to, here and in the file."""
        now = wire.moment(self._storage.clock.wall_us())
        before = self._statuses.get(peer, PeerStatus(peer=peer))
        try:
            before = (await self._in_thread(self._kept)).get(peer, before)
            value = _status(before, report, error, now).model_dump_json()
            await self._in_thread(
                lambda: self._storage.run(lambda t: t.session.set_peer(_STATUS + peer, value))
            )
        except StorageError as failure:
            logger.warning("how a sync with %s went was not written: %s", peer, failure)
        self._statuses[peer] = _status(before, report, error, now)

    # What was kept apart

    async def release(self) -> None:
        """Merge what was kept apart and has become valid; what cannot be merged now, later."""
        try:
            released = await self._in_thread(self._replica.release)
        except StorageError as error:
            logger.warning("memories that were kept apart will be merged later: %s", error)
            return
        if released:
            self._arrived()

    async def _keep_releasing(self) -> None:
        while True:
            await self._sleep(RELEASE_SECONDS)
            await self.release()


def kept_apart(storage: MemoryStorage) -> list[KeptApart]:
    """Return what a store keeps apart, by stamp."""
    drift = storage.clock.horizon() - storage.clock.wall_us()

    def work(session: Session) -> list[KeptApart]:
        return [
            KeptApart(
                id=one.id,
                stamp=wire.moment(one.stamp),
                source=one.source,
                reason="its newest stamp lies in the future; it is merged from "
                f"{wire.moment(one.stamp - drift):%Y-%m-%d %H:%M:%S} UTC on",
            )
            for one in session.quarantined(limit=session.quarantined_count() or 1)
        ]

    return storage.read(work)


def _status(
    before: PeerStatus, report: SyncReport, error: ChrysalisError | None, now: datetime
) -> PeerStatus:
    return PeerStatus(
        peer=before.peer,
        last_try=now,
        last_success=before.last_success if error else now,
        sent=report.sent,
        received=report.received,
        merged=report.merged,
        quarantined=report.quarantined,
        refused=report.refused,
        behind=report.behind,
        waiting=report.waiting,
        verified=report.verified,
        failures=before.failures + 1 if error else 0,
        error=str(error) or type(error).__name__ if error else None,
    )


def _told(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _tried(status: PeerStatus | None) -> float:
    last_try = None if status is None else status.last_try
    return 0.0 if last_try is None else last_try.timestamp()
