"""Memories as JSON lines: one whole document a line, forgotten ones too, merged on the way in."""

from collections.abc import Callable, Iterator
from pathlib import Path

from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import InvalidDocument, InvalidValue, StorageError
from chrysalis_memory.storage import MemoryStorage

_BATCH = 500
_LINE_BYTES_MAX = 16 << 20


def export(storage: MemoryStorage, path: Path) -> int:
    """Write every document to ``path``; return how many.

    The file appears whole or not at all: it is written beside its place and then moved there.

    Raises:
        StorageError: the file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    written = 0
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            for document in storage.states():
                file.write(document.to_json() + "\n")
                written += 1
        partial.replace(path)
    except OSError as error:
        raise StorageError(f"cannot export to {str(path)!r}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return written


def import_(
    storage: MemoryStorage,
    path: Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    check: Callable[[MemoryDocument], object] = lambda _: None,
) -> int:
    """Merge the documents of a file; return how many memories that changed.

    Every line is checked before the first is merged, so a bad file changes nothing. Importing the
    same file again changes nothing either.

    Args:
        storage: Where to.
        path: The file.
        progress: Called after each batch with how many lines are done and how many there are.
        check: Raises for a document that may not be merged.

    Raises:
        InvalidDocument: a line that is no document; the message names the line.
        InvalidValue: no such file.
    """
    if not path.is_file():
        raise InvalidValue(f"{str(path)!r} is no file to import")
    total = 0
    for document in _documents(path):
        check(document)
        total += 1
    changed = 0
    done = 0
    batch: list[MemoryDocument] = []
    for document in _documents(path):
        batch.append(document)
        if len(batch) == _BATCH or done + len(batch) == total:
            changed += storage.merge(batch)
            done += len(batch)
            batch = []
            if progress is not None:
                progress(done, total)
    return changed


def _documents(path: Path) -> Iterator[MemoryDocument]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LINE_BYTES_MAX + 1):
            number += 1
            if len(line) > _LINE_BYTES_MAX:
                raise InvalidDocument(f"{path}:{number}: a line of over {_LINE_BYTES_MAX:,} bytes")
            if not line.strip():
                continue
            try:
                yield MemoryDocument.from_json(line)
            except InvalidDocument as error:
                raise InvalidDocument(f"{path}:{number}: {error}") from error
