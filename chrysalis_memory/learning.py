"""What it means to learn and to change a memory, inside one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    WithJsonSchema,
)

from chrysalis_memory import codec, provenance, wire
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.embedding import Embedding
from chrysalis_memory.errors import InvalidValue, MemoryForgotten
from chrysalis_memory.query import MemoryType, Moment, Name, Names, Namespace, Score, refused
from chrysalis_memory.transaction import Transaction

Source = Annotated[
    str,
    BeforeValidator(provenance.check_source),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"[^*]$",
            "minLength": 1,
            "maxLength": provenance.SOURCE_CHARACTERS_MAX,
        }
    ),
]
Content = Annotated[
    str,
    BeforeValidator(wire.check_content),
    WithJsonSchema({"type": "string", "pattern": r"\S", "maxLength": wire.CONTENT_BYTES_MAX}),
]
Position = Annotated[
    int | None,
    BeforeValidator(wire.check_position),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 2**53 - 1}, {"type": "null"}]}
    ),
]


def _check_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    for key, value in metadata.items():
        wire.check_name(key, what="metadata key")
        codec.canonical_json(value)
    return metadata


Metadata = Annotated[dict[str, Any], AfterValidator(_check_metadata)]


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Build from keyword arguments.

        Raises:
            InvalidValue: an unknown name or a value that is refused.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise refused(error) from error


class NewMemory(_Options):
    """Something to learn. What is left out stays unwritten and reads as its default."""

    content: Content
    id: Name | None = None
    """Identity; by default derived from namespace and text, so that the same text joins."""
    memory_type: MemoryType | None = None
    namespace: Namespace | None = None
    tags: Names = ()
    importance: Score | None = None
    confidence: Score | None = None
    metadata: Metadata = Field(default_factory=dict[str, Any])
    episode: Name | None = None
    """The conversation or log it is a part of; its turns are events and never joined."""
    position: Position = None
    related: Names = ()
    parents: Names = ()
    evidence: Names = ()
    expires_at: Moment | None = None
    source: Source | None = None
    """Where the text comes from, as in ``"web:example.com"``; by default from who writes it. Of
    what another source taught, nothing that is written changes, as with ``only_add``."""
    unique: StrictBool = False
    """Take a random id: a derived one lets somebody who guesses the text confirm the guess."""
    only_add: StrictBool = False
    """Where the text is known, add tags, links, evidence and missing metadata and change nothing
    else; what was forgotten is refused. For what no person decides."""

    def derived_id(self, attempt: int = 0) -> str:
        """Return the id that this text has on every replica."""
        parts: list[Any] = [self.namespace or "", self.content]
        if self.episode is not None:
            parts += [self.episode, self.position]
        if attempt:
            parts.append(attempt)
        return f"m-{codec.digest(codec.pack(parts)).hex()}"


def new_memory(memory: str | NewMemory | Mapping[str, Any], number: int) -> NewMemory:
    """Return one item of many as a checked :class:`NewMemory`.

    Raises:
        InvalidValue: it is refused; the message says which of the many it is.
    """
    if isinstance(memory, NewMemory):
        return memory
    try:
        return NewMemory.of(**(memory if isinstance(memory, Mapping) else {"content": memory}))
    except InvalidValue as error:
        raise InvalidValue(f"memory {number}: {error}") from error


class MemoryChange(_Options):
    """Changes to one memory. Only what is given is written; ``expires_at=None`` clears it."""

    content: Content | None = None
    memory_type: MemoryType | None = None
    namespace: Namespace | None = None
    add_tags: Names = ()
    remove_tags: Names = ()
    importance: Score | None = None
    confidence: Score | None = None
    metadata: Metadata = Field(default_factory=dict[str, Any])
    related: Names = ()
    parents: Names = ()
    evidence: Names = ()
    expires_at: Moment | None = None
    archived: StrictBool | None = None

    def apply(self, memory: MemoryDocument) -> None:
        """Write the changes to a document; values it already has are not written again."""
        for name, write in (
            ("content", memory.set_content),
            ("memory_type", memory.set_memory_type),
            ("namespace", memory.set_namespace),
            ("archived", memory.set_archived),
        ):
            value = getattr(self, name)
            if value is not None and value != getattr(memory, name):
                write(value)
        state = memory.state
        # A score that was never set reads as its default, and setting it to that is a change.
        if self.importance not in (None, memory.get_importance() if state.importance else None):
            memory.set_importance(self.importance)
        if self.confidence not in (None, memory.get_confidence() if state.confidence else None):
            memory.set_confidence(self.confidence)
        _write_metadata(memory, self.metadata)
        if "expires_at" in self.model_fields_set and self.expires_at != memory.expires_at:
            memory.set_expires_at(self.expires_at)
        for tag in self.remove_tags:
            memory.remove_tag(tag)
        _add_all(memory, self.add_tags, self.related, self.parents, self.evidence)


class Learned(NamedTuple):
    """What became of something that was learned."""

    id: str
    is_new: bool
    """Whether nothing was known under the id, or it had been forgotten."""


def learn(transaction: Transaction, new: NewMemory, embedding: Embedding | None) -> Learned:
    """Store something new, or join it with the same text learned before.

    Joining adds tags, links and evidence, raises importance and confidence, writes metadata, and
    brings an archived or expired memory back; it never rewrites the text. A forgotten memory is
    revived. An explicit ``id`` that is known takes the new text. With ``only_add`` nothing that is
    written changes; nor where ``source`` names another than the memory's own.

    Raises:
        MemoryForgotten: it was forgotten, and ``only_add`` does not revive.
        InvalidValue: an explicit ``id`` holds another text, which neither ``only_add`` nor another
            source replaces.
    """
    memory_id = _free_id(transaction, new)
    known = transaction.load(memory_id)
    is_new = known is None or known.is_forgotten
    if known is None or is_new:
        memory = transaction.new_document(memory_id, new.content, new.memory_type, new.source)
        if known is not None:
            if new.only_add:
                raise MemoryForgotten(memory_id)
            memory = memory.revived(known.state.life)
        _write_first(memory, new)
    elif new.only_add or new.source not in (None, known.source_instance):
        memory = known
        _add(memory, new)
    else:
        memory = known
        _join(memory, new, now=transaction.now())
    _mark(memory, new, transaction.writer)
    transaction.put(memory, embedding)
    return Learned(memory_id, is_new)


def learn_many(
    transaction: Transaction, batch: Sequence[NewMemory], embeddings: Sequence[Embedding | None]
) -> list[Learned]:
    """Do as :func:`learn` for each of a batch, in order."""
    transaction.prefetch(new.id or new.derived_id() for new in batch if not new.unique)
    pairs = zip(batch, embeddings, strict=True)
    return [learn(transaction, new, embedding) for new, embedding in pairs]


def _free_id(transaction: Transaction, new: NewMemory) -> str:
    if new.id is not None:
        return new.id
    if new.unique:
        return transaction.new_id()
    # An id whose memory was edited since holds another text; the next one is as derived as the
    # first, so learning the text a third time still joins.
    for attempt in count():
        memory_id = new.derived_id(attempt)
        known = transaction.load(memory_id)
        if known is None or known.is_forgotten or known.content == new.content:
            return memory_id
    raise AssertionError("unreachable: count() does not end")


def _write_first(memory: MemoryDocument, new: NewMemory) -> None:
    if new.namespace:
        memory.set_namespace(new.namespace)
    if new.episode is not None:
        memory.set_episode(new.episode, new.position)
    if new.importance is not None:
        memory.set_importance(new.importance)
    if new.confidence is not None:
        memory.set_confidence(new.confidence)
    if new.metadata:
        memory.set_metadata(new.metadata)
    if new.expires_at is not None:
        memory.set_expires_at(new.expires_at)
    _add_all(memory, new.tags, new.related, new.parents, new.evidence)


def _mark(memory: MemoryDocument, new: NewMemory, writer: str) -> None:
    """Note who taught the text, once somebody has named a source; merging keeps all of them."""
    if new.source is not None:
        memory.add_evidence(provenance.mark(new.source))
    elif writer != memory.source_instance and provenance.is_marked(memory):
        memory.add_evidence(provenance.mark(writer))


def _add(memory: MemoryDocument, new: NewMemory) -> None:
    if new.content != memory.content:
        who = "only_add" if new.only_add else f"source {new.source!r}"
        raise InvalidValue(
            f"memory {memory.id!r} holds another text, from {memory.source_instance!r}, which "
            f"{who} does not replace; learn without an id, or update it"
        )
    known = memory.metadata
    missing = {key: value for key, value in new.metadata.items() if key not in known}
    if missing:
        memory.set_metadata(missing)
    _add_all(memory, new.tags, new.related, new.parents, new.evidence)


def _join(memory: MemoryDocument, new: NewMemory, *, now: datetime) -> None:
    if new.content != memory.content:
        memory.set_content(new.content)
    if new.memory_type is not None and new.memory_type != memory.memory_type:
        memory.set_memory_type(new.memory_type)
    if new.importance is not None and new.importance > memory.get_importance():
        memory.set_importance(new.importance)
    if new.confidence is not None and new.confidence > memory.get_confidence():
        memory.set_confidence(new.confidence)
    _write_metadata(memory, new.metadata)
    expired = memory.expires_at is not None and memory.expires_at <= now
    if new.expires_at != memory.expires_at and (new.expires_at is not None or expired):
        memory.set_expires_at(new.expires_at)
    if memory.archived:
        memory.set_archived(False)
    _add_all(memory, new.tags, new.related, new.parents, new.evidence)


def _write_metadata(memory: MemoryDocument, metadata: dict[str, Any]) -> None:
    known = memory.metadata
    changed = {
        key: value
        for key, value in metadata.items()
        if codec.canonical_json(known.get(key)) != codec.canonical_json(value)
    }
    if changed:
        memory.set_metadata(changed)


def _add_all(
    memory: MemoryDocument,
    tags: Iterable[str],
    related: Iterable[str],
    parents: Iterable[str],
    evidence: Iterable[str],
) -> None:
    present = set(memory.get_tags())
    for tag in tags:
        if tag not in present:
            memory.add_tag(tag)
    for memory_id in related:
        memory.add_related(memory_id)
    for memory_id in parents:
        memory.add_parent(memory_id)
    for item in evidence:
        memory.add_evidence(item)
