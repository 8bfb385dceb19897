"""A query as SQL: conditions over ``memory AS m`` with bound parameters."""

from typing import Any

from chrysalis_memory import wire
from chrysalis_memory.query import Condition, Filter, Query, scalar

_COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


class Where:
    """A conjunction of SQL conditions and their parameters.

    Args:
        query: The filter and the moment.
        leading: Whether the conditions are to find the memories. A tag's or key's memories are
            then listed once, where otherwise each memory that is looked at is looked up.
    """

    __slots__ = ("_metadata", "_tag", "conditions", "parameters")

    def __init__(self, query: Query, *, leading: bool = False) -> None:
        if leading:
            self._tag = "m.number IN (SELECT t.memory FROM tag t WHERE t.tag"
            self._metadata = "m.number IN (SELECT d.memory FROM metadata d WHERE d.key = ?"
        else:
            self._tag = "EXISTS (SELECT 1 FROM tag t WHERE t.memory = m.number AND t.tag"
            self._metadata = (
                "EXISTS (SELECT 1 FROM metadata d WHERE d.memory = m.number AND d.key = ?"
            )
        self.conditions: list[str] = []
        self.parameters: list[Any] = []
        wanted = query.filter
        if not wanted.include_archived:
            self._add("m.archived = 0")
        if not wanted.include_expired:
            self._add("(m.expires_at IS NULL OR m.expires_at > ?)", query.now_us)
        if not wanted.is_empty:
            self._add_place(wanted)
            self._add_scores_and_times(wanted)
            self._add_tags(wanted)
            for condition in wanted.metadata:
                self._add_condition(condition)

    @property
    def sql(self) -> str:
        """The condition, true for living memories that match."""
        return " AND ".join(["m.content IS NOT NULL", *self.conditions])

    def _add(self, condition: str, *parameters: Any) -> None:
        self.conditions.append(condition)
        self.parameters += parameters

    def _add_any(self, template: str, values: tuple[Any, ...]) -> None:
        self._add(template.format(", ".join("?" * len(values))), *values)

    def _add_place(self, wanted: Filter) -> None:
        if wanted.namespace is not None:
            self._add("m.namespace = ?", wanted.namespace)
        if prefix := wanted.namespace_prefix:
            # "0" follows "/" in every encoding, so this is the range of all segments below.
            self._add(
                "(m.namespace = ? OR (m.namespace > ? AND m.namespace < ?))",
                prefix, f"{prefix}/", f"{prefix}0",
            )  # fmt: skip
        if wanted.memory_type is not None:
            self._add_any("m.memory_type IN ({})", wanted.memory_type)
        if wanted.episode is not None:
            self._add("m.episode = ?", wanted.episode)

    def _add_scores_and_times(self, wanted: Filter) -> None:
        if wanted.minimum_importance is not None:
            self._add("m.importance >= ?", wanted.minimum_importance)
        if wanted.minimum_confidence is not None:
            self._add("m.confidence >= ?", wanted.minimum_confidence)
        for condition, moment in (
            ("m.created_at >= ?", wanted.created_from),
            ("m.created_at < ?", wanted.created_before),
            ("m.updated_at >= ?", wanted.updated_from),
            ("m.updated_at < ?", wanted.updated_before),
        ):
            if moment is not None:
                self._add(condition, wire.microseconds(moment))

    def _add_tags(self, wanted: Filter) -> None:
        of_memory = self._tag
        for tag in wanted.tags_all:
            self._add(f"{of_memory} = ?)", tag)
        if wanted.tags_any:
            self._add_any(f"{of_memory} IN ({{}}))", wanted.tags_any)
        if wanted.tags_none:
            self._add_any(f"NOT {of_memory} IN ({{}}))", wanted.tags_none)

    def _add_condition(self, condition: Condition) -> None:
        of_key = self._metadata
        key, operator = condition.key, condition.operator
        if operator == "$exists":
            self._add(f"{'' if condition.operand else 'NOT '}{of_key})", key)
            return
        if operator in _COMPARISONS:
            wanted = scalar(condition.operand)
            comparison = f"{of_key} AND d.kind = ? AND d.value {_COMPARISONS[operator]} ?)"
            self._add(comparison, key, wanted.kind, wanted.value)
            return
        scalars = [scalar(value) for value in condition.operands if value is not None]
        pairs = ", ".join(["(?, ?)"] * len(scalars))
        alternatives = [f"{of_key} AND (d.kind, d.value) IN (VALUES {pairs}))"] if scalars else []
        parameters = [key, *(part for wanted in scalars for part in wanted)] if scalars else []
        if None in condition.operands:
            alternatives.append(f"NOT {of_key})")
            parameters.append(key)
        either = f"({' OR '.join(alternatives) or 'FALSE'})"
        self._add(f"{'NOT ' if operator in ('$ne', '$nin') else ''}{either}", *parameters)
