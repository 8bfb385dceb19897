"""Plain text and Markdown: notes in files and folders.

Of plain text every paragraph is a memory. Of Markdown every section is one, headed by its heading,
because a paragraph without its heading often does not say what it is about; a long section is
several, each under the heading. The file and the headings above are in the metadata.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from markdown_it import MarkdownIt

from chrysalis_memory.importers import reading
from chrysalis_memory.importers.found import Found

_MARKDOWN = (".md", ".markdown")
_PLAIN = (".txt", ".text")
_SECTION_CHARACTERS = 2000
"""Beyond it a section is split, between two of its blocks."""
_FRONT_MATTER_LINES_MAX = 200
# What stands inside of blocks stays as it is; three megabytes of brackets are 330 of tokens.
_BLOCKS = MarkdownIt().disable("inline")


class _Block(NamedTuple):
    line: int
    """Its first line, from 0."""
    text: str
    heading: str


class _Section(NamedTuple):
    line: int
    """That of its heading, from 0."""
    above: tuple[tuple[int, str], ...]
    """Its heading and those it stands under, with their levels, outermost first."""
    begin: int
    starts: list[int]
    """Where its blocks begin."""

    @property
    def level(self) -> int:
        return self.above[-1][0] if self.above else 0

    def block(self, line: int, text: str) -> _Block:
        heading = self.above[-1][1] if self.above else ""
        headed = "\n\n".join(filter(None, (heading, text)))
        return _Block(line, headed, " > ".join(title for _, title in self.above))


def is_markdown(path: Path) -> bool:
    """Tell whether a file is Markdown by its name; it may begin as JSON does, with a link."""
    return path.suffix.lower() in _MARKDOWN


def memories(path: Path, namespace: str) -> Iterator[Found]:
    """Iterate over the memories of a text, or of all texts of a folder and the folders in it.

    Of a folder, files that end in .md, .markdown, .txt or .text are read, in the order of their
    names. Passed over are hidden files and folders, links, and a text that came before.

    Args:
        path: The file or the folder.
        namespace: Where the memories belong; ``""`` leaves that open.

    Raises:
        InvalidDocument: a file that is not UTF-8, or too large.
    """
    known: set[str] = set()
    for file in _files(path):
        text = reading.text(file)
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        blocks = _sections(text) if is_markdown(file) else _paragraphs(text)
        for block in blocks:
            if block.text in known:
                continue
            known.add(block.text)
            metadata = {"file": name} | ({"heading": block.heading} if block.heading else {})
            fields: dict[str, Any] = {"content": block.text, "metadata": metadata}
            where = f"{file}:{block.line + 1}"
            yield Found(where, fields | ({"namespace": namespace} if namespace else {}))


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for one in sorted(path.iterdir()):
        if one.name.startswith(".") or one.is_symlink():
            continue
        if one.is_dir():
            yield from _files(one)
        elif one.suffix.lower() in _MARKDOWN + _PLAIN:
            yield one


def _paragraphs(text: str) -> Iterator[_Block]:
    start, lines = 0, list[str]()
    for number, line in enumerate([*_lines(text), ""]):
        if line.strip():
            start = start if lines else number
            lines.append(line)
        elif lines:
            yield _Block(start, "\n".join(lines).strip(), "")
            lines = []


def _sections(text: str) -> Iterator[_Block]:
    lines = _lines(text)
    start = _front_matter(lines)
    lines[:start] = [""] * start  # line numbers stay
    sections = _outline(lines)
    ends = [*(section.line for section in sections[1:]), len(lines)]
    levels = [*(section.level for section in sections[1:]), 0]
    for section, end, following in zip(sections, ends, levels, strict=True):
        if section.starts:
            yield from _parts(section, lines, end)
        elif section.above and following <= section.level:
            # Nothing but a heading, and nothing stands under it.
            yield section.block(section.line, "")


def _outline(lines: list[str]) -> list[_Section]:
    """Return what stands before the first heading, and then the section of each."""
    tokens = _BLOCKS.parse("\n".join(lines))
    sections = [_Section(0, (), 0, [])]
    for token, following in pairwise([*tokens, None]):
        if token is None or token.level or token.map is None:
            continue
        first, end = token.map
        if token.type == "heading_open" and following is not None:
            level = int(token.tag[1:])
            outer = tuple(one for one in sections[-1].above if one[0] < level)
            sections.append(_Section(first, (*outer, (level, following.content)), end, []))
        else:
            sections[-1].starts.append(first)
    return sections


def _parts(section: _Section, lines: list[str], end: int) -> Iterator[_Block]:
    """Iterate over a section, split between two blocks where it is long."""
    part, line = "", section.starts[0]
    bounds = [section.begin, *section.starts[1:], end]
    for first, following in pairwise(bounds):
        text = "\n".join(lines[first:following]).strip("\n").rstrip()
        if part and len(part) + len(text) > _SECTION_CHARACTERS:
            yield section.block(line, part)
            part, line = "", first
        part = f"{part}\n\n{text}" if part else text
    yield section.block(line, part)


def _lines(text: str) -> list[str]:
    """Split as Markdown does; ``splitlines`` knows more ends of lines."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _front_matter(lines: list[str]) -> int:
    """Return after how many lines the text begins: settings of a note stand before it."""
    if not lines or lines[0].rstrip() != "---":
        return 0
    for number, line in enumerate(lines[1:_FRONT_MATTER_LINES_MAX], 2):
        if line.rstrip() in ("---", "..."):
            return number
    return 0
