"""Commands on replicas: sync, serve, back up, clone, and what is kept apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chrysalis_memory.cli.output import bar, one_line, print_json, print_table
from chrysalis_memory.cli.program import Options, cli, options_of
from chrysalis_memory.cli.session import (
    embed_waiting,
    finish,
    refusals_told,
    token_of,
    until_stopped,
    waiting,
    with_memory,
    with_store,
)

if TYPE_CHECKING:
    from chrysalis_memory import AgentMemory, MemoryStorage, PeerStatus, SyncReport
    from chrysalis_memory.embedding_queue import Progress

Command = TypeVar("Command", bound=Callable[..., Any])

_VERIFIED = {
    True: "both hold the same",
    False: "they do not hold the same yet; sync again",
    None: "whether both hold the same cannot be told now: something is kept apart, has changed "
    "meanwhile, or the peer keeps no sums",
}


def _file(command: Command) -> Command:
    return click.argument("file")(command)


_token = click.option(
    "--token", metavar="TOKEN",
    help="What a served memory asks for. Better in CHRYSALIS_TOKEN, where other users of this "
    "machine cannot see it.",
)  # fmt: skip


_token_of_server = click.option(
    "--token", metavar="TOKEN", envvar="CHRYSALIS_TOKEN",
    help="What every peer must give. Better in CHRYSALIS_TOKEN, where other users of this machine "
    "cannot see it.",
)  # fmt: skip


def _check(options: Options) -> None:
    if options.db is not None:
        raise click.UsageError("this command names its file as FILE; leave --db out")


@cli.command()
@options_of("no-db", "agent", "embedder", "json")
@_file
@click.argument("peer", required=False)
@_token
@click.option("--watch", is_flag=True, help="Go on syncing until stopped.")
@click.pass_obj
def sync(options: Options, file: str, peer: str | None, token: str | None, watch: bool) -> None:
    """Make FILE and PEER hold the same.

    PEER is another memory's file, a shared folder (folder:PATH), a place in an object store
    (s3://bucket/prefix), or the URL of a memory that "chrysalis serve" serves. Without PEER what
    past syncs came to is shown. A sync may be interrupted at any moment; the next one goes on from
    there. A served memory that asks for signed frames wants the key of this peer in
    CHRYSALIS_SYNC_KEY, or as sync_key in the file of settings. --watch syncs every minute, or as
    CHRYSALIS_SYNC_SECONDS says.
    """
    _check(options)
    if peer is None:
        if watch:
            raise click.UsageError("name a PEER to sync with")
        _show_statuses(options, file)
        return

    async def work(memory: AgentMemory) -> None:
        if watch:
            told = partial(_tell, options)
            await until_stopped(memory.keep_in_sync(peer, token=token, told=told))
            return
        with bar("syncing") as progress:
            report = await memory.sync(peer, token=token, progress=_shown(progress))
        _close(options, report, await embed_waiting(memory))

    with_memory(options, work, path=file, must_exist=False)


def _shown(progress: Progress) -> Callable[[SyncReport], None]:
    def show(report: SyncReport) -> None:
        done = report.received + report.sent
        progress(done, done + report.behind)

    return show


def _close(options: Options, report: SyncReport, pending: int) -> None:
    if options.as_json:
        print_json(asdict(report) | {"pending": pending})
    else:
        verified = _VERIFIED[report.verified]
        click.echo(f"{_numbers(report)}; {verified}{waiting(pending)}")


def _numbers(done: SyncReport | PeerStatus) -> str:
    refused = f", {done.refused:,} of those sent kept apart there" if done.refused else ""
    unread = f", {len(done.waiting):,} not read yet ({done.waiting[0]})" if done.waiting else ""
    return (
        f"sent {done.sent:,}, received {done.received:,}, merged {done.merged:,}, "
        f"quarantined {done.quarantined:,}{refused}{unread}"
    )


def _tell(options: Options, status: PeerStatus) -> None:
    if options.as_json:
        click.echo(status.model_dump_json())
    elif status.error is not None:
        click.echo(f"Warning: {one_line(status.error)}", err=True)
    elif status.sent or status.received or status.waiting:
        click.echo(f"{_numbers(status)}; {_VERIFIED[status.verified]}")


def _show_statuses(options: Options, file: str) -> None:
    statuses = with_memory(options, lambda memory: memory.sync_status(), path=file)
    if options.as_json:
        for status in statuses:
            click.echo(status.model_dump_json())
        return
    if not statuses:
        click.echo("never synced", err=True)
    for status in statuses:
        click.echo(f"{status.peer}: {_story(status)}")


def _story(status: PeerStatus) -> str:
    if status.error is not None:
        since = "never synced" if status.last_success is None else _at(status.last_success)
        return f"failed {_at(status.last_try)}; last success: {since}; {one_line(status.error)}"
    return f"{_at(status.last_try)}: {_numbers(status)}; {_VERIFIED[status.verified]}"


@cli.command()
@options_of("no-db", "agent", "embedder")
@_file
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Where to listen; an address that others can reach needs a token.")  # fmt: skip
@click.option("--port", default=8420, show_default=True, type=click.IntRange(0, 65_535),
              help="The port; 0 takes a free one.")  # fmt: skip
@_token_of_server
@click.option("--rate", default=50.0, show_default=True, type=click.FloatRange(min=0),
              help="How many requests a second one client may send; 0: any number.")  # fmt: skip
@click.option("--keys", metavar="FILE", envvar="CHRYSALIS_KEYS",
              help="Keys of the peers that may sync, one [name] each; see chrysalis keygen. Then "
              "frames must be signed, and the token lets nobody sync.")  # fmt: skip
@click.option("--sync-only", is_flag=True,
              help="No page, no API, no embedder: only what other replicas sync with.")  # fmt: skip
@click.pass_obj
def serve(
    options: Options,
    file: str,
    host: str,
    port: int,
    token: str | None,
    rate: float,
    keys: str | None,
    sync_only: bool,
) -> None:
    """Serve FILE until stopped: an explorer page, a JSON API, and the sync with other replicas.

    FILE may be a postgresql:// URL; a file that is not there is made. TLS is the task of a proxy
    before it. With --sync-only, what arrives gets its vector when an agent opens the file.
    """
    _check(options)
    if token is None:
        token = token_of(options)

    async def serving(memory: AgentMemory | MemoryStorage) -> None:
        from chrysalis_memory.servers.http import serve

        def ready(url: str) -> None:
            click.echo(f"serving {named(file)} on {url}")

        await until_stopped(
            serve(
                memory,
                host=host,
                port=port,
                token=token,
                keys=keyring,
                requests_per_second=rate,
                ready=ready,
            )
        )

    with refusals_told():
        from chrysalis_memory.database_url import named
        from chrysalis_memory.servers.http import check_address
        from chrysalis_memory.servers.keyring import Keyring

        keyring = None if keys is None else Keyring.read(keys)
        is_signed = sync_only and keyring is not None
        check_address(host, token=token, is_signed=is_signed)
    if sync_only:
        with_store(file, lambda storage: finish(serving(storage)), must_exist=False)
    else:
        with_memory(options, serving, path=file, must_exist=False)


@cli.command()
@options_of("json")
@click.argument("name")
@click.pass_obj
def keygen(options: Options, name: str) -> None:
    """Make a key for the peer NAME, to sign what it syncs with "chrysalis serve --keys FILE".

    Printed is what FILE says of the peer; append it there, and keep FILE to yourself (chmod 600).
    The last line, a comment, is what the peer sets.
    """
    from chrysalis_memory.replication.signing import PeerKey, new_secret

    secret = new_secret()
    with refusals_told():
        PeerKey(name, secret)
    if options.as_json:
        print_json({"name": name, "key": secret, "sync_key": f"{name}:{secret}"})
    else:
        click.echo(f'["{name}"]\nkey = "{secret}"\n# CHRYSALIS_SYNC_KEY={name}:{secret}')


@cli.command()
@options_of("no-db", "json")
@_file
@click.argument("to")
@click.pass_obj
def backup(options: Options, file: str, to: str) -> None:
    """Copy FILE to a new file TO, as of one moment, while others go on writing."""
    _check(options)

    with_store(file, lambda storage: storage.backup(to))
    if options.as_json:
        print_json({"path": to})
    else:
        click.echo(f"copied {file} to {to}")


@cli.command()
@options_of("no-db", "json")
@_file
@click.argument("to")
@click.pass_obj
def clone(options: Options, file: str, to: str) -> None:
    """Copy FILE to TO as a replica of its own, and print its id."""
    _check(options)

    replica = with_store(file, lambda storage: storage.clone(to))
    if options.as_json:
        print_json({"replica": replica, "path": to})
    else:
        click.echo(replica)


@cli.command()
@options_of("no-db", "json")
@_file
@click.pass_obj
def quarantine(options: Options, file: str) -> None:
    """List what FILE keeps apart because its stamps lie in the future.

    Such memories merge by themselves once their stamps are valid.
    """
    _check(options)

    def work(storage: MemoryStorage) -> list[dict[str, Any]]:
        from chrysalis_memory.syncing import kept_apart

        return [one.model_dump(mode="json") for one in kept_apart(storage)]

    kept = with_store(file, work)
    if options.as_json:
        for one in kept:
            print_json(one)
    elif not kept:
        click.echo("nothing is kept apart", err=True)
    else:
        print_table(kept)


def _at(moment: Any) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
