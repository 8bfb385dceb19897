"""What commands print."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

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

    output = Console()
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
