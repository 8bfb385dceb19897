"""JSON lines: each the fields of a new memory, as ``learn`` takes them."""

from collections.abc import Iterator
from pathlib import Path

from chrysalis_memory.importers import reading
from chrysalis_memory.importers.found import Found


def memories(path: Path, namespace: str) -> Iterator[Found]:
    """Iterate over the memories of a file.

    Args:
        path: The file.
        namespace: Where those belong that do not say it themselves; ``""`` leaves that open.

    Raises:
        InvalidDocument: a line that is no JSON object.
    """
    given = {"namespace": namespace} if namespace else {}
    for where, line in reading.lines(path):
        yield Found(where, given | reading.json_object(line, where))
