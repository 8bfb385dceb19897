"""Closing a store waits for what is being read, so that nothing touches the file afterwards."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from chrysalis_memory import MemoryStorage
from chrysalis_memory.errors import StorageError, StoreClosed


def wait_until_closed(storage: MemoryStorage) -> None:
    with pytest.raises(StoreClosed):  # noqa: PT012 - asked until it is
        while True:
            storage.count()


@pytest.mark.parametrize("name", ["memory.db", ":memory:"])
def test_closing_waits_for_what_is_being_read(
    open_store: Callable[..., MemoryStorage], name: str
) -> None:
    storage = open_store(name)
    reading, go_on = threading.Event(), threading.Event()

    def read(session: object) -> bool:
        reading.set()
        go_on.wait(20)
        return storage.path.with_name(storage.path.name + "-wal").exists()

    with ThreadPoolExecutor() as threads:
        answer = threads.submit(storage.read, read)
        assert reading.wait(20)
        closing = threads.submit(storage.close)
        wait_until_closed(storage)
        still_open = not wait([closing], timeout=0.1).done
        go_on.set()
        assert (still_open, answer.result(20)) == (True, True)
        closing.result(20)
    assert not storage.path.with_name(storage.path.name + "-wal").exists()


def test_a_store_cannot_be_closed_inside_a_read_of_it(store: MemoryStorage) -> None:
    with pytest.raises(StorageError, match="inside a read"):
        store.read(lambda _: store.close())
    assert store.count() == 0
