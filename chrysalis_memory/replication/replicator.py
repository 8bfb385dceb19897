"""Driving a sync: steps for the own store on a thread, requests through a transport."""

import asyncio
from typing import Any

from chrysalis_memory.readers import InThread
from chrysalis_memory.replication.protocol import Ask, Progress, Report, synchronise
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.transport import Transport, exchange


async def sync(
    replica: Replica,
    transport: Transport,
    *,
    progress: Progress = lambda _: None,
    wait_seconds: float = 0,
    in_thread: InThread = asyncio.to_thread,
) -> Report:
    """Make a store and its peer hold the same; may be interrupted at any moment and begun again.

    Args:
        replica: The store.
        transport: The way to the peer.
        progress: Called with the report so far after every page.
        wait_seconds: How long the peer may wait for a change if it has none yet, 0 to 300.
        in_thread: Runs the store's part beside the event loop.

    Raises:
        ReplicationError: the peer cannot be reached, refuses, or does not keep to the protocol.
        StorageError: one of the stores could not.
    """
    await in_thread(replica.release)
    report = Report()
    name = transport.name
    record = await in_thread(lambda: replica.record(name))
    steps = synchronise(record, report, progress, wait_seconds=wait_seconds)
    come: Any = None
    while True:
        try:
            step = steps.send(come)
        except StopIteration:
            if report.merged:
                await in_thread(replica.storage.tidy)
            return report
        if isinstance(step, Ask):
            come = await exchange(transport, step.request)
        else:
            come = await in_thread(lambda step=step: replica.do(step, name))
