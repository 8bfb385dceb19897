"""A query as SQL: conditions over ``memory AS m`` with bound parameters."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from chrysalis_memory.backends.where import COMPARISONS, SQLConditions
from chrysalis_memory.query import Condition, Filter, Scalar, scalar

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


class Where(SQLConditions):
    """A query's conditions in PostgreSQL's SQL."""

    __slots__ = ()

    mark = "%s"
    not_archived = "NOT m.archived"

    def _add_type(self, types: Sequence[str]) -> None:
        self._add("m.memory_type = ANY(%s::text[])", list(types))

    def _add_episode(self, episode: str) -> None:
        self._add(
            f"m.episode = %s AND {beginning('m.episode', 300)} = {beginning('%s', 300)}",
            episode, episode,
        )  # fmt: skip

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
        elif operator in COMPARISONS:
            self._add_comparison(key, operator, scalar(condition.operand))
        else:
            self._add_membership(key, operator, condition.operands)

    def _add_comparison(self, key: str, operator: str, wanted: Scalar) -> None:
        number, text = parts(wanted)
        sign = COMPARISONS[operator]
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
