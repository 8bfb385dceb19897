"""What a check finds in a file that was damaged."""

from collections.abc import Callable
from typing import Any

import apsw
import pytest

from chrysalis_memory import AgentMemory
from chrysalis_memory.errors import NotADatabase

MEMORIES = [
    {"content": "Tea is at four", "id": "tea", "tags": ["t"], "metadata": {"n": 1, "f": 0.1}},
    {"content": "Coffee is at five", "id": "coffee", "metadata": {"b": True, "j": [1]}},
    {"content": "A secret", "id": "secret", "tags": ["s"], "metadata": {"x": "y"}},
]


@pytest.fixture
async def filled(start_agent: Callable[..., Any]) -> AgentMemory:
    agent = await start_agent()
    await agent.learn_many(MEMORIES)
    await agent.forget("secret")
    agent.storage.record_access({"tea": 3})
    return agent


def damage(memory: AgentMemory, sql: str) -> None:
    """Change the file from outside, where nothing holds the tables together."""
    outside = apsw.Connection(str(memory.storage.path))
    outside.execute(sql)
    outside.close()


@pytest.mark.parametrize(
    ("sql", "memory", "what"),
    [
        ("UPDATE memory SET digest = zeroblob(16) WHERE id = 'tea'", "tea", "the digest differs"),
        ("UPDATE memory SET state = x'00' WHERE id = 'tea'", "tea", "cannot be read"),
        (
            "UPDATE memory SET state = (SELECT state FROM memory m WHERE number = 2)",
            "tea", "its state is that of 'coffee' in life 1",
        ),
        ("UPDATE memory SET importance = 1 WHERE id = 'tea'", "tea", "column importance is not"),
        ("UPDATE memory SET content = 'x' WHERE id = 'tea'", "tea", "column content is not"),
        ("DELETE FROM tag WHERE tag = 't'", "tea", "tag rows"),
        ("UPDATE metadata SET value = 2 WHERE key = 'n'", "tea", "metadata rows"),
        ("UPDATE memory_word SET tokens = ' x ' WHERE memory = 1", "tea", "words are not those"),
        ("DELETE FROM vector_1 WHERE memory = 1", "tea", "does not wait for one"),
        ("UPDATE vector_1 SET text_hash = x'00' WHERE memory = 1", "tea", "of another text"),
        ("INSERT INTO pending VALUES (1, 3)", "secret", "was forgotten and still has a vector"),
        ("UPDATE digest_sum SET sum = zeroblob(16)", None, "the sum of bucket"),
        ("UPDATE access SET count = 4", None, "the sum of bucket"),
        ("UPDATE word_statistics SET tokens = tokens + 1", None, "index counts 2 memories"),
        ("UPDATE tag SET memory = 99", None, "a row of tag belongs to no row of memory"),
        (
            "INSERT INTO memory_text (memory_text, rowid, tokens) VALUES ('delete', 1, ' tea ')",
            None, "finds 1 words, such as 'tea', in other memories",
        ),
        (
            "INSERT INTO memory_text (memory_text, rowid, tokens) VALUES ('delete', 1, ' at ')",
            None, "finds 1 words, such as 'at', in other memories",
        ),
        ("PRAGMA user_version", None, None),
    ],
)  # fmt: skip
async def test_a_check_finds_what_does_not_fit_a_state(
    filled: AgentMemory, sql: str, memory: str | None, what: str | None
):
    assert (await filled.check()).problems == []

    damage(filled, sql)
    report = await filled.check()

    assert report.checked == 3
    assert report.is_whole == (what is None)
    assert what is None or next(p for p in report.problems if what in p.what).memory == memory


async def test_a_check_after_a_search_sees_what_was_written_since(filled: AgentMemory):
    await filled.recall("tea")
    await filled.update("tea", content="?!")

    assert (await filled.check()).problems == []


async def test_a_check_tells_how_far_it_is(filled: AgentMemory):
    told: list[tuple[int, int]] = []
    await filled.check(progress=lambda done, total: told.append((done, total)))

    assert told == [(3, 3)]


async def test_a_file_that_cannot_be_read_is_refused_by_the_check_as_by_all_else(
    filled: AgentMemory,
):
    damage(filled, "UPDATE memory_text_data SET block = x'00' WHERE id > 10")

    with pytest.raises(NotADatabase, match="malformed"):
        await filled.check()
