"""A file and a PostgreSQL store synchronise: afterwards they hold the same."""

from typing import Any

from chrysalis_memory import MemoryDocument, MemoryStorage
from chrysalis_memory.replication import replicator
from chrysalis_memory.replication.protocol import Report
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.transport import LocalTransport


async def sync(mine: Replica, peer: Replica) -> Report:
    return await replicator.sync(mine, LocalTransport(peer))


def held(storage: MemoryStorage) -> dict[str, Any]:
    return {document.id: document.state for document in storage.states()}


async def test_what_was_written_on_either_side_is_on_both(
    store: MemoryStorage, postgres_url: str
) -> None:
    with MemoryStorage(postgres_url, "fleet") as fleet:
        here, there = Replica(store), Replica(fleet)
        store.put_many([MemoryDocument(f"here-{i}", f"written here {i}") for i in range(300)])
        fleet.put_many([MemoryDocument(f"there-{i}", f"written there {i}") for i in range(300)])
        await sync(here, there)
        assert held(store) == held(fleet)
        store.update("there-7", lambda document: document.add_tag("seen here"))
        fleet.update("there-7", lambda document: document.add_tag("seen there"))
        store.forget("here-1")
        fleet.forget("there-1")
        for side in (store, fleet):
            side.record_access({"here-2": 2, "there-2": 3})
        await sync(there, here)
        assert held(store) == held(fleet)
        assert set(fleet.get("there-7").get_tags()) == {"seen here", "seen there"}
        assert store.get("there-2").get_access_count() == 6
        assert store.count() == fleet.count() == 598
        sums = [side.read(lambda s: list(s.digest_sums())) for side in (store, fleet)]
        assert sums[0] == sums[1]
