"""Writes the help of every command into docs/cli.md: ``python scripts/cli_docs.py``.

The part between the two marks is made of what the program says; a test fails where it is stale.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from chrysalis_memory.cli import cli

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
BEGIN = "<!-- made by scripts/cli_docs.py -->\n"
END = "<!-- end -->\n"
_WIDTH = 88


def with_help(page: str) -> str:
    """Return a page with the help of every command between its marks."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{''.join(_sections())}{END}{rest.partition(END)[2]}"


def _sections() -> Iterator[str]:
    program = click.Context(cli, info_name="chrysalis", terminal_width=_WIDTH)
    yield _section("chrysalis", cli.get_help(program))
    for name in cli.list_commands(program):
        command = cli.commands[name]
        context = click.Context(command, parent=program, info_name=name, terminal_width=_WIDTH)
        yield _section(f"chrysalis {name}", command.get_help(context))


def _section(name: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f"### {name}\n\n```\n{lines}\n```\n\n"


if __name__ == "__main__":
    written = with_help(PAGE.read_text(encoding="utf-8"))
    if sys.argv[1:] == ["--check"]:
        sys.exit("docs/cli.md is stale" if written != PAGE.read_text(encoding="utf-8") else 0)
    PAGE.write_text(written, encoding="utf-8")
