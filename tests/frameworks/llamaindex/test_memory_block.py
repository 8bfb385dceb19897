"""LlamaIndex's memory with our block, through LlamaIndex's own ``Memory``."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import Memory

from chrysalis_memory import AgentMemory
from chrysalis_memory.integrations.llamaindex import ChrysalisMemoryBlock


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncGenerator[AgentMemory]:
    async with AgentMemory(
        "ada", path=tmp_path / "memory.db", embedder="hashing", synchronous="NORMAL"
    ) as agent:
        yield agent


def memory_of(block: ChrysalisMemoryBlock, session_id: str = "monday") -> Memory:
    # A history of at most 20 words: what came before is handed to the block.
    return Memory.from_defaults(
        session_id=session_id, token_limit=60, token_flush_size=10, chat_history_token_ratio=0.4,
        tokenizer_fn=str.split, memory_blocks=[block],
    )  # fmt: skip


def said(text: str, role: str = "user") -> ChatMessage:
    return ChatMessage(role=role, content=text)


async def fill(memory: Memory, *, until: AgentMemory) -> None:
    """Go on talking until the first message has left the history."""
    for number in range(20):
        await memory.aput(said(f"and so on and so forth, number {number}", "assistant"))
        await memory.aput(said("yes, I see, please do go on then"))
        if await until.count():
            return
    raise AssertionError("nothing left the history")


async def test_what_left_the_history_comes_back_when_it_is_asked_for(agent: AgentMemory) -> None:
    memory = memory_of(ChrysalisMemoryBlock(memory=agent))
    await memory.aput(said("Tea is served at four"))
    await fill(memory, until=agent)
    history = await memory.aget(input="When is tea served?")
    assert "system" == history[0].role.value
    assert "<Memories>\nuser: Tea is served at four" in "\n".join(
        line.strip() for line in str(history[0].content).splitlines()
    )
    assert [] == [one for one in history[1:] if one.content == "Tea is served at four"]


async def test_what_was_kept_in_one_session_is_found_in_another_unless_told_not_to(
    agent: AgentMemory,
) -> None:
    block = ChrysalisMemoryBlock(memory=agent)
    await block.aput([said("Tea is served at four")], session_id="monday")
    asked = [said("When is tea served?")]
    own = ChrysalisMemoryBlock(memory=agent, this_session_only=True)
    assert ["user: Tea is served at four", "", "user: Tea is served at four"] == [
        await block.aget(asked, session_id="tuesday"),
        await own.aget(asked, session_id="tuesday"),
        await own.aget(asked, session_id="monday"),
    ]


async def test_messages_are_turns_of_their_session_in_order(agent: AgentMemory) -> None:
    block = ChrysalisMemoryBlock(memory=agent, namespace="ada/talk")
    await block.aput([said("Thanks"), said("Tea?", "assistant")], session_id="monday")
    await block.aput([said("Thanks")], session_id="monday")
    found = sorted(await agent.find(episode="monday"), key=lambda one: one.position or 0)
    assert [("Thanks", "user"), ("Tea?", "assistant"), ("Thanks", "user")] == [
        (one.content, one.metadata["role"]) for one in found
    ]
    assert {("ada/talk", "episodic")} == {(one.namespace, one.memory_type) for one in found}


async def test_what_has_no_text_is_passed_over(agent: AgentMemory) -> None:
    block = ChrysalisMemoryBlock(memory=agent)
    image = ImageBlock(url="https://example.org/tea.png")
    await block.aput([ChatMessage(role="user", blocks=[image]), said("  ")])
    assert 0 == await agent.count()
    await block.aput([ChatMessage(role="user", blocks=[image, TextBlock(text="Tea at four")])])
    assert ["Tea at four"] == [one.content for one in await agent.find()]
    assert ["", "", ""] == [
        await block.aget(), await block.aget([]), await block.aget([said(" ")])
    ]  # fmt: skip


async def test_the_latest_messages_say_what_is_looked_for(agent: AgentMemory) -> None:
    one = ChrysalisMemoryBlock(memory=agent, k=1)
    both = ChrysalisMemoryBlock(memory=agent, k=1, query_messages=2)
    await one.aput([said("Python snakes live in trees"), said("Coffee is at ten")])
    asked = [said("python snakes trees"), said("coffee")]
    assert ["user: Coffee is at ten", "user: Python snakes live in trees"] == [
        await one.aget(asked), await both.aget(asked)
    ]  # fmt: skip


async def test_memories_learned_elsewhere_are_given_back_too(agent: AgentMemory) -> None:
    await agent.learn("Tea is served at four", namespace="llamaindex")
    block = ChrysalisMemoryBlock(memory=agent)
    assert "Tea is served at four" == await block.aget([said("tea")])


async def test_an_agent_is_told_what_it_once_knew(agent: AgentMemory) -> None:
    prompts: list[Any] = []

    class Listening(MockFunctionCallingLLM):
        async def astream_chat_with_tools(self, *args: Any, **options: Any) -> Any:
            prompts.append(options["chat_history"])
            return await super().astream_chat_with_tools(*args, **options)

    block = ChrysalisMemoryBlock(memory=agent)
    await block.aput([said("Tea is served at four")], session_id="monday")
    waiter = FunctionAgent(llm=Listening(), tools=[], system_prompt="You are a waiter.")
    memory = Memory.from_defaults(session_id="tuesday", memory_blocks=[block])
    await waiter.run("When is tea served?", memory=memory)
    assert "user: Tea is served at four" in "\n".join(str(one.content) for one in prompts[0])


def test_a_block_needs_no_event_loop_and_stops_what_it_started(tmp_path: Path) -> None:
    agent = AgentMemory("ada", path=tmp_path / "other.db", embedder="hashing")
    block = ChrysalisMemoryBlock(memory=agent)
    memory = Memory.from_defaults(session_id="monday", memory_blocks=[block])
    memory.put(said("Tea is served at four"))
    assert "Tea is served at four" == memory.get()[-1].content
    block.close()
    assert agent.loop is None
