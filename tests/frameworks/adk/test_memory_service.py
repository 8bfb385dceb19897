"""ADK's memory service on an agent's memory, through ADK's own runner, sessions and tools."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from google.adk.agents import LlmAgent
from google.adk.events.event import Event
from google.adk.memory.memory_entry import MemoryEntry
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.adk.tools.load_memory_tool import load_memory_tool
from google.adk.tools.preload_memory_tool import preload_memory_tool
from google.genai.types import Content, FunctionCall, Part
from pydantic import Field

from chrysalis_memory import AgentMemory
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.integrations.adk import ChrysalisMemoryService

WHO = {"app_name": "tea/room", "user_id": "ada"}


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncGenerator[AgentMemory]:
    async with AgentMemory(
        "ada", path=tmp_path / "memory.db", embedder="hashing", synchronous="NORMAL"
    ) as agent:
        yield agent


@pytest.fixture
def service(agent: AgentMemory) -> ChrysalisMemoryService:
    return ChrysalisMemoryService(agent)


def said(text: str, author: str = "user", **fields: Any) -> Event:
    role = "user" if author == "user" else "model"
    return Event(
        id=fields.pop("id", Event.new_id()), author=author,
        content=Content(role=role, parts=[Part(text=text)]), **fields,
    )  # fmt: skip


async def texts(service: ChrysalisMemoryService, query: str, **who: str) -> list[str]:
    found = await service.search_memory(query=query, **(WHO | who))
    return sorted(part.text for one in found.memories for part in one.content.parts)


class Scripted(BaseLlm):
    """Answers with what it was given, and keeps what it was asked."""

    model: str = "scripted"
    answers: list[Part]
    asked: list[list[Content]] = Field(default_factory=list)

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse]:
        self.asked.append(list(llm_request.contents))
        yield LlmResponse(content=Content(role="model", parts=[self.answers.pop(0)]))


async def talk(runner: Runner, session_id: str, text: str) -> None:
    who = {"user_id": "ada", "session_id": session_id}
    await runner.session_service.create_session(app_name=runner.app_name, **who)
    message = Content(role="user", parts=[Part(text=text)])
    async for _ in runner.run_async(new_message=message, **who):
        pass


def runner(service: ChrysalisMemoryService, model: Scripted, tools: list[Any]) -> Runner:
    return Runner(
        app_name="room", agent=LlmAgent(name="waiter", model=model, tools=tools),
        session_service=InMemorySessionService(), memory_service=service,
    )  # fmt: skip


async def remembered(running: Runner, service: ChrysalisMemoryService, session_id: str) -> None:
    session = await running.session_service.get_session(
        app_name="room", user_id="ada", session_id=session_id
    )
    assert session is not None
    await service.add_session_to_memory(session)


async def test_what_was_said_in_one_session_is_in_the_prompt_of_the_next(
    service: ChrysalisMemoryService,
) -> None:
    model = Scripted(answers=[Part(text="Noted."), Part(text="At four.")])
    running = runner(service, model, [preload_memory_tool])
    await talk(running, "monday", "Tea is served at four")
    await remembered(running, service, "monday")
    await talk(running, "tuesday", "When is tea served?")
    prompt = [part.text for content in model.asked[-1] for part in content.parts]
    assert [] != [text for text in prompt if "user: Tea is served at four" in text]


async def test_the_model_can_look_something_up(service: ChrysalisMemoryService) -> None:
    call = FunctionCall(name="load_memory", args={"query": "tea"})
    model = Scripted(answers=[Part(text="Noted."), Part(function_call=call), Part(text="At four.")])
    running = runner(service, model, [load_memory_tool])
    await talk(running, "monday", "Tea is served at four")
    await remembered(running, service, "monday")
    await talk(running, "tuesday", "When?")
    answer = model.asked[-1][-1].parts[0].function_response.response
    assert "Tea is served at four" in str(answer)


async def test_a_found_memory_says_who_said_it_when(service: ChrysalisMemoryService) -> None:
    event = said("Tea is served at four", timestamp=1_767_225_600.5, id="e1")
    await service.add_events_to_memory(events=[event], session_id="monday", **WHO)
    found = (await service.search_memory(query="tea", **WHO)).memories[0]
    assert ("e1", "user", "2026-01-01T00:00:00.500000+00:00", event.content) == (
        found.id, found.author, found.timestamp, found.content
    )  # fmt: skip


async def test_events_are_turns_of_their_session_in_the_namespace_of_their_user(
    service: ChrysalisMemoryService, agent: AgentMemory
) -> None:
    events = [said("Tea is served at four", timestamp=2.0), said("Thanks", "waiter", timestamp=1.0)]
    await service.add_events_to_memory(events=events, session_id="monday", **WHO)
    found = sorted(await agent.find(episode="monday"), key=lambda memory: memory.position or 0)
    assert [("Thanks", "adk/tea%2Froom/ada", "episodic"),
            ("Tea is served at four", "adk/tea%2Froom/ada", "episodic")] == [
        (one.content, one.namespace, one.memory_type) for one in found
    ]  # fmt: skip


async def test_users_and_apps_do_not_see_each_others_memories(
    service: ChrysalisMemoryService,
) -> None:
    await service.add_events_to_memory(events=[said("Tea at four")], **WHO)
    assert ["Tea at four"] == await texts(service, "tea")
    assert [] == await texts(service, "tea", user_id="bob")
    assert [] == await texts(service, "tea", app_name="tea", user_id="room/ada")
    assert [] == await texts(service, "tea", app_name="tea%2Froom")


async def test_adding_again_changes_nothing_and_brings_nothing_back(
    service: ChrysalisMemoryService, agent: AgentMemory
) -> None:
    events = [said("Tea at four", id="a"), said("Tea at five", id="b"), said("Tea", id="c")]
    await service.add_events_to_memory(events=events[:2], **WHO)
    (changed,) = [one for one in await agent.find() if one.content == "Tea at five"]
    await agent.update(changed.id, content="Tea at six")
    await service.delete_memory(memory_id="a", **WHO)
    await service.add_events_to_memory(events=events, **WHO)
    assert ["Tea", "Tea at six"] == await texts(service, "tea")


async def test_what_has_no_text_is_passed_over(service: ChrysalisMemoryService) -> None:
    call = Content(role="model", parts=[Part(function_call=FunctionCall(name="f", args={}))])
    events = [Event(author="waiter"), Event(author="waiter", content=call), said("  ")]
    await service.add_events_to_memory(events=events, **WHO)
    assert [] == await texts(service, "anything")
    assert [] == await texts(service, " ")


async def test_memories_are_added_as_they_are(service: ChrysalisMemoryService) -> None:
    entry = MemoryEntry(
        id="one", content=Content(role="user", parts=[Part(text="Tea at four")]), author="ada",
        timestamp="yesterday", custom_metadata={"table": 4},
    )  # fmt: skip
    plain = MemoryEntry(content=Content(parts=[Part(text="Coffee at ten")]))
    await service.add_memory(memories=[entry, plain], custom_metadata={"source": "menu"}, **WHO)
    found = {one.id: one for one in (await service.search_memory(query="at", **WHO)).memories}
    expected = entry.model_copy(update={"custom_metadata": {"table": 4, "source": "menu"}})
    assert expected == found["one"]
    assert 2 == len(found)
    with pytest.raises(InvalidValue, match="white space"):
        await service.add_memory(memories=[MemoryEntry(content=Content(parts=[]))], **WHO)


async def test_deleting_takes_the_id_that_a_search_returned_and_no_one_elses(
    service: ChrysalisMemoryService, agent: AgentMemory
) -> None:
    kept = await agent.learn("Tea is mine")
    entry = MemoryEntry(content=Content(parts=[Part(text="Tea at four")]))
    await service.add_memory(memories=[entry], **WHO)
    found = (await service.search_memory(query="tea", **WHO)).memories[0]
    await service.delete_memory(memory_id=found.id, user_id="bob", app_name="tea/room")
    await service.delete_memory(memory_id=kept, **WHO)
    await service.delete_memory(**WHO)
    assert 2 == await agent.count()
    await service.delete_memory(memory_id=found.id, **WHO)
    assert [kept] == [one.id for one in await agent.find()]


async def test_a_search_returns_k_memories_at_most(agent: AgentMemory) -> None:
    service = ChrysalisMemoryService(agent, k=2)
    await service.add_events_to_memory(events=[said(f"tea {n}") for n in range(5)], **WHO)
    assert 2 == len(await texts(service, "tea"))


async def test_a_memory_that_is_not_started_is_started_and_stopped(tmp_path: Path) -> None:
    memory = AgentMemory("ada", path=tmp_path / "other.db", embedder="hashing")
    service = ChrysalisMemoryService(memory)
    await service.add_events_to_memory(events=[said("Tea at four")], **WHO)
    assert ["Tea at four"] == await texts(service, "tea")
    service.close()
    assert memory.loop is None
