"""Commands on a memory as a whole: demo, stats, check, reindex; embedders, completion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from chrysalis_memory.cli.output import (
    bar,
    console,
    counted,
    one_line,
    print_fields,
    print_json,
    print_table,
)
from chrysalis_memory.cli.program import (
    COMPLETION_VARIABLE,
    PROGRAM,
    Options,
    cli,
    memory_options,
    options_of,
)
from chrysalis_memory.cli.session import finish, memory_of, refusals_told, with_memory

if TYPE_CHECKING:
    from chrysalis_memory import AgentMemory
    from chrysalis_memory.repair import RepairReport

SHELLS = ("bash", "zsh", "fish")


@cli.command()
@click.pass_obj
def demo(options: Options) -> None:
    """Show everything at work: learn, recall, explain, merge.

    A conversation that ships with the package is learned in a temporary folder; offline.
    """
    if options.given:
        raise click.UsageError("demo uses memories of its own and takes no options")
    from chrysalis_memory.demo import run

    finish(run(console()))


@cli.command()
@memory_options
@click.pass_obj
def stats(options: Options) -> None:
    """Show what the memory holds."""

    async def work(memory: AgentMemory) -> dict[str, Any]:
        held = await memory.statistics(measure_index=True)
        space = held.space
        return {
            "agent": memory.agent_id,
            "path": str(memory.storage.path),
            "replica": held.replica,
            "memories": held.memories,
            "embedder": None if space is None else space.fingerprint,
            "dimension": None if space is None else space.dimension,
            "pending": held.pending,
            "index_recall_at_10": held.index_recall,
            "size_bytes": held.size_bytes,
            "tags": dict(held.tags),
        }

    held = with_memory(options, work)
    if options.as_json:
        print_json(held)
        return
    tags = ", ".join(f"{tag} {number}" for tag, number in held.pop("tags").items())
    print_fields({**held, "tags": tags})


@cli.command()
@memory_options
@click.option("--repair", "mends", is_flag=True, help="Make anew what is wrong, and check again.")
@click.pass_obj
def check(options: Options, mends: bool) -> None:
    """Check that the memory is whole; changes nothing without --repair.

    Every memory is read: whether its state is what was written, whether what it is found by is made
    of it, and whether the sums that replicas compare are right. A file is checked by SQLite too.
    --repair makes anew all that is derived from the states; a state that cannot be read is kept
    apart and never deleted. No embedder is used: what lost its vector waits for another.
    Ends with 1 if something is wrong.
    """
    from chrysalis_memory.repair import check_store

    memory = memory_of(options)
    with refusals_told(), bar("checking") as progress:
        done = check_store(memory.path, mends=mends, progress=progress, key=memory.config.key)
    report = done.left
    if options.as_json:
        print_json(
            {
                "checked": report.checked,
                "problems": [problem._asdict() for problem in report.problems],
                "mended": done.mended,
                "set_apart": done.set_apart,
                "unreadable": report.unreadable,
                **report.upkeep._asdict(),
            }
        )
    else:
        _print_check(done)
    if report.problems:
        raise click.ClickException("the memory is not whole; docs/cli.md says what helps")


def _print_check(done: RepairReport) -> None:
    report, upkeep = done.left, done.left.upkeep
    for memory_id in done.set_apart:
        click.echo(f"memory {memory_id!r}: its state cannot be read and was kept apart; a sync "
                   "with a replica that has it brings it back")  # fmt: skip
    for problem in report.problems:
        whose = "" if problem.memory is None else f"memory {problem.memory!r}: "
        click.echo(f"{whose}{one_line(problem.what)}")
    if done.mended:
        click.echo(f"mended {counted(done.mended)}")
    click.echo(f"checked {counted(report.checked)}, {len(report.problems):,} wrong")
    told = [f"{upkeep.waiting:,} vectors still to be made"] if upkeep.waiting else []
    if upkeep.log_bytes:
        told.append(f"a log of {upkeep.log_bytes:,} bytes")
    if upkeep.quarantined:
        told.append(f"{upkeep.quarantined:,} in quarantine")
    if report.unreadable:
        told.append(f"{report.unreadable:,} that could not be read kept apart")
    if told:
        click.echo("no fault: " + ", ".join(told))


@cli.command()
@memory_options
@click.pass_obj
def reindex(options: Options) -> None:
    """Rebuild indexes and embed what waits.

    With --embedder every memory is embedded by that one, if another made the file's vectors.
    """
    # Only an embedder named here and now may replace the file's: a default must not.
    change = "refuse" if options.embedder is None else "reindex"
    embedded = 0
    with bar("embedding") as show:

        def count(done: int, total: int) -> None:
            nonlocal embedded
            embedded = done
            show(done, total)

        async def work(memory: AgentMemory) -> str:
            nonlocal embedded
            embedded += await memory.reindex(progress=show)
            space = (await memory.statistics()).space
            return "no embedder" if space is None else space.fingerprint

        fingerprint = with_memory(options, work, progress=count, on_embedder_change=change)
    if options.as_json:
        print_json({"embedded": embedded, "embedder": fingerprint})
    else:
        click.echo(f"indexes rebuilt, {counted(embedded)} embedded by {fingerprint}")


@cli.command()
@options_of("json")
@click.pass_obj
def embedders(options: Options) -> None:
    """List what can make vectors, whether it is installed, and what installs it."""
    from embedders.resolve import providers

    rows = [
        {"name": one.form, "installed": one.installed, "install": one.install}
        for one in providers()
    ]
    if options.as_json:
        for row in rows:
            print_json(row)
    else:
        print_table(rows)


@cli.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands and options.

    \b
    bash  eval "$(chrysalis completion bash)"      in ~/.bashrc
    zsh   eval "$(chrysalis completion zsh)"       in ~/.zshrc
    fish  chrysalis completion fish | source       in ~/.config/fish/config.fish
    """  # noqa: D301 - click reads the backspace
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is None:
        raise click.ClickException(f"click does not know {shell!r}")
    click.echo(made(cli, {}, PROGRAM, COMPLETION_VARIABLE).source())
