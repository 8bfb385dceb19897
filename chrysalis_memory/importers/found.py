"""What an importer gives."""

from collections.abc import Iterator
from typing import Any, NamedTuple


class Found(NamedTuple):
    """Something to learn, and where it stood."""

    place: str
    """For whoever must find it again: a file and a line, or a conversation and a message."""
    fields: dict[str, Any]
    """Those of a :class:`NewMemory`, not checked yet."""


class Source(NamedTuple):
    """What is to be imported."""

    form: str
    """The format that was taken."""
    memories: Iterator[Found]
