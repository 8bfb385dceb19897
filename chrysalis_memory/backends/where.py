"""The part of a query's SQL that is the same on every engine."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from chrysalis_memory import provenance, wire
from chrysalis_memory.provenance import Among
from chrysalis_memory.query import Condition, Filter, Order, Query

COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
ORDERS: dict[Order, str] = {
    "created": "m.created_at, m.id",
    "recent": "m.created_at DESC, m.id DESC",
    "importance": "m.importance DESC, m.created_at, m.id",
}


class SQLConditions(ABC):
    """A conjunction of conditions over ``memory AS m``, and their parameters.

    Args:
        query: The filter and the moment.
    """

    __slots__ = ("conditions", "parameters")

    mark: ClassVar[str]
    """What stands for a parameter."""
    not_archived: ClassVar[str]

    def __init__(self, query: Query) -> None:
        self.conditions: list[str] = []
        self.parameters: list[Any] = []
        wanted = query.filter
        if not wanted.include_archived:
            self._add(self.not_archived)
        if not wanted.include_expired:
            self._add(f"(m.expires_at IS NULL OR m.expires_at > {self.mark})", query.now_us)
        if not wanted.is_empty:
            self._add_place(wanted)
            self._add_scores_and_times(wanted)
            self._add_tags(wanted)
            self._add_sources(wanted)
            for condition in wanted.metadata:
                self._add_condition(condition)
        if query.among is not None:
            self._add_among(query.among)

    @property
    def sql(self) -> str:
        """The condition, true for living memories that match."""
        return " AND ".join(["m.content IS NOT NULL", *self.conditions])

    def _add(self, condition: str, *parameters: Any) -> None:
        self.conditions.append(condition)
        self.parameters += parameters

    def _add_place(self, wanted: Filter) -> None:
        mark = self.mark
        if wanted.namespace is not None:
            self._add(f"m.namespace = {mark}", wanted.namespace)
        if prefix := wanted.namespace_prefix:
            # "0" follows "/" in every encoding, so this is the range of all segments below.
            self._add(
                f"(m.namespace = {mark} OR (m.namespace > {mark} AND m.namespace < {mark}))",
                prefix, f"{prefix}/", f"{prefix}0",
            )  # fmt: skip
        if wanted.memory_type is not None:
            self._add_type(wanted.memory_type)
        if wanted.episode is not None:
            self._add_episode(wanted.episode)

    def _add_sources(self, wanted: Filter) -> None:
        for patterns, negation in ((wanted.sources, ""), (wanted.sources_none, "NOT ")):
            if patterns:
                either = " OR ".join(self._covered(pattern) for pattern in patterns)
                self._add(f"{negation}({either})", *map(_compared, patterns))

    def _add_among(self, among: Among) -> None:
        cases = "".join(
            f"WHEN {self._covered(pattern)} THEN {int(belongs)} "
            for pattern, belongs in among.patterns
        )
        compared = [_compared(pattern) for pattern, _ in among.patterns]
        self._add(f"CASE {cases}ELSE {int(among.others)} END = 1", *compared)

    def _covered(self, pattern: str) -> str:
        """Return the condition that a pattern covers the source, with one parameter."""
        if pattern.endswith(provenance.ANY_ENDING):
            return f"substr(m.source, 1, {len(pattern) - 1}) = {self.mark}"
        return f"m.source = {self.mark}"

    def _add_scores_and_times(self, wanted: Filter) -> None:
        for comparison, value in (
            ("m.importance >=", wanted.minimum_importance),
            ("m.confidence >=", wanted.minimum_confidence),
        ):
            if value is not None:
                self._add(f"{comparison} {self.mark}", value)
        for comparison, moment in (
            ("m.created_at >=", wanted.created_from),
            ("m.created_at <", wanted.created_before),
            ("m.updated_at >=", wanted.updated_from),
            ("m.updated_at <", wanted.updated_before),
        ):
            if moment is not None:
                self._add(f"{comparison} {self.mark}", wire.microseconds(moment))

    @abstractmethod
    def _add_type(self, types: Sequence[str]) -> None: ...

    @abstractmethod
    def _add_episode(self, episode: str) -> None: ...

    @abstractmethod
    def _add_tags(self, wanted: Filter) -> None: ...

    @abstractmethod
    def _add_condition(self, condition: Condition) -> None: ...


def _compared(pattern: str) -> str:
    """Return what a source, or its beginning, is compared with."""
    return pattern.removesuffix(provenance.ANY_ENDING)
