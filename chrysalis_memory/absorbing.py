"""Conversations as memories: what an extractor draws from them is added, and nothing written over.

Every fact names the turns that say so as its evidence. What has been absorbed is marked when all
of it is stored, so that the same conversation is not read again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import ValidationError

from chrysalis_memory import codec, provenance, wire
from chrysalis_memory.codec import shown
from chrysalis_memory.embedding_queue import Progress
from chrysalis_memory.errors import ExtractorError, ExtractorUnavailable, InvalidValue
from chrysalis_memory.extractors import Extractor, Fact, Message, dates, turns
from chrysalis_memory.learner import Learner, Refused
from chrysalis_memory.learning import MemoryChange, NewMemory
from chrysalis_memory.query import Filter, refused
from chrysalis_memory.readers import InThread
from chrysalis_memory.storage import MemoryStorage

_WINDOW_MESSAGES = 64
_MARK = "absorbed:"


class KeptRaw(NamedTuple):
    """Messages whose text was kept, because no facts could be drawn from them."""

    numbers: list[int]
    """Which of those given, counted from 0."""
    reason: str


@dataclass(slots=True)
class AbsorbReport:
    """What became of a conversation."""

    episode: str
    """Its name, given or derived from its messages."""
    learned: list[str] = field(default_factory=list[str])
    """The ids of memories that are new."""
    joined: list[str] = field(default_factory=list[str])
    """The ids of memories that were known and may have gained something."""
    refused: list[Refused] = field(default_factory=list[Refused])
    """What was not stored, by the message it comes from, each with the reason."""
    kept_raw: list[KeptRaw] = field(default_factory=list[KeptRaw])
    """What the extractor failed on; the turns were kept as they are."""
    was_known: bool = False
    """Whether all of it had been absorbed before, so that nothing was done."""


class _Turn(NamedTuple):
    number: int
    message: Message
    observed: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a conversation is to be absorbed; see :meth:`AgentMemory.absorb`."""

    extractor: Extractor
    namespace: str | None
    episode: str | None
    observed_at: datetime | None
    keep_turns: bool
    first_position: int
    source: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.extractor, Extractor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidValue(
                "an extractor has a name, window_characters and an async extract(); "
                f"got {shown(self.extractor)}"
            )
        if self.namespace is not None:
            wire.check_namespace(self.namespace)
        wire.check_episode(self.episode)
        if self.source is not None:
            provenance.check_source(self.source)
        if wire.check_position(self.first_position) is None:
            raise InvalidValue("first_position must be an integer of 0 or more, got None")
        if self.observed_at is not None and self.observed_at.tzinfo is None:
            raise InvalidValue(
                f"observed_at {self.observed_at.isoformat()} has no time zone; "
                "give one, for example tzinfo=UTC"
            )


