"""The shape of a living memory's bytes once they are unpacked.

A store holds what this package has checked and written, so all that is asked of it is what every
use of a state takes for granted: types, lengths and ranges, down to the last entry. pydantic's core
does that in 5 µs, a quarter of what Python takes.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from chrysalis_memory.codec import shown
from chrysalis_memory.crdt.clock import STAMP_MAX
from chrysalis_memory.crdt.counts import COUNT_MAX
from chrysalis_memory.errors import InvalidDocument

LIFE_MAX = 2**31
"""Causal lengths stay below this."""

_Life = Annotated[int, Field(gt=0, lt=LIFE_MAX)]
_Stamp = Annotated[int, Field(ge=0, lt=STAMP_MAX)]
_Score = Annotated[float, Field(ge=0, le=1)]
_Text = tuple[_Stamp, str, str]
_Texts = dict[str, _Text]
_Number = tuple[_Stamp, str, _Stamp | None]
_Entries = dict[str, tuple[_Stamp, _Score, _Stamp]]
_Elements = tuple[str, ...]
_Counts = dict[str, Annotated[int, Field(gt=0, lt=COUNT_MAX)]]

_FORGOTTEN = tuple[int, str, _Life]
_FORGOTTEN_PARTS = 3
_LIVING = tuple[
    int,  # the format
    str,  # the id
    _Life,
    tuple[_Stamp, str],  # created
    _Text,  # content
    _Text | None,  # memory_type
    _Text | None,  # namespace
    tuple[_Stamp, str, str | None] | None,  # episode
    _Number | None,  # position
    _Number | None,  # expires_at
    tuple[_Stamp, str, bool] | None,  # archived
    _Texts,  # metadata
    dict[str, _Entries],  # tags
    _Entries,  # importance
    _Entries,  # confidence
    _Elements,  # related
    _Elements,  # parents
    _Elements,  # evidence
    _Counts,  # clock
    _Counts,  # access
    _Texts,  # extra
]
_STRICT = ConfigDict(strict=True)
_forgotten = TypeAdapter(_FORGOTTEN, config=_STRICT).validator
_living = TypeAdapter(_LIVING, config=_STRICT).validator


def check_shape(parts: Sequence[Any]) -> None:
    """Check the parts of canonical bytes, whose format is known.

    Raises:
        InvalidDocument: a part is none of a memory.
    """
    is_alive = len(parts) > _FORGOTTEN_PARTS
    try:
        (_living if is_alive else _forgotten).validate_python(parts)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False)[0]
        raise InvalidDocument(
            f"part {'.'.join(map(str, wrong['loc']))} of {shown(parts[1])} is none of a memory: "
            f"{wrong['msg']}, got {shown(wrong['input'])}"
        ) from error
    if (parts[2] % 2 == 1) != is_alive:
        raise InvalidDocument(f"{shown(parts[1])} has not the parts of its life {shown(parts[2])}")
