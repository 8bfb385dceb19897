"""A query as SQL: conditions over ``memory AS m`` with bound parameters."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from chrysalis_memory import wire
from chrysalis_memory.query import Condition, Filter, Query, Scalar, scalar

_COMPARISONS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
# An index holds the beginning of a text only: its entries are limited. What is less, begins with
# what is less or equal.
_BEGINNING = 100
_BEGINNINGS = {"$gt": ">=", "$gte": ">=", "$lt": "<=", "$lte": "<="}
_OF_TAG = "EXISTS (SELECT 1 FROM tag t WHERE t.memory = m.number AND t.tag"
_OF_KEY = "EXISTS (SELECT 1 FROM metadata d WHERE d.memory = m.number AND d.key = %s"


def parts(found: Scalar) -> tuple[Decimal | None, str | None]:
    """Return a metadata value as the columns ``number`` and ``text``, one of which it fills.

    Integers of 64 bits and floats compare exactly as decimals, and as nothing narrower.
    """
    if isinstance(found.value, str):
        return None, found.value
    return Decimal(found.value), None


class Where:
    """A conjunction of SQL conditions and their parameters.

    Args:
        query: The filter and the moment.
    """

    __slots__ = ("conditions", "parameters")

    def __init__(self, query: Query) -> None:
        self.conditions: list[str] = []
        self.parameters: list[Any] = []
        wanted = query.filter
        if not wanted.include_archived:
            self._add("NOT m.archived")
        if not wanted.include_expired:
            self._add("(m.expires_at IS NULL OR m.expires_at > %s)", query.now_us)
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

    def _add_place(self, wanted: Filter) -> None:
        if wanted.namespace is not None:
            self._add("m.namespace = %s", wanted.namespace)
        if prefix := wanted.namespace_prefix:
            # "0" follows "/", so this is the range of all segments below.
            self._add(
                "(m.namespace = %s OR (m.namespace > %s AND m.namespace < %s))",
                prefix, f"{prefix}/", f"{prefix}0",
            )  # fmt: skip
        if wanted.memory_type is not None:
            self._add("m.memory_type = ANY(%s::text[])", list(wanted.memory_type))
        if wanted.episode is not None:
            self._add(
                f"m.episode = %s AND {beginning('m.episode', 300)} = {beginning('%s', 300)}",
                wanted.episode, wanted.episode,
            )  # fmt: skip

    def _add_scores_and_times(self, wanted: Filter) -> None:
        if wanted.minimum_importance is not None:
            self._add("m.importance >= %s", wanted.minimum_importance)
        if wanted.minimum_confidence is not None:
            self._add("m.confidence >= %s", wanted.minimum_confidence)
        for condition, moment in (
            ("m.created_at >= %s", wanted.created_from),
            ("m.created_at < %s", wanted.created_before),
            ("m.updated_at >= %s", wanted.updated_from),
            ("m.updated_at < %s", wanted.updated_before),
        ):
            if moment is not None:
                self._add(condition, wire.microseconds(moment))

    def _add_tags(self, wanted: Filter) -> None:
        for tag in wanted.tags_all:
            self._add(f"{_OF_TAG} = %s)", tag)
        if wanted.tags_any:
            self._add(f"{_OF_TAG} = ANY(%s::text[]))", list(wanted.tags_any))
        if wanted.tags_none:
            self._add(f"NOT {_OF_TAG} = ANY(%s::text[]))", list(wanted.tags_none))

    def _add_condition(self, condition: Condition) -> None:
        key, operator = condition.key, condition.operator
        if operator == "$exists":
            self._add(f"{'' if condition.operand else 'NOT '}{_OF_KEY})", key)
        elif operator in _COMPARISONS:
            self._add_comparison(key, operator, scalar(condition.operand))
        else:
            self._add_membership(key, operator, condition.operands)

    def _add_comparison(self, key: str, operator: str, wanted: Scalar) -> None:
        number, text = parts(wanted)
        sign = _COMPARISONS[operator]
        if text is None:
            self._add(
                f"{_OF_KEY} AND d.kind = %s AND d.number {sign} %s)", key, wanted.kind, number
            )
            return
        self._add(
            f"{_OF_KEY} AND d.kind = %s AND d.text {sign} %s AND "
            f"{beginning('d.text')} {_BEGINNINGS[operator]} {beginning('%s')})",
            key, wanted.kind, text, text,
        )  # fmt: skip

    def _add_membership(self, key: str, operator: str, operands: Sequence[Any]) -> None:
        alternatives: list[str] = []
        parameters: list[Any] = []
        for operand in operands:
            if operand is None:
                alternatives.append(f"NOT {_OF_KEY})")
                parameters.append(key)
                continue
            wanted = scalar(operand)
            number, text = parts(wanted)
            if text is None:
                alternatives.append(f"{_OF_KEY} AND d.kind = %s AND d.number = %s)")
                parameters += [key, wanted.kind, number]
            else:
                alternatives.append(
                    f"{_OF_KEY} AND d.kind = %s AND d.text = %s "
                    f"AND {beginning('d.text')} = {beginning('%s')})"
                )
                parameters += [key, wanted.kind, text, text]
        either = f"({' OR '.join(alternatives) or 'FALSE'})"
        self._add(f"{'NOT ' if operator in ('$ne', '$nin') else ''}{either}", *parameters)


def beginning(expression: str, length: int = _BEGINNING) -> str:
    """Return the SQL of what an index holds of a text."""
    return f'"left"({expression}, {length})'
