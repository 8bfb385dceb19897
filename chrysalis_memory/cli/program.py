"""The program: its options, what stands before any command, and where it begins."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

EPILOG = """\b
Exit codes:
  0  done
  1  the memory or a file refused; one line on standard error says why
  2  the command was used wrongly

Every setting can also come from the environment: CHRYSALIS_PATH,
CHRYSALIS_EMBEDDER and so on. Pipes are read and written as UTF-8."""


@dataclass
class Options:
    """What every command understands, before or after its name."""

    db: str | None = None
    agent: str = "default"
    embedder: str | None = None
    as_json: bool = False
    given: bool = False
    """Whether any of them was given."""


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    options = context.ensure_object(Options)
    if value not in (None, False):
        setattr(options, str(parameter.name), value)
        options.given = True


_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "db": click.option("--db", metavar="PATH", callback=_keep, expose_value=False,
                       help="A file or postgresql:// URL. Default: the agent's file."),
    "agent": click.option("--agent", metavar="ID", callback=_keep, expose_value=False,
                          help="Whose memory it is, and who writes. Default: default."),
    "embedder": click.option("--embedder", metavar="NAME", callback=_keep, expose_value=False,
                             help="What makes vectors. Default: minilm."),
    "json": click.option("--json", "as_json", is_flag=True, callback=_keep, expose_value=False,
                         help="Print JSON lines."),
}  # fmt: skip


def options_of(*names: str) -> Callable[[Command], Command]:
    """Return a decorator that adds options which every command understands alike."""

    def add(command: Command) -> Command:
        for name in reversed(names):
            command = _OPTIONS[name](command)
        return command

    return add


memory_options = options_of("db", "agent", "embedder", "json")
"""Adds the options that say which memory is meant and how to print."""


@click.group(epilog=EPILOG, context_settings={"max_content_width": 100})
@memory_options
@click.version_option(package_name="chrysalis-memory", prog_name="chrysalis")
def cli() -> None:
    """Semantic memory for agents: one file, offline, found by meaning, merged without conflict."""


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper) and not stream.isatty():
            stream.reconfigure(encoding="utf-8")
    cli(prog_name="chrysalis")
