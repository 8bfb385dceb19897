"""Commands that write: learn, update, forget, erase, purge."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chrysalis_memory.cli.fields import description_options, given, standard_input
from chrysalis_memory.cli.output import bar, counted, one_line, print_json, print_records
from chrysalis_memory.cli.program import Options, cli, memory_options
from chrysalis_memory.cli.session import refusals_told, with_memory

if TYPE_CHECKING:
    from chrysalis_memory import AgentMemory, LearnReport, MemoryDocument
    from chrysalis_memory.purging import Purged


@cli.command()
@memory_options
@click.argument("content", required=False)
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              metavar="PATH", help="Read PATH instead of CONTENT.")  # fmt: skip
@click.option("--lines", is_flag=True, help="One memory a line, of the file or standard input.")
@click.option("--jsonl", is_flag=True,
              help="One memory a line, as a JSON object of its fields.")  # fmt: skip
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="A tag; may be repeated.")
@click.option("--id", metavar="ID", help="Identity. Default: made from the text.")
@click.option("--episode", metavar="ID", help="The conversation or log it is a turn of.")
@click.option("--position", type=int, metavar="N", help="Its place there.")
@click.option("--source", metavar="NAME",
              help="Where it comes from, as in web:example.com. Default: who writes.")  # fmt: skip
@description_options
@click.option("--unique", is_flag=True, help="Take a random id, which nobody can guess.")
@click.pass_obj
def learn(
    options: Options,
    content: str | None,
    file: Path | None,
    lines: bool,
    jsonl: bool,
    **fields: Any,
) -> None:
    """Store a memory and print its id.

    CONTENT is the text; "-" reads it from standard input. The same text learned twice is one
    memory that gains tags and importance. With --jsonl each line may say what the options say, and
    wins over them; lines that are refused are named on standard error, and the others are learned.
    """
    fields = given(fields)
    if lines and jsonl:
        raise click.UsageError("give --lines or --jsonl, not both")
    if (lines or jsonl) and "id" in fields:
        raise click.UsageError("many memories do not have one --id")
    if (file is not None or lines or jsonl) and content not in (None, "-"):
        raise click.UsageError("a file and standard input are read without CONTENT")
    if jsonl:
        _learn_json_lines(options, file, fields)
        return
    if content is None and file is None and not lines:
        raise click.UsageError("give a text, - for standard input, --file, --lines or --jsonl")
    text = content if content not in (None, "-") and not lines else _text(file)
    texts = [line for line in text.split("\n") if line.strip()] if lines else [text]

    async def work(memory: AgentMemory) -> list[str]:
        with bar("learning", shown=lines) as progress:
            return await memory.learn_many(
                [{"content": text} | fields for text in texts], progress=progress
            )

    ids = with_memory(options, work, must_exist=False)
    if options.as_json:
        for learned in ids:
            print_json({"id": learned})
    else:
        click.echo(f"learned {counted(len(ids))}" if lines else ids[0])


def _text(file: Path | None) -> str:
    if file is None:
        return standard_input()
    from chrysalis_memory.importers import reading

    with refusals_told():
        return reading.text(file).removesuffix("\n")


def _learn_json_lines(options: Options, file: Path | None, fields: dict[str, Any]) -> None:
    from chrysalis_memory.errors import InvalidDocument
    from chrysalis_memory.importers import reading

    lines: Iterable[tuple[str, bytes]]
    if file is None:
        text = standard_input().split("\n")
        lines = ((f"line {n}", line.encode()) for n, line in enumerate(text, 1) if line.strip())
    else:
        lines = reading.lines(file)
    found: list[tuple[str, dict[str, Any] | str]] = []
    with refusals_told():
        for place, line in lines:
            try:
                found.append((place, fields | reading.json_object(line, place)))
            except InvalidDocument as error:
                found.append((place, str(error).removeprefix(f"{place}: ")))
    learn_each(options, found)


def learn_each(
    options: Options, found: Sequence[tuple[str, dict[str, Any] | str]], **more: Any
) -> None:
    """Learn many memories each by itself, and say what became of them.

    Args:
        options: Of the command line.
        found: Where each stood, with its fields, or with the reason why it is refused already.
        **more: What else to print as JSON.
    """
    numbered = [(n, one) for n, (_, one) in enumerate(found) if not isinstance(one, str)]

    async def work(memory: AgentMemory) -> LearnReport:
        with bar("learning") as progress:
            return await memory.learn_each([one for _, one in numbered], progress=progress)

    report = with_memory(options, work, must_exist=False)
    reasons = {n: one for n, (_, one) in enumerate(found) if isinstance(one, str)}
    for number, reason in report.refused:
        reasons[numbered[number][0]] = reason.removeprefix(f"memory {number}: ")
    for n in sorted(reasons):
        click.echo(f"refused {found[n][0]}: {one_line(reasons[n])}", err=True)
    numbers = {
        "learned": len(report.learned), "joined": len(report.joined), "refused": len(reasons)
    }  # fmt: skip
    if options.as_json:
        print_json(more | numbers)
    else:
        click.echo(", ".join(f"{name} {number:,}" for name, number in numbers.items()))
    if reasons:
        raise click.exceptions.Exit(1)


@cli.command()
@memory_options
@click.argument("memory_id", metavar="ID")
@click.option("--content", metavar="TEXT", help='The new text; "-" reads standard input.')
@click.option("--add-tag", "add_tags", multiple=True, metavar="TAG",
              help="A tag to add; may be repeated.")  # fmt: skip
@click.option("--remove-tag", "remove_tags", multiple=True, metavar="TAG",
              help="A tag to remove; may be repeated.")  # fmt: skip
@description_options
@click.option("--never-expires", is_flag=True, help="Take the moment of expiry away.")
@click.option("--archive/--unarchive", "archived", default=None,
              help="Leave it out of recall, or take it in again.")  # fmt: skip
@click.pass_obj
def update(
    options: Options, memory_id: str, never_expires: bool, archived: bool | None, **changes: Any
) -> None:
    """Change a memory; what is not named stays as it is.

    --metadata KEY=null removes a key. Links and evidence are added to those that are there.
    """
    changes = given(changes)
    if never_expires and "expires_at" in changes:
        raise click.UsageError("give --expires-at or --never-expires, not both")
    if never_expires:
        changes["expires_at"] = None
    if archived is not None:
        changes["archived"] = archived
    if not changes:
        raise click.UsageError("name something to change")
    if changes.get("content") == "-":
        changes["content"] = standard_input()

    async def work(memory: AgentMemory) -> MemoryDocument:
        return await memory.update(memory_id, **changes)

    changed = with_memory(options, work)
    if options.as_json:
        print_records([changed])
    else:
        click.echo(changed.id)


@cli.command()
@memory_options
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def forget(options: Options, ids: tuple[str, ...]) -> None:
    """Forget memories for good, here and, by merging, everywhere.

    Ends with 1 if any of them was not there; the others are forgotten all the same.
    """

    async def work(memory: AgentMemory) -> list[bool]:
        return [await memory.forget(memory_id) for memory_id in wanted]

    wanted = list(dict.fromkeys(ids))
    outcomes = dict(zip(wanted, with_memory(options, work), strict=True))
    missing = [memory_id for memory_id, was_there in outcomes.items() if not was_there]
    if options.as_json:
        for memory_id, was_there in outcomes.items():
            print_json({"id": memory_id, "forgotten": was_there})
    else:
        click.echo(f"forgot {counted(len(outcomes) - len(missing))}")
    if missing:
        raise click.ClickException(f"there was no {', '.join(map(repr, missing))}")


@cli.command()
@memory_options
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.pass_obj
def erase(options: Options, ids: tuple[str, ...]) -> None:
    """Forget memories so that no byte of them is left in the file or its log.

    Other replicas do the same at their next sync. What was forgotten before can be erased, too. An
    ID that is unknown is refused, and then nothing is changed. Backups, exports and shared folders
    keep what they hold.
    """

    async def work(memory: AgentMemory) -> int:
        return await memory.erase(*wanted)

    wanted = list(dict.fromkeys(ids))
    with_memory(options, work)
    if options.as_json:
        for memory_id in wanted:
            print_json({"id": memory_id, "erased": True})
    else:
        click.echo(f"erased {counted(len(wanted))}")


@cli.command()
@memory_options
@click.option("--source", "sources", multiple=True, required=True, metavar="NAME",
              help="Whose memories; NAME* is any that begins so; may be repeated.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Forget nothing, and say what would be.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@click.pass_obj
def purge(options: Options, sources: tuple[str, ...], dry_run: bool, yes: bool) -> None:
    """Forget everything that a source taught, here and, by merging, everywhere.

    Archived and expired memories, too. What another source taught as well stays; so do the ids by
    which other memories link to what is forgotten.
    """
    if not (dry_run or yes):
        if options.as_json or not sys.stdin.isatty():
            raise click.UsageError("purging cannot be undone; give --yes, or --dry-run to look")
        would = _purge(options, sources, dry_run=True)
        click.confirm(f"Forget {counted(would.forgotten)} for good?", abort=True, err=True)
    purged = _purge(options, sources, dry_run=dry_run)
    if options.as_json:
        print_json({"dry_run": dry_run} | purged._asdict())
        return
    click.echo(f"{'would forget' if dry_run else 'forgot'} {counted(purged.forgotten)}")
    for number, what in (
        (len(purged.kept), "kept: another source taught the same"),
        (purged.linking, "still linking to what is forgotten"),
        (purged.written_into, "of other sources left as this one changed them"),
    ):
        if number:
            click.echo(f"{counted(number)} {what}")


def _purge(options: Options, sources: tuple[str, ...], *, dry_run: bool) -> Purged:
    async def work(memory: AgentMemory) -> Purged:
        with bar("looking" if dry_run else "forgetting") as progress:
            return await memory.purge(sources, dry_run=dry_run, progress=progress)

    return with_memory(options, work)
