"""Claude's memory tool on a memory, beside the SDK's own on a folder."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from anthropic import Anthropic
from anthropic.lib.tools import ToolError

from chrysalis_memory import AgentMemory
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.integrations.anthropic import AsyncChrysalisMemoryTool, ChrysalisMemoryTool
from chrysalis_memory.integrations.anywhere import Anywhere
from tests.anthropic_commands import asynchronous, synchronous


@pytest.fixture
def memory(tmp_path: Path) -> AgentMemory:
    return AgentMemory("ada", path=tmp_path / "memory.db", embedder="hashing", synchronous="NORMAL")


@pytest.fixture
def tool(memory: AgentMemory) -> Iterator[ChrysalisMemoryTool]:
    with ChrysalisMemoryTool(memory) as tool:
        yield tool


def create(path: str, text: str) -> dict[str, Any]:
    return {"command": "create", "path": path, "file_text": text}


def view(path: str) -> dict[str, Any]:
    return {"command": "view", "path": path}


@pytest.mark.parametrize("seed", [1, 2])
def test_random_commands_come_to_the_same_as_with_the_sdks_own_tool(
    seed: int, tmp_path: Path, memory: AgentMemory
) -> None:
    with synchronous(tmp_path / "files", memory) as both:
        assert [] == list(both.differences(seed, 500))


def test_random_commands_of_the_async_client_come_to_the_same_too(
    tmp_path: Path, memory: AgentMemory
) -> None:
    with asynchronous(tmp_path / "files", memory) as both:
        assert [] == list(both.differences(3, 500))


def test_moves_that_cannot_be_fail_as_with_the_sdks_own_tool(
    tmp_path: Path, memory: AgentMemory
) -> None:
    moves = [
        ("/memories/none", "/memories/none"), ("/memories/new/none", "/memories/new/none"),
        ("/memories/made", "/memories/made/b"), ("/memories/d", "/memories/d/e/f"),
        ("/memories/d/a", "/memories/d/a/b"), ("/memories/d/a", "/memories/d/a/b/c"),
        ("/memories/d/a/b", "/memories/x/y"), ("/memories/none", "/memories/d/a/b"),
        ("/memories/d", "/memories"), ("/memories", "/memories/x"),
        ("/memories/d/a", "/memories/d"),
    ]  # fmt: skip
    with synchronous(tmp_path / "files", memory) as both:
        assert both.difference(create("/memories/d/a", "tea\n")) is None
        for old, new in moves:
            move = {"command": "rename", "old_path": old, "new_path": new}
            assert both.difference(move) is None
            assert both.difference(view("/memories")) is None


def test_commands_without_an_argument_fail_as_with_the_sdks_own_tool(
    tmp_path: Path, memory: AgentMemory
) -> None:
    with synchronous(tmp_path / "files", memory) as both:
        commands = [
            create("/memories/a", "tea\n"),
            {"command": "view"},
            {"command": "insert", "path": "/memories/a", "insert_line": 0},
            {"command": "str_replace", "path": "/memories/a", "old_str": "tea"},
            {"command": "rename", "old_path": "/memories/a"},
            {"command": "delete"},
            {"command": "swim"},
        ]
        assert [None] * len(commands) == [both.difference(command) for command in commands]


def test_a_file_is_a_memory_that_recall_finds(
    tool: ChrysalisMemoryTool, memory: AgentMemory
) -> None:
    tool.call(create("/memories/people/ada.md", "Ada prefers Python\n"))
    tool.call(create("/memories/tea.md", "Tea is at four\n"))
    found = Anywhere(memory).run(lambda: memory.recall("python"))
    assert ("Ada prefers Python\n", "memories/people") == (found[0].content, found[0].namespace)


def test_a_directory_that_was_emptied_stays_and_recall_does_not_see_it(
    tool: ChrysalisMemoryTool, memory: AgentMemory
) -> None:
    tool.call(create("/memories/people/ada.md", "Ada prefers Python\n"))
    tool.call({"command": "delete", "path": "/memories/people/ada.md"})
    assert "4K\t/memories/people/" == tool.call(view("/memories")).splitlines()[-1]
    found = Anywhere(memory).run(lambda: memory.recall("people"))
    assert [] == found


def test_a_moved_file_keeps_its_identity_and_what_is_known_of_it(
    tool: ChrysalisMemoryTool, memory: AgentMemory
) -> None:
    run = Anywhere(memory).run
    tool.call(create("/memories/a.md", "Tea is at four\n"))
    before = run(memory.find)[0]
    run(lambda: memory.update(before.id, add_tags=["tea"], importance=0.9))
    tool.call({"command": "rename", "old_path": "/memories/a.md", "new_path": "/memories/b/c.md"})
    after = run(memory.find)[0]
    assert (before.id, before.created_at, ["tea"], 0.9, "memories/b") == (
        after.id, after.created_at, after.get_tags(), after.get_importance(), after.namespace
    )  # fmt: skip
    assert "tea".upper() not in tool.call(create("/memories/a.md", "TEA\n"))
    assert 2 == run(memory.count)


def test_files_survive_a_restart(memory: AgentMemory) -> None:
    with ChrysalisMemoryTool(memory) as first:
        first.call(create("/memories/a.md", ""))
    with ChrysalisMemoryTool(memory) as second:
        assert second.call(view("/memories/a.md")).endswith("     1\t")


async def test_an_edit_here_and_a_move_there_merge(tmp_path: Path) -> None:
    async def call(tool: AsyncChrysalisMemoryTool, command: str, **arguments: Any) -> Any:
        return await tool.call({"command": command, **arguments})

    options = {"embedder": "hashing", "synchronous": "NORMAL"}
    async with (
        AgentMemory("ada", path=tmp_path / "a.db", **options) as ada,
        AgentMemory("bob", path=tmp_path / "b.db", **options) as bob,
    ):
        here, there = AsyncChrysalisMemoryTool(ada), AsyncChrysalisMemoryTool(bob)
        await call(here, "create", path="/memories/a.md", file_text="Tea is at four\n")
        await bob.merge(ada)
        await call(here, "str_replace", path="/memories/a.md", old_str="four", new_str="five")
        await call(there, "rename", old_path="/memories/a.md", new_path="/memories/tea/b.md")
        await ada.merge(bob)
        await bob.merge(ada)
        seen = [await call(tool, "view", path="/memories/tea/b.md") for tool in (here, there)]
        trees = [await call(tool, "view", path="/memories") for tool in (here, there)]
    assert ["     1\tTea is at five", "     2\t"] == seen[0].splitlines()[1:]
    assert (seen[0], trees[0]) == (seen[1], trees[1])


async def test_two_files_of_one_path_are_both_kept_and_the_older_is_seen(tmp_path: Path) -> None:
    options = {"embedder": "hashing", "synchronous": "NORMAL"}
    async with (
        AgentMemory("ada", path=tmp_path / "a.db", **options) as ada,
        AgentMemory("bob", path=tmp_path / "b.db", **options) as bob,
    ):
        here, there = AsyncChrysalisMemoryTool(ada), AsyncChrysalisMemoryTool(bob)
        await here.call(create("/memories/a.md", "older"))
        await there.call(create("/memories/b.md", "newer"))
        for tool, name in ((here, "a"), (there, "b")):
            old = f"/memories/{name}.md"
            await tool.call({"command": "rename", "old_path": old, "new_path": "/memories/c.md"})
        await ada.merge(bob)
        first = await here.call(view("/memories/c.md"))
        await here.call({"command": "delete", "path": "/memories/c.md"})
        second = await here.call(view("/memories/c.md"))
    assert ("     1\tolder", "     1\tnewer") == (first.splitlines()[1], second.splitlines()[1])


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (create("/memories/a", "x" * (1 << 20) + "y"), "over the limit"),
        (create("/memories/a", "a\0b"), "NUL character"),
        (create("/memories/a", "\ud83d"), "lone surrogate"),
        (create("/memories/" + "d/" * 300 + "a", "deep"), "up to 512 characters"),
        (create("/memories/../a", "out"), "would escape"),
        (create("/etc/passwd", "out"), "must start with /memories"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_words_the_model_can_read(
    command: dict[str, Any], words: str, tool: ChrysalisMemoryTool
) -> None:
    with pytest.raises(ToolError, match=words):
        tool.call(command)
    assert "4K\t/memories" == tool.call(view("/memories")).splitlines()[-1]


def test_a_file_of_a_mebibyte_is_kept_whole(tool: ChrysalisMemoryTool) -> None:
    tool.call(create("/memories/a", "x" * (1 << 20)))
    assert "1M\t/memories/a" == tool.call(view("/memories")).splitlines()[-1]


def test_clearing_forgets_every_file_and_nothing_else(
    tool: ChrysalisMemoryTool, memory: AgentMemory
) -> None:
    tool.call(create("/memories/a/b.md", "Tea is at four\n"))
    kept = Anywhere(memory).run(
        lambda: memory.learn("The user prefers Python", namespace="memories")
    )
    assert "All memory cleared" == tool.clear_all_memory()
    left = Anywhere(memory).run(memory.find)
    assert [kept] == [one.id for one in left]
    assert 2 == len(tool.call(view("/memories")).splitlines())


async def test_commands_that_come_at_once_run_one_after_the_other(tmp_path: Path) -> None:
    async with AgentMemory("ada", path=tmp_path / "memory.db", embedder="hashing") as memory:
        tool = AsyncChrysalisMemoryTool(memory)
        await tool.call(create("/memories/a", ""))
        insert = {"command": "insert", "path": "/memories/a", "insert_line": 0}
        await asyncio.gather(
            *(tool.call({**insert, "insert_text": f"line {n}"}) for n in range(10))
        )
        assert 12 == len((await tool.call(view("/memories/a"))).splitlines())


def test_the_root_of_the_store_is_no_place_for_files(memory: AgentMemory) -> None:
    with pytest.raises(InvalidValue, match="namespace of their own"):
        ChrysalisMemoryTool(memory, namespace="")


def test_the_sdks_runner_calls_the_tool_and_sends_back_its_results(
    tool: ChrysalisMemoryTool,
) -> None:
    asked: list[dict[str, Any]] = []
    uses = [create("/memories/a.md", "Tea is at four"), view("/memories/b.md")]

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        turn = len(asked) - 1
        done = turn == len(uses)
        content: dict[str, Any] = (
            {"type": "text", "text": "Noted."}
            if done
            else {"type": "tool_use", "id": f"t{turn}", "name": "memory", "input": uses[turn]}
        )
        return httpx.Response(
            200,
            json={
                "id": f"m{turn}", "type": "message", "role": "assistant", "model": "claude",
                "content": [content], "stop_reason": "end_turn" if done else "tool_use",
                "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
            },
        )  # fmt: skip

    client = Anthropic(
        api_key="none", http_client=httpx.Client(transport=httpx.MockTransport(answer))
    )
    last = client.beta.messages.tool_runner(
        model="claude", max_tokens=10, tools=[tool],
        messages=[{"role": "user", "content": "Tea is at four"}],
    ).until_done()  # fmt: skip
    assert "Noted." == last.content[0].text
    assert [{"type": "memory_20250818", "name": "memory"}] == asked[0]["tools"]
    results = [request["messages"][-1]["content"][0] for request in asked[1:]]
    assert [
        ("File created successfully at: /memories/a.md", None),
        ("The path /memories/b.md does not exist. Please provide a valid path.", True),
    ] == [(one["content"], one.get("is_error")) for one in results]
