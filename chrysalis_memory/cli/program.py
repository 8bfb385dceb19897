"""The program: its options, what stands before any command, and where it begins."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

PROGRAM = "chrysalis"
COMPLETION_VARIABLE = "_CHRYSALIS_COMPLETE"
STOPPED = 130
OUTPUT_CLOSED = 141

EPILOG = """\b
Exit codes:
  0    done
  1    the memory or a file refused; one line on standard error says why
  2    the command was used wrongly; one line on standard error says how
  130  stopped with Ctrl-C
  141  whoever read the output stopped reading

Every setting can also come from the environment (CHRYSALIS_PATH, CHRYSALIS_AGENT,
CHRYSALIS_EMBEDDER and so on) or from a file config.toml, which CHRYSALIS_CONFIG names. Options win
over the environment, and that over the file. Pipes are read and written as UTF-8."""


@dataclass
class Options:
    """What every command understands, before or after its name."""

    db: str | None = None
    agent: str | None = None
    embedder: str | None = None
    as_json: bool = False
    given: bool = False
    """Whether any of them was given."""


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    options = context.ensure_object(Options)
    if value not in (None, False):
        setattr(options, str(parameter.name), value)
        options.given = True


def _refuse_db(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError("this command names its file as FILE; leave --db out")


_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "db": click.option("--db", metavar="PATH", callback=_keep, expose_value=False,
                       help="A file or postgresql:// URL. Default: the agent's file."),
    "no-db": click.option("--db", callback=_refuse_db, expose_value=False, hidden=True),
    "agent": click.option("--agent", metavar="ID", callback=_keep, expose_value=False,
                          help="Whose memory it is, and who writes. Default: default."),
    "embedder": click.option("--embedder", metavar="NAME", callback=_keep, expose_value=False,
                             help="What makes vectors; see chrysalis embedders. Default: the "
                             "file's own, minilm for a new file."),
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
@click.version_option(package_name="chrysalis-memory", prog_name=PROGRAM)
def cli() -> None:
    """Semantic memory for agents: one file, offline, found by meaning, merged without conflict."""


def main() -> None:
    """Run the command line, and end with what became of it."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper) and not stream.isatty():
            stream.reconfigure(encoding="utf-8")
    try:
        code = _run()
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _end(error.exit_code, f"Error: {_said(error)}")
    except (click.Abort, KeyboardInterrupt):
        _end(STOPPED, "Stopped")
    except BrokenPipeError:
        _end(OUTPUT_CLOSED, None)
    sys.exit(code)


def _run() -> int:
    """Do what ``cli.main`` does, which has exit codes and lines of its own for how it ends."""
    completing = os.environ.get(COMPLETION_VARIABLE)
    if completing:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, PROGRAM, COMPLETION_VARIABLE, completing)
    try:
        with cli.make_context(PROGRAM, sys.argv[1:]) as context:
            cli.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    return 0


def _said(error: click.ClickException) -> str:
    from chrysalis_memory.cli.output import one_line

    said = one_line(error.format_message())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{said.rstrip('.')} (see {error.ctx.command_path} --help)"
    return said


def _end(code: int, line: str | None) -> NoReturn:
    with contextlib.suppress(OSError):
        if line is not None:
            click.echo(line, err=True)
    # What is still to be written goes nowhere: the interpreter would complain of it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
