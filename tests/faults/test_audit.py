"""That an audit sees what does not fit, each kind of it."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from chrysalis_memory import Embedding, MemoryDocument, MemoryStorage
from tests.faults.audit import audit

DIMENSION = 16


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[MemoryStorage]:
    with MemoryStorage(tmp_path / "memory.db", "a") as opened:
        for number in range(1, 4):
            document = MemoryDocument(f"m{number}", f"text {number}", source_instance="a")
            vector = [float(number * at % 7 - 3) for at in range(1, DIMENSION + 1)]
            opened.put(document, Embedding(vector, "space", text=document.content))
        opened.record_access({"m1": 2})
        opened.forget("m3")
        yield opened


def test_a_store_that_is_whole_passes(storage: MemoryStorage) -> None:
    audit(storage)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("UPDATE memory SET importance = 1 WHERE id = 'm1'", "column importance"),
        ("INSERT INTO pending VALUES (1, 3)", "still has a vector"),
        ("INSERT INTO token_vector VALUES (1, 3, x'00')", "token_vector .* forgotten"),
        ("UPDATE access SET memory = 3", "the sum of bucket"),
        ("UPDATE access SET change = 2", "one change number"),
        ("DELETE FROM vector_code_1", "codes of 'space'"),
        ("UPDATE vector_code_1 SET codes = zeroblob(length(codes))", "codes of 'space'"),
        ("UPDATE vector_code_1 SET present = zeroblob(length(present))", "codes of 'space'"),
        ("UPDATE memory SET life = 3 WHERE id = 'm1'", "in life 1"),
    ],
)
def test_what_does_not_fit_is_found(storage: MemoryStorage, sql: str, says: str) -> None:
    outside = apsw.Connection(str(storage.path))
    outside.execute(sql)
    outside.close()
    with pytest.raises(AssertionError, match=says):
        audit(storage)
