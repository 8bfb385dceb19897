"""Conversations as memories: added and linked, never written over, never lost."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from chrysalis_memory import AgentMemory
from chrysalis_memory.errors import ExtractorError, ExtractorUnavailable, InvalidValue
from chrysalis_memory.extractors import Fact, KeepTurns, Message
from tests.conftest import SwitchedEmbedder

Start = Callable[..., Awaitable[AgentMemory]]

MARA = {"role": "user", "name": "Mara"}
TALK = [
    MARA | {"content": "Mochi saw the vet yesterday", "at": "2025-03-12T09:00:00+01:00"},
    {"role": "assistant", "content": "How is she?"},
    MARA | {"content": "Well. And I moved to Gent", "at": "2025-03-14T09:00:00+01:00"},
]


class Scripted:
    """Returns what it is told, or raises it, and notes what it is asked."""

    name = "scripted"

    def __init__(self, *answers: Sequence[Fact] | Exception, characters: int | None = None) -> None:
        self.window_characters = characters
        self.asked: list[tuple[list[str], datetime]] = []
        self._answers = list(answers)

    async def extract(self, messages: Sequence[Message], observed_at: datetime) -> Sequence[Fact]:
        self.asked.append(([message.content for message in messages], observed_at))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def contents(agent: AgentMemory) -> list[str]:
    return sorted(memory.content for memory in await agent.find())


async def only(agent: AgentMemory, **conditions: Any) -> Any:
    (memory,) = await agent.find(**conditions)
    return memory


# Without a language model


async def test_every_turn_becomes_a_memory_at_its_place_in_the_episode(agent: AgentMemory):
    report = await agent.absorb(TALK, episode="call", namespace="mara")

    turns = sorted(await agent.find(episode="call"), key=lambda turn: turn.position)
    assert [turn.content for turn in turns] == [
        "Mara: Mochi saw the vet yesterday",
        "assistant: How is she?",
        "Mara: Well. And I moved to Gent",
    ]
    assert [turn.position for turn in turns] == [1, 2, 3]
    assert {(turn.memory_type, turn.namespace) for turn in turns} == {("episodic", "mara")}
    assert turns[2].metadata == {
        "speaker": "Mara", "role": "user", "at": "2025-03-14T09:00:00+01:00",
    }  # fmt: skip
    assert report.learned == [turn.id for turn in turns]
    assert (report.joined, report.refused, report.kept_raw) == ([], [], [])


async def test_the_same_conversation_again_adds_nothing(agent: AgentMemory):
    first = await agent.absorb(TALK)
    before = sorted(memory.to_bytes() for memory in await agent.find())

    again = await agent.absorb(TALK)

    assert (again.was_known, again.learned, again.joined) == (True, [], [])
    assert again.episode == first.episode
    assert before == sorted(memory.to_bytes() for memory in await agent.find())


async def test_the_same_conversation_on_two_replicas_is_one(start_agent: Start):
    one, other = await start_agent("ada", "one.db"), await start_agent("ada", "other.db")
    await one.absorb(TALK)
    await other.absorb(TALK)

    await one.merge(other)

    assert await one.count() == 3


async def test_a_conversation_that_goes_on_adds_only_what_is_new(agent: AgentMemory):
    await agent.absorb(TALK[:2], episode="call")

    report = await agent.absorb(TALK, episode="call")
    rest = await agent.absorb(
        [{"role": "assistant", "content": "Since when?"}], episode="call", first_position=4
    )

    assert [len(report.learned), len(report.joined), len(rest.learned)] == [1, 2, 1]
    assert [3, 4] == [(await agent.get(i)).position for i in (*report.learned, *rest.learned)]


async def test_messages_that_are_none_are_reported_and_the_others_absorbed(agent: AgentMemory):
    report = await agent.absorb(
        [{"role": "user"}, TALK[1], {"role": "user", "content": " "}, "hello",
         {"role": "user", "content": "x", "colour": 1},
         {"role": "user", "content": "x", "at": "2025-03-12T09:00:00"}]
    )  # fmt: skip

    assert [number for number, _ in report.refused] == [0, 2, 3, 4, 5]
    assert "content: Field required" in report.refused[0].reason
    assert "timezone" in report.refused[4].reason
    assert ["assistant: How is she?"] == await contents(agent)
    assert (await only(agent)).position == 2


async def test_progress_counts_messages(agent: AgentMemory):
    told: list[tuple[int, int]] = []
    many = [{"role": "user", "content": f"line {number}"} for number in range(130)]

    await agent.absorb(many, progress=lambda *counts: told.append(counts))

    assert told == [(64, 130), (128, 130), (130, 130)]


@pytest.mark.parametrize(
    ("messages", "options", "message"),
    [
        (TALK[0], {}, "a list of messages"),
        ("hello", {}, "a list of messages"),
        (TALK, {"extractor": "ollama"}, "an extractor has a name"),
        (TALK, {"episode": ""}, "episode must have 1 to 512"),
        (TALK, {"namespace": "a//b"}, "namespace"),
        (TALK, {"first_position": -1}, "position must be"),
        (TALK, {"observed_at": datetime(2025, 3, 12)}, "has no time zone"),
    ],
)
async def test_an_option_that_is_refused_stores_nothing(
    agent: AgentMemory, messages: Any, options: dict[str, Any], message: str
):
    with pytest.raises(InvalidValue, match=message):
        await agent.absorb(messages, **options)

    assert await agent.count() == 0


# With an extractor


async def test_facts_name_their_turns_as_evidence_and_their_day(agent: AgentMemory):
    vet = Fact(
        content="Mochi saw the vet yesterday", memory_type="episodic", tags=("pets",),
        confidence=0.8, evidence=(0,),
    )  # fmt: skip
    gent = Fact(content="Mara lives in Gent", evidence=(2,))

    report = await agent.absorb(TALK, extractor=Scripted([vet, gent]), episode="call")

    seen = await only(agent, memory_type="episodic")
    assert seen.content == "Mochi saw the vet yesterday (2025-03-11)"
    assert {"observed": "2025-03-12", "date": "2025-03-11"}.items() <= seen.metadata.items()
    assert (seen.get_evidence(), seen.get_tags()) == (["call:1"], ["pets"])
    assert (seen.get_confidence(), seen.episode) == (0.8, None)
    lives = await only(agent, memory_type="semantic")
    assert (lives.metadata["observed"], lives.get_evidence()) == ("2025-03-14", ["call:3"])
    assert "date" not in lives.metadata
    assert sorted(report.learned) == sorted([seen.id, lives.id])


async def test_a_message_without_a_time_was_said_when_the_one_before_was(agent: AgentMemory):
    extractor = Scripted([Fact(content="She fell ill yesterday", evidence=(1,))])

    await agent.absorb(TALK, extractor=extractor, observed_at=datetime(2020, 1, 1, tzinfo=UTC))

    assert (await only(agent)).metadata["date"] == "2025-03-11"
    assert extractor.asked[0][1].isoformat() == "2025-03-14T09:00:00+01:00"


async def test_what_tells_no_time_was_said_when_the_caller_says(agent: AgentMemory):
    extractor = Scripted([Fact(content="The roof leaks since yesterday")])

    await agent.absorb(
        [{"role": "user", "content": "It leaks"}],
        extractor=extractor,
        observed_at=datetime(2024, 3, 1, 12, tzinfo=UTC),
    )

    assert (await only(agent)).content == "The roof leaks since yesterday (2024-02-29)"


async def test_an_absorbed_conversation_is_not_read_again(agent: AgentMemory):
    extractor = Scripted([Fact(content="Mara lives in Gent")])
    await agent.absorb(TALK, extractor=extractor)

    again = await agent.absorb(TALK, extractor=extractor)

    assert (again.was_known, len(extractor.asked)) == (True, 1)


async def test_a_conversation_stays_absorbed_while_its_memories_are_put_away(agent: AgentMemory):
    extractor = Scripted([Fact(content="Mara lives in Gent")])
    (memory_id,) = (await agent.absorb(TALK, extractor=extractor)).learned
    await agent.update(memory_id, archived=True, expires_at=datetime(2020, 1, 1, tzinfo=UTC))

    assert (await agent.absorb(TALK, extractor=extractor)).was_known


async def test_the_same_fact_of_two_conversations_is_one_memory_with_both_as_evidence(
    agent: AgentMemory,
):
    fact = Fact(content="Mara lives in Gent", evidence=(0,), tags=("home",), confidence=0.9)
    await agent.absorb(TALK, extractor=Scripted([fact]), episode="first")

    other = fact.model_copy(update={"tags": ("city",), "memory_type": "procedural"})
    report = await agent.absorb(TALK[2:], extractor=Scripted([other]), episode="second")

    memory = await only(agent)
    assert report.joined == [memory.id]
    assert (memory.get_evidence(), memory.get_tags()) == (
        ["first:1", "second:1"],
        ["home", "city"],
    )
    assert (memory.memory_type, memory.metadata["observed"]) == ("semantic", "2025-03-12")


async def test_absorbing_writes_over_nothing_and_brings_nothing_back(agent: AgentMemory):
    known = await agent.learn(
        "Mara lives in Gent", importance=0.9, confidence=0.2, metadata={"observed": "long ago"}
    )
    await agent.update(known, archived=True)
    gone = await agent.learn("Mara has a secret")
    await agent.forget(gone)
    facts = [Fact(content="Mara lives in Gent", confidence=1.0), Fact(content="Mara has a secret")]

    report = await agent.absorb(TALK, extractor=Scripted(facts))

    memory = await agent.get(known)
    assert (memory.archived, memory.get_confidence()) == (True, 0.2)
    assert memory.metadata["observed"] == "long ago"
    assert await agent.get(gone) is None
    assert [(0, True)] == [(number, "forgotten" in why) for number, why in report.refused]


async def test_kept_turns_are_linked_by_the_facts_they_say(agent: AgentMemory):
    extractor = Scripted([Fact(content="Mara lives in Gent", evidence=(2,))])

    report = await agent.absorb(TALK, extractor=extractor, episode="call", keep_turns=True)

    fact = await only(agent, memory_type="semantic")
    turn = await agent.get(fact.get_related()[0])
    assert (turn.content, turn.position) == ("Mara: Well. And I moved to Gent", 3)
    assert len(report.learned) == 4


async def test_where_the_extractor_fails_the_turns_are_kept_and_the_report_says_so(
    agent: AgentMemory,
):
    extractor = Scripted([Fact(content="Mochi is ill")], ExtractorError("it babbles"),
                         [Fact(content="Mara lives in Gent")], characters=12)  # fmt: skip

    report = await agent.absorb(TALK, extractor=extractor)

    assert [([1], "it babbles")] == report.kept_raw
    assert await contents(agent) == ["Mara lives in Gent", "Mochi is ill", "assistant: How is she?"]


async def test_what_failed_is_tried_again_by_absorbing_again(agent: AgentMemory):
    await agent.absorb(TALK[:1], extractor=Scripted(ExtractorError("it babbles")))

    report = await agent.absorb(TALK[:1], extractor=Scripted([Fact(content="Mochi is ill")]))

    assert (report.was_known, len(report.learned), report.kept_raw) == (False, 1, [])
    assert await contents(agent) == ["Mara: Mochi saw the vet yesterday", "Mochi is ill"]


async def test_an_extractor_that_cannot_be_reached_is_asked_once(agent: AgentMemory):
    extractor = Scripted(ExtractorUnavailable("nobody there"), characters=12)

    report = await agent.absorb(TALK, extractor=extractor)

    assert len(extractor.asked) == 1
    assert [([0], "nobody there"), ([1], "nobody there"), ([2], "nobody there")] == report.kept_raw
    assert await agent.count() == 3


@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (Fact(content="x", evidence=(3,)), "names message 3 as evidence; it was given 3"),
        (Fact(content="x", is_turn=True), "a turn with 0 messages"),
    ],
)
async def test_facts_that_cannot_be_count_as_a_failure(agent: AgentMemory, fact: Fact, reason: str):
    report = await agent.absorb(TALK, extractor=Scripted([fact]))

    assert reason in report.kept_raw[0].reason
    assert await agent.count() == 3


async def test_a_fault_of_the_extractor_is_raised(agent: AgentMemory):
    with pytest.raises(ZeroDivisionError):
        await agent.absorb(TALK, extractor=Scripted(ZeroDivisionError()))


async def test_a_conversation_that_was_stored_in_part_is_finished_the_next_time(
    start_agent: Start,
):
    agent = await start_agent(embedder=SwitchedEmbedder())
    extractor = Scripted([Fact(content="first")], ZeroDivisionError(), characters=12)
    with pytest.raises(ZeroDivisionError):
        await agent.absorb(TALK, extractor=extractor)

    report = await agent.absorb(TALK, extractor=Scripted([Fact(content="first")], [], [],
                                                         characters=12))  # fmt: skip

    assert (report.was_known, len(report.joined)) == (False, 1)


async def test_facts_are_kept_while_the_embedder_is_away(start_agent: Start):
    agent = await start_agent(embedder=SwitchedEmbedder(up=False))

    report = await agent.absorb(TALK, extractor=KeepTurns())

    assert (len(report.learned), report.refused) == (3, [])
