"""What commands print."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from chrysalis_memory import MemoryDocument
    from chrysalis_memory.embedding_queue import Progress

_WIDTH_WITHOUT_TERMINAL = 100


@contextmanager
def bar(label: str, *, shown: bool = True) -> Generator[Progress]:
    """Show on a terminal how far long work is."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    errors = Console(stderr=True)
    with Bar(console=errors, transient=True, disable=not (shown and errors.is_terminal)) as shows:
        task = shows.add_task(label, total=None)
        yield lambda done, total: shows.update(task, completed=done, total=total)


def console() -> Console:
    """Return what tables are printed with."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            """End as every other output does, where rich would end the process."""
            raise BrokenPipeError

    output = Output()
    if not output.is_terminal:
        output.width = _WIDTH_WITHOUT_TERMINAL
    return output


def counted(number: int) -> str:
    """Return how many memories, in words."""
    return f"{number:,} {'memory' if number == 1 else 'memories'}"


def one_line(error: BaseException | str) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON line."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_records(memories: Iterable[MemoryDocument]) -> None:
    """Print memories as JSON lines."""
    from chrysalis_memory.record import MemoryRecord

    for memory in memories:
        click.echo(MemoryRecord.of(memory).model_dump_json())


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print at least one row as a table whose columns are the keys of the first."""
    from rich import box
    from rich.table import Table

    from chrysalis_memory.tables import printable

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, value in rows[0].items():
        right = isinstance(value, int | float) and not isinstance(value, bool)
        justify = "right" if right else "left"
        table.add_column(name, justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(printable(_cell(value)) for value in row.values()))
    console().print(table)


def print_fields(fields: Mapping[str, object]) -> None:
    """Print names and whole values; a value may have several lines."""
    from rich.table import Table

    from chrysalis_memory.tables import printable_lines

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in fields.items():
        table.add_row(name.replace("_", " "), printable_lines(_cell(value)))
    console().print(table)


def _cell(value: object) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
