"""What to look for: conditions on memories, all of which must hold."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, Self, TypedDict, cast, get_args

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    WithJsonSchema,
)

from chrysalis_memory import codec, provenance, wire
from chrysalis_memory.codec import shown
from chrysalis_memory.crdt.score_register import check_score
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.provenance import Among

Order = Literal["created", "recent", "importance"]
"""Oldest first, newest first, or most important first; ties by id."""

Kind = Literal["number", "string", "boolean", "json"]


def check_page(order: object, limit: object, offset: object) -> None:
    """Check how a list is asked for.

    Raises:
        InvalidValue: an order that is unknown, a limit below 1, a negative offset.
    """
    if order not in get_args(Order):
        names = ", ".join(map(repr, get_args(Order)))
        raise InvalidValue(f"order is one of {names}; got {shown(order)}")
    if limit is not None:
        wire.check_limit(limit, what="limit")
    if type(offset) is not int or offset < 0:
        raise InvalidValue(f"offset must be an integer of 0 or more, got {shown(offset)}")


class Scalar(NamedTuple):
    """A metadata value as stores compare it: only values of one kind compare with one another."""

    kind: Kind
    value: float | int | str


def scalar(value: Any) -> Scalar:
    """Return a JSON value other than null as a kind and a comparable value."""
    if isinstance(value, bool):
        return Scalar("boolean", int(value))
    if isinstance(value, int | float):
        return Scalar("number", value)
    if isinstance(value, str):
        return Scalar("string", value)
    return Scalar("json", codec.canonical_json(value))


class Condition(NamedTuple):
    """One condition on one metadata key."""

    key: str
    operator: str
    operand: Any

    def holds(self, metadata: Mapping[str, Any]) -> bool:
        """Tell whether the condition holds; a key that is absent equals ``None``."""
        value = metadata.get(self.key)
        found = None if value is None else scalar(value)
        if self.operator in _COMPARISONS:
            operand = scalar(self.operand)
            return (
                found is not None
                and found.kind == operand.kind
                and _COMPARISONS[self.operator](found.value, operand.value)
            )
        if self.operator == "$exists":
            return (found is not None) == self.operand
        wanted = [None if item is None else scalar(item) for item in self.operands]
        return (found in wanted) == (self.operator in ("$eq", "$in"))

    @property
    def operands(self) -> list[Any]:
        """The values that ``$eq $ne $in $nin`` compare with."""
        return list(self.operand) if self.operator in ("$in", "$nin") else [self.operand]


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}
OPERATORS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists")


def _checked_condition(key: str, operator: str, operand: Any) -> Condition:
    if operator not in OPERATORS:
        raise ValueError(f"metadata operator {operator!r} is unknown; use {' '.join(OPERATORS)}")
    codec.canonical_json(operand)
    if operator in ("$in", "$nin") and not isinstance(operand, list | tuple):
        raise ValueError(f"{operator} takes a list, got {shown(operand)}")
    if operator == "$exists" and not isinstance(operand, bool):
        raise ValueError(f"$exists takes True or False, got {shown(operand)}")
    if operator in _COMPARISONS and scalar(operand).kind not in ("number", "string"):
        raise ValueError(f"{operator} compares numbers or strings, got {shown(operand)}")
    return Condition(wire.check_name(key, what="metadata key"), operator, operand)


def _conditions(metadata: object) -> object:
    if not isinstance(metadata, Mapping):
        return metadata
    found: list[Condition] = []
    for key, wanted in cast("Mapping[Any, Any]", metadata).items():
        operators: dict[str, Any] = {"$eq": wanted}
        if isinstance(wanted, Mapping) and any(str(name).startswith("$") for name in wanted):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
            operators = cast("dict[str, Any]", wanted)
        found += [_checked_condition(key, name, operand) for name, operand in operators.items()]
    return tuple(found)


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def refused(error: ValidationError, *, what: str = "") -> InvalidValue:
    """Return pydantic's first complaint as this package's error."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return InvalidValue(f"{what}{where}: {first['msg']}")


# What the checks accept, said in JSON Schema for whoever describes a face by these models.
_NAME = {"type": "string", "minLength": 1, "maxLength": wire.NAME_CHARACTERS_MAX}

Name = Annotated[
    str,
    BeforeValidator(lambda value: wire.check_name(value, what="name")),
    WithJsonSchema(_NAME),
]
Names = Annotated[tuple[Name, ...], BeforeValidator(_one_or_many)]
MemoryType = Annotated[
    str,
    BeforeValidator(wire.check_memory_type),
    WithJsonSchema({"type": "string", "enum": list(wire.MEMORY_TYPES)}),
]
MemoryTypes = Annotated[tuple[MemoryType, ...], BeforeValidator(_one_or_many)]
Score = Annotated[
    float,
    BeforeValidator(check_score),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]
Namespace = Annotated[
    str,
    BeforeValidator(wire.check_namespace),
    WithJsonSchema({"type": "string", "maxLength": wire.NAME_CHARACTERS_MAX}),
]


