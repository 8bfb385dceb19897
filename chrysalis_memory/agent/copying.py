"""Exporting, merging and syncing."""

from collections.abc import Callable
from pathlib import Path

from chrysalis_memory import telemetry, transfer
from chrysalis_memory.agent.started import Started
from chrysalis_memory.embedding_queue import Progress
from chrysalis_memory.storage import MemoryStorage
from chrysalis_memory.syncing import (
    KeptApart,
    PeerStatus,
    SyncProgress,
    SyncReport,
    kept_apart,
)


class Copying(Started):
    """Moves memories between stores."""

    async def export(self, path: str | Path) -> int:
        """Write the whole state of every memory as JSON lines; return how many lines."""
        running = self._open
        await running.flush_access()
        return await running.in_thread(lambda: transfer.export(running.storage, Path(path)))

    async def import_(self, path: str | Path, *, progress: Progress | None = None) -> int:
        """Merge exported memories; return how many changed. Vectors are made in the background.

        Raises:
            InvalidDocument: a line that is no memory; nothing was imported.
            InvalidValue: no such file.
        """
        running, read = self._open, transfer.import_
        changed = await running.in_thread(lambda: read(running.storage, Path(path), progress))
        running.queue.wake()
        return changed

    async def merge(self, other: Started | MemoryStorage) -> int:
        """Merge every memory of another open store into this one; return how many changed."""
        running = self._open
        if isinstance(other, Started):
            await other._open.flush_access()
        source = other.storage if isinstance(other, Started) else other
        changed = await running.in_thread(lambda: running.storage.merge(source.states()))
        running.queue.wake()
        return changed

    async def sync(
        self,
        peer: str | Path,
        *,
        token: str | None = None,
        key: str | None = None,
        progress: SyncProgress | None = None,
    ) -> SyncReport:
        """Make this memory and a peer hold the same, and return what that took.

        It may be interrupted at any moment: what was merged stays merged, and the next sync goes
        on from there. Vectors of what arrived are made in the background.

        Args:
            peer: A path or a URL, as :func:`.replication.peers.open_transport` takes it.
            token: What a served memory asks for; by default the setting ``token``.
            key: What frames to a served memory are signed with, ``name:secret``; by default the
                setting ``sync_key``.
            progress: Called after every page with the report so far.

        Raises:
            PeerUnavailable: the peer cannot be reached now.
            PeerRefused: it asks for another token or key, or does not take what it is given.
            ReplicationError: it does not keep to the protocol, or is of another version.
            StorageError: one of the two files cannot be read or written.
        """
        with self._traced(telemetry.SYNC) as span:
            report = await self._open.syncing.sync(peer, token=token, key=key, progress=progress)
            span.count(report.sent + report.received)
            span.set(
                chrysalis__sync__sent=report.sent,
                chrysalis__sync__received=report.received,
                chrysalis__sync__merged=report.merged,
                chrysalis__sync__messages=report.messages,
                chrysalis__sync__verified=report.verified,
            )
        return report

    async def keep_in_sync(
        self,
        peer: str | Path,
        *,
        token: str | None = None,
        key: str | None = None,
        told: Callable[[PeerStatus], None] = lambda _: None,
    ) -> None:
        """Sync with a peer now and every ``sync_seconds``, until cancelled; failures are retried.

        A memory opened with ``sync_with=[...]`` does this by itself.

        Args:
            peer: As for :meth:`sync`.
            token: As for :meth:`sync`.
            key: As for :meth:`sync`.
            told: Called after each try with what came of it.
        """
        await self._open.syncing.keep_in_sync(peer, token=token, key=key, told=told)

    async def sync_status(self) -> list[PeerStatus]:
        """Return, for each peer, what the last sync with it came to, whoever ran it."""
        return await self._open.syncing.statuses()

    async def quarantined(self) -> list[KeptApart]:
        """Return what is kept apart because its stamps lie in the future, soonest first."""
        running = self._open
        return await running.in_thread(lambda: kept_apart(running.storage))

    async def backup(self, path: str | Path) -> None:
        """Write a copy of the store to a new file, as of one moment, while others go on.

        Raises:
            StorageError: there is a file already, or it cannot be written; then there is none.
        """
        running = self._open
        await running.flush_access()
        await running.in_thread(lambda: running.storage.backup(path))

    async def clone(self, path: str | Path) -> str:
        """Write a copy, as :meth:`backup`, that is a replica already; return its replica id."""
        running = self._open
        await running.flush_access()
        return await running.in_thread(lambda: running.storage.clone(path))