class Absorber:
    """Absorbs one conversation.

    Args:
        storage: Tells whether it was absorbed before.
        learner: Stores what is drawn from it.
        in_thread: Runs blocking work beside the event loop.
        wanted: How it is to be absorbed.
    """

    def __init__(
        self, storage: MemoryStorage, learner: Learner, in_thread: InThread, wanted: Wanted
    ) -> None:
        self._storage = storage
        self._learner = learner
        self._in_thread = in_thread
        self._wanted = wanted
        self._report = AbsorbReport("")
        self._gave_up: str | None = None

    async def absorb(
        self, messages: Iterable[Message | Mapping[str, Any]], progress: Progress | None = None
    ) -> AbsorbReport:
        """Store what is worth keeping of the messages, and report what became of them."""
        wanted, given = self._wanted, list(messages)
        valid, bad = _checked(given)
        said = [[m.role, m.name, m.content, m.at and m.at.isoformat()] for _, m in valid]
        episode = wanted.episode or f"c-{_digest([wanted.namespace, said])}"
        self._report = AbsorbReport(episode, refused=bad)
        mark = _MARK + _digest(
            [wanted.extractor.name, wanted.namespace, episode, wanted.first_position,
             wanted.keep_turns, wanted.observed_at and wanted.observed_at.isoformat(),
             [number for number, _ in valid], said,
             *([] if wanted.source is None else [wanted.source])]
        )  # fmt: skip
        self._report.was_known = await self._in_thread(lambda: self._is_marked(mark))
        if self._report.was_known:
            return self._report
        windows = _windows(_observed(valid, wanted.observed_at), wanted.extractor.window_characters)
        for window in windows:
            await self._absorb(window)
            if progress is not None:
                progress(window[-1].number + 1, len(given))
        ids = self._report.learned + self._report.joined
        if ids and not self._report.kept_raw:
            change = MemoryChange.of(metadata={mark: wanted.extractor.name})
            await self._learner.update(ids[0], change)
        return self._report

    def _is_marked(self, mark: str) -> bool:
        marked = {mark: {"$exists": True}}
        wanted = Filter.of(metadata=marked, include_archived=True, include_expired=True)
        return self._storage.count(wanted) > 0

    async def _absorb(self, window: Sequence[_Turn]) -> None:
        raw = turns([turn.message for turn in window])
        try:
            facts = [*(raw if self._wanted.keep_turns else ()), *await self._extract(window)]
        except ExtractorError as error:
            if isinstance(error, ExtractorUnavailable):
                self._gave_up = str(error)
            self._report.kept_raw.append(KeptRaw([t.number for t in window], str(error)))
            facts = raw
        beside: dict[int, str] = {}
        new: list[NewMemory] = []
        sources: list[int] = []
        for fact in facts:
            of = fact.evidence or tuple(range(len(window)))
            try:
                memory = self._memory(fact, [window[n] for n in of])
            except InvalidValue as error:
                self._report.refused.append(Refused(window[of[0]].number, str(error)))
                continue
            if fact.is_turn:
                beside[of[0]] = memory.derived_id()
            else:
                related = tuple(beside[n] for n in of if n in beside)
                memory = memory.model_copy(update={"related": related})
            new.append(memory)
            sources.append(window[of[0]].number)
        await self._learn(new, sources)

    async def _extract(self, window: Sequence[_Turn]) -> Sequence[Fact]:
        if self._gave_up is not None:
            raise ExtractorError(self._gave_up)
        extractor = self._wanted.extractor
        said = [turn.message.model_copy(update={"at": turn.observed}) for turn in window]
        facts = await extractor.extract(said, window[-1].observed)
        for fact in facts:
            if max(fact.evidence, default=0) >= len(window):
                raise ExtractorError(
                    f"{extractor.name} names message {max(fact.evidence)} as evidence; "
                    f"it was given {len(window)}, counted from 0"
                )
            if fact.is_turn and len(fact.evidence) != 1:
                raise ExtractorError(
                    f"{extractor.name} returned a turn with {len(fact.evidence)} messages as its "
                    "evidence; it has one"
                )
        return facts

    def _memory(self, fact: Fact, said: Sequence[_Turn]) -> NewMemory:
        """Return a fact as what is learned."""
        episode, first = self._report.episode, self._wanted.first_position
        fields: dict[str, Any] = {
            "namespace": self._wanted.namespace,
            "memory_type": fact.memory_type,
            "tags": fact.tags,
            "confidence": fact.confidence,
            "source": self._wanted.source,
            "only_add": True,
        }
        if fact.is_turn:
            (turn,) = said
            message = turn.message
            moment = {} if message.at is None else {"at": message.at.isoformat()}
            return NewMemory.of(
                content=fact.content,
                episode=episode,
                position=first + turn.number,
                metadata={"speaker": message.speaker, "role": message.role} | moment,
                **fields,
            )
        observed = said[0].observed.date()
        day = fact.day or dates.resolve(fact.content, observed)
        metadata = {"observed": observed.isoformat()}
        return NewMemory.of(
            content=dates.dated(fact.content, observed),
            evidence=[f"{episode}:{first + turn.number}" for turn in said],
            metadata=metadata if day is None else metadata | {"date": day.isoformat()},
            **fields,
        )

    async def _learn(self, new: Sequence[NewMemory], sources: Sequence[int]) -> None:
        report, learned = self._report, await self._learner.learn_each(new)
        report.learned += learned.learned
        report.joined += learned.joined
        report.refused += [Refused(sources[number], reason) for number, reason in learned.refused]
        report.refused.sort()


def _checked(
    given: Sequence[Message | Mapping[str, Any]],
) -> tuple[list[tuple[int, Message]], list[Refused]]:
    """Return what are messages, with their numbers, and what is refused."""
    valid: list[tuple[int, Message]] = []
    bad: list[Refused] = []
    for number, one in enumerate(given):
        try:
            message = one if isinstance(one, Message) else Message.model_validate(one)
        except ValidationError as error:
            bad.append(Refused(number, str(refused(error, what="message "))))
        else:
            valid.append((number, message))
    return valid, bad


def _observed(valid: Sequence[tuple[int, Message]], observed_at: datetime | None) -> list[_Turn]:
    """Return messages with when they were said: as they tell, or the one before, or as given."""
    moment = observed_at or datetime.now(UTC)
    turns: list[_Turn] = []
    for number, message in valid:
        moment = message.at or moment
        turns.append(_Turn(number, message, moment))
    return turns


def _windows(turns: Sequence[_Turn], characters: int | None) -> Iterator[list[_Turn]]:
    """Cut a conversation into parts that an extractor takes at once; none is empty."""
    window: list[_Turn] = []
    size = 0
    for turn in turns:
        length = len(turn.message.content)
        too_long = characters is not None and size + length > characters
        if window and (too_long or len(window) == _WINDOW_MESSAGES):
            yield window
            window, size = [], 0
        window.append(turn)
        size += length
    if window:
        yield window


def _digest(parts: list[Any]) -> str:
    return codec.digest(codec.pack(parts)).hex()
