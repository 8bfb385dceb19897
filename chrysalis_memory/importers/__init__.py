"""What other tools keep, read as memories to learn.

Every format has a module of its own, which reads and checks; nothing is stored here::

    source = importers.read("conversations.json")
    report = await memory.learn_each([found.fields for found in source.memories])

A file that is not what it should be raises :class:`InvalidDocument`, which names the file and the
place in it. What is valid there and still no memory, for example a text of 2 MB, is refused by
``learn_each``, one by one. Ids are derived from what is read: importing the same again joins. The
moment of a foreign message is kept in the metadata as ``"said_at"``, text in UTC, because a
memory's own times say when this store learned it. The source of what comes from text or from the
export of another tool is ``"import:FORMAT"``, unless it names one.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from chrysalis_memory.errors import InvalidDocument, InvalidValue
from chrysalis_memory.importers import chatgpt, claude, graph_lines, jsonl, mem0, reading, text
from chrysalis_memory.importers.found import Found, Source
from chrysalis_memory.importers.reading import Document

__all__ = ["FORMATS", "Format", "Found", "Source", "read"]

Format = Literal["text", "jsonl", "export", "chatgpt", "claude", "mem0", "graph"]
FORMATS: tuple[Format, ...] = get_args(Format)

_OF_DOCUMENTS: dict[str, Callable[[object, str, str], Iterator[Found]]] = {
    "chatgpt": chatgpt.memories, "claude": claude.memories, "mem0": mem0.memories
}  # fmt: skip
_MATCHES: dict[Format, Callable[[object], bool]] = {
    "chatgpt": chatgpt.matches, "claude": claude.matches, "mem0": mem0.matches
}  # fmt: skip
_OF_FILES: dict[str, Callable[[Path, str], Iterator[Found]]] = {
    "text": text.memories, "jsonl": jsonl.memories, "graph": graph_lines.memories
}  # fmt: skip
_HEAD_BYTES = 64 << 10


def read(path: str | Path, form: str = "auto", *, namespace: str = "") -> Source:
    """Read a file or a folder as memories to learn.

    Args:
        path: A file; for ``"text"`` also a folder; for ``"chatgpt"`` and ``"claude"`` also the zip
            file or the folder of the export.
        form: One of ``FORMATS``, or ``"auto"`` to go by what is in it; Markdown is known by name.
        namespace: Where the memories are to belong; ids depend on it.

    Returns:
        The format that was taken and the memories. What is wrong with the file may be raised while
        they are iterated over. For ``"export"`` there are none: ``AgentMemory.import_`` merges it.

    Raises:
        InvalidDocument: it is nothing that is known.
        InvalidValue: there is no such file, or no such format.
    """
    place = Path(path)
    if form not in ("auto", *FORMATS):
        raise InvalidValue(f"a format is one of auto, {', '.join(FORMATS)}; got {form!r}")
    if not place.exists():
        raise InvalidValue(f"there is nothing to import at {str(path)!r}")
    documents: Iterator[Document] | None = None
    if form == "auto":
        form, documents = _recognised(place)
    if form in _OF_DOCUMENTS:
        make = _OF_DOCUMENTS[form]
        found = (
            one
            for document in documents or reading.documents(place)
            for one in make(document.value, document.where, namespace)
        )
        return Source(form, _named(form, found))
    if place.is_dir() and form != "text":
        raise InvalidDocument(f"{place} is a folder, which {form!r} never is; name a file")
    found = _OF_FILES[form](place, namespace) if form in _OF_FILES else iter(())
    return Source(form, _named(form, found) if form == "text" else found)


def _named(form: str, memories: Iterator[Found]) -> Iterator[Found]:
    """Name the format as the source of memories that do not name one."""
    for one in memories:
        yield one._replace(fields={"source": f"import:{form}"} | one.fields)


def _recognised(place: Path) -> tuple[Format, Iterator[Document] | None]:
    """Return what a file is by what is in it, and what of it was parsed to know that."""
    if reading.holds_conversations(place):
        return _by_documents(place)
    if place.is_dir() or text.is_markdown(place):
        return "text", None
    with place.open("rb") as file:
        head = file.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head[:1] == b"{":
        by_line = _by_first_line(place)
        return (by_line, None) if by_line else _by_documents(place)
    return _by_documents(place) if head[:1] == b"[" else ("text", None)


def _by_first_line(place: Path) -> Format | None:
    where, line = next(reading.lines(place))
    try:
        first = reading.json_object(line, where)
    except InvalidDocument:  # it is one document on several lines, or no JSON; the parser tells
        return None
    if graph_lines.matches(first):
        return "graph"
    if _is_exported(first):
        return "export"
    return None if mem0.matches(first) else "jsonl"


def _is_exported(line: dict[str, Any]) -> bool:
    return {"format", "life"} <= line.keys()


def _by_documents(place: Path) -> tuple[Format, Iterator[Document]]:
    documents = list(reading.documents(place))
    for form, matches in _MATCHES.items():
        if any(matches(document.value) for document in documents):
            return form, iter(documents)
    raise InvalidDocument(
        f"{place} is JSON of no format that is known ({', '.join(FORMATS)}); "
        "if it is one of them, name it"
    )
