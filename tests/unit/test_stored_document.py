"""A document that was read, which decodes what it holds when that is first looked at."""

import copy
from collections.abc import Callable

import pytest

from chrysalis_memory import MemoryDocument, MemoryStorage
from chrysalis_memory.errors import StorageError

Open = Callable[..., MemoryStorage]


def test_what_was_read_can_be_copied_compared_and_merged_before_it_is_looked_at(
    open_store: Open,
) -> None:
    storage = open_store()
    storage.put(MemoryDocument("m", "text"))

    def read() -> MemoryDocument:
        (memory,) = storage.all()
        return memory

    known = storage.get("m")
    assert known is not None
    assert read() == known
    assert copy.copy(read()) == read().copy() == known
    assert read().merge(known) == known
    assert repr(read()) == repr(known)
    with pytest.raises(AttributeError, match="'MemoryDocument' object has no attribute 'colour'"):
        _ = read().colour  # pyright: ignore[reportAttributeAccessIssue]


def test_a_damaged_state_is_an_error_of_the_first_look(open_store: Open) -> None:
    storage = open_store()
    storage.put(MemoryDocument("m", "text"))
    damage = "UPDATE memory SET state = x'c1'"
    storage.submit(lambda transaction: transaction.session.connection.execute(damage)).result(20)
    (memory,) = storage.all()
    assert memory.id == "m"
    with pytest.raises(StorageError, match="of memory 'm' cannot be read"):
        _ = memory.content
