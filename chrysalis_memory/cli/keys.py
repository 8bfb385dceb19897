"""Commands on the key of an encrypted file; keys come from the environment or a prompt only."""

from __future__ import annotations

import os
import sys

import click

from chrysalis_memory.cli.output import print_json
from chrysalis_memory.cli.program import Options, cli, options_of
from chrysalis_memory.cli.session import refusals_told

_NEW = "CHRYSALIS_NEW_KEY"


@cli.command()
@options_of("no-db", "json")
@click.argument("file")
@click.option("--decrypt", is_flag=True, help="Leave FILE without a key.")
@click.pass_obj
def rekey(options: Options, file: str, decrypt: bool) -> None:
    """Encrypt FILE with another key, or for the first time.

    Its key is CHRYSALIS_KEY, the new one CHRYSALIS_NEW_KEY; on a terminal the new one is asked
    for. Nobody else may have the file open. Needs the extra "encryption".
    """
    if options.db is not None:
        raise click.UsageError("this command names its file as FILE; leave --db out")
    new = None if decrypt else os.environ.get(_NEW) or _asked()
    with refusals_told():
        from chrysalis_memory import MemoryStorage
        from chrysalis_memory.cli.settings import settings

        MemoryStorage.rekey(file, settings(options).config.key, new)
    if options.as_json:
        print_json({"path": file, "encrypted": not decrypt})
    else:
        click.echo(f"{file} {'is encrypted no more' if decrypt else 'has its new key'}")


def _asked() -> str:
    if not sys.stdin.isatty():
        raise click.UsageError(f"give the new key in {_NEW}; it is no argument")
    return click.prompt("New key", hide_input=True, confirmation_prompt=True, err=True)