def _written_out(value: object) -> object:
    """Refuse numbers: pydantic reads 2026 as so many seconds after 1970 began."""
    is_number = isinstance(value, int | float)
    if is_number or (isinstance(value, str) and _NUMBER.fullmatch(value.strip())):
        raise ValueError(f"a moment is written like 2026-11-22T09:30:00Z, got {shown(value)}")
    return value


_NUMBER = re.compile(r"[+-]?[\d._]+")
Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]


class Filter(BaseModel):
    """Conditions on memories, combined with AND; forgotten memories never match.

    Example:
        >>> Filter(tags_any=["preference"], metadata={"priority": {"$gte": 3}}).is_empty
        False
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: Namespace | None = None
    """Exactly this namespace; ``""`` is the root."""
    namespace_prefix: Namespace | None = None
    """This namespace and all below it, by whole segments."""
    memory_type: MemoryTypes | None = None
    """One type or several, any of which may match."""
    tags_all: Names = ()
    tags_any: Names = ()
    tags_none: Names = ()
    sources: Names = ()
    """One of these sources; a name that ends in ``*`` stands for all that begin so."""
    sources_none: Names = ()
    minimum_importance: Score | None = None
    minimum_confidence: Score | None = None
    metadata: Annotated[tuple[Condition, ...], BeforeValidator(_conditions)] = Field(default=())
    """Key to value, or key to operators ``$eq $ne $gt $gte $lt $lte $in $nin $exists``."""
    episode: Name | None = None
    created_from: Moment | None = None
    created_before: Moment | None = None
    updated_from: Moment | None = None
    updated_before: Moment | None = None
    include_archived: StrictBool = False
    include_expired: StrictBool = False

    @classmethod
    def of(cls, **conditions: Any) -> Self:
        """Build a filter from keyword arguments, leaving out those that are ``None``.

        Raises:
            InvalidValue: an unknown condition or a value that is refused.
        """
        try:
            return cls(**{k: v for k, v in conditions.items() if v is not None})
        except ValidationError as error:
            raise refused(error, what="filter ") from error

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked beyond the defaults."""
        return self == _EMPTY

    def matches(self, memory: MemoryDocument, *, now: datetime) -> bool:
        """Tell whether ``memory`` meets every condition at the moment ``now``."""
        return (
            not memory.is_forgotten
            and (self.include_archived or not memory.archived)
            and (self.include_expired or memory.expires_at is None or memory.expires_at > now)
            and self._matches_place(memory)
            and self._matches_tags(set(memory.get_tags()))
            and self._matches_source(memory.source_instance)
            and self._matches_scores_and_times(memory)
            and all(condition.holds(memory.metadata) for condition in self.metadata)
        )

    def _matches_place(self, memory: MemoryDocument) -> bool:
        prefix = self.namespace_prefix
        return (
            (self.namespace is None or memory.namespace == self.namespace)
            and (not prefix or f"{memory.namespace}/".startswith(f"{prefix}/"))
            and (self.memory_type is None or memory.memory_type in self.memory_type)
            and (self.episode is None or memory.episode == self.episode)
        )

    def _matches_tags(self, tags: set[str]) -> bool:
        return (
            tags.issuperset(self.tags_all)
            and (not self.tags_any or not tags.isdisjoint(self.tags_any))
            and tags.isdisjoint(self.tags_none)
        )

    def _matches_source(self, source: str) -> bool:
        return (
            not self.sources or provenance.any_covers(self.sources, source)
        ) and not provenance.any_covers(self.sources_none, source)

    def _matches_scores_and_times(self, memory: MemoryDocument) -> bool:
        return (
            memory.get_importance() >= (self.minimum_importance or 0)
            and memory.get_confidence() >= (self.minimum_confidence or 0)
            and _within(memory.created_at, self.created_from, self.created_before)
            and _within(memory.updated_at, self.updated_from, self.updated_before)
        )


def _within(moment: datetime | None, start: datetime | None, end: datetime | None) -> bool:
    if moment is None:
        return False
    return (start is None or moment >= start) and (end is None or moment < end)


_EMPTY = Filter()


class Conditions(TypedDict, total=False):
    """The fields of :class:`Filter` as keyword arguments."""

    namespace: str
    namespace_prefix: str
    memory_type: str | Sequence[str]
    tags_all: str | Sequence[str]
    tags_any: str | Sequence[str]
    tags_none: str | Sequence[str]
    sources: str | Sequence[str]
    sources_none: str | Sequence[str]
    minimum_importance: float
    minimum_confidence: float
    metadata: Mapping[str, Any]
    episode: str
    created_from: datetime
    created_before: datetime
    updated_from: datetime
    updated_before: datetime
    include_archived: bool
    include_expired: bool


class Query(NamedTuple):
    """A filter at a moment: the same query gives the same answer whenever it is run."""

    filter: Filter
    now_us: int
    """Microseconds since 1970, against which expiry is judged."""
    among: Among | None = None
    """Only memories of these sources, beyond what the filter says; ``None``: of all."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked beyond the defaults."""
        return self.among is None and self.filter.is_empty
