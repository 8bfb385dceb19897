"""A query as SQL: conditions over ``memory AS m`` with bound parameters."""

from collections.abc import Sequence
from typing import Any

from chrysalis_memory.backends.where import COMPARISONS, SQLConditions
from chrysalis_memory.query import Condition, Filter, Query, scalar


class Where(SQLConditions):
    """A query's conditions in SQLite's SQL.

    Args:
        query: The filter and the moment.
        leading: Whether the conditions are to find the memories. A tag's or key's memories are
            then listed once, where otherwise each memory that is looked at is looked up.
    """

    __slots__ = ("_metadata", "_tag")

    mark = "?"
    not_archived = "m.archived = 0"

    def __init__(self, query: Query, *, leading: bool = False) -> None:
        if leading:
            self._tag = "m.number IN (SELECT t.memory FROM tag t WHERE t.tag"
            self._metadata = "m.number IN (SELECT d.memory FROM metadata d WHERE d.key = ?"
        else:
            self._tag = "EXISTS (SELECT 1 FROM tag t WHERE t.memory = m.number AND t.tag"
            self._metadata = (
                "EXISTS (SELECT 1 FROM metadata d WHERE d.memory = m.number AND d.key = ?"
            )
        super().__init__(query)

    def _add_any(self, template: str, values: Sequence[Any]) -> None:
        self._add(template.format(", ".join("?" * len(values))), *values)

    def _add_type(self, types: Sequence[str]) -> None:
        self._add_any("m.memory_type IN ({})", types)

    def _add_episode(self, episode: str) -> None:
        self._add("m.episode = ?", episode)

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
        if operator in COMPARISONS:
            wanted = scalar(condition.operand)
            comparison = f"{of_key} AND d.kind = ? AND d.value {COMPARISONS[operator]} ?)"
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
