"""What is worth keeping of a conversation: the protocol, and the extractor that keeps every turn.

:class:`chrysalis_memory.extractors.ollama.OllamaExtractor` asks a language model instead.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from chrysalis_memory.learning import Content
from chrysalis_memory.query import MemoryType, Moment, Name, Names, Score

__all__ = ["Extractor", "Fact", "KeepTurns", "Message"]


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Name
    """Who speaks, as chat APIs say it: ``"user"``, ``"assistant"`` or any other word."""
    content: Content
    name: Name | None = None
    """Who speaks, by name."""
    at: Moment | None = None
    """When it was said; its date, in its own time zone, is what "yesterday" is counted from."""

    @property
    def speaker(self) -> str:
        """The name, or the role where there is none."""
        return self.name or self.role


class Fact(BaseModel):
    """Something worth keeping, drawn from messages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    content: Content
    memory_type: MemoryType = "semantic"
    tags: Names = ()
    confidence: Score | None = None
    evidence: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Which of the messages say so, counted from 0; none named: all of them."""
    day: date | None = None
    """The day it is about, where there is one."""
    is_turn: StrictBool = False
    """Whether it is the one message of its evidence itself, and takes its place in the episode."""


@runtime_checkable
class Extractor(Protocol):
    """Draws facts from messages."""

    @property
    def name(self) -> str:
        """What draws them, with the model; a conversation is absorbed once under each name."""
        ...

    @property
    def window_characters(self) -> int | None:
        """How much text it takes at once; ``None`` without a limit. Longer messages come alone."""
        ...

    async def extract(self, messages: Sequence[Message], observed_at: datetime) -> Sequence[Fact]:
        """Return what is worth keeping.

        Args:
            messages: Turns that follow one another; at least one. ``absorb`` sees to it that each
                tells when it was said.
            observed_at: When the last was said.

        Raises:
            ExtractorError: nothing could be drawn from them; their text is kept instead.
            ExtractorUnavailable: it cannot be reached; it is not asked again in this conversation.
        """
        ...


class KeepTurns:
    """Keeps every turn as it was said, without a language model: ``Name: text``."""

    name = "turns"
    window_characters = None

    async def extract(self, messages: Sequence[Message], observed_at: datetime) -> list[Fact]:
        """Return one fact for each message."""
        return turns(messages)


def turns(messages: Sequence[Message]) -> list[Fact]:
    """Return each message as a fact of its own."""
    return [
        Fact(
            content=f"{message.speaker}: {message.content}",
            memory_type="episodic",
            evidence=(number,),
            is_turn=True,
        )
        for number, message in enumerate(messages)
    ]
