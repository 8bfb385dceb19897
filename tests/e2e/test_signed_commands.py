"""Signed frames, as a shell sees them: keys are made, served with, synced with, and never shown."""

import asyncio
import json
import signal
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from chrysalis_memory import MemoryDocument, MemoryStorage
from chrysalis_memory.replication import frames
from chrysalis_memory.replication.http import HttpTransport
from chrysalis_memory.replication.messages import Page, Sender, Since
from tests.e2e import programs
from tests.e2e.killing import states
from tests.e2e.programs import serving, start, url_of

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def chrysalis(tmp_path: Path) -> Run:
    return lambda *arguments, **more: programs.run(tmp_path, *arguments, **more)


@pytest.fixture
def keys(chrysalis: Run, tmp_path: Path) -> dict[str, str]:
    """Make ``keys.toml`` for three peers; return what each sets."""
    made = {name: chrysalis("keygen", name).stdout for name in ("ada", "bob", "watcher")}
    path = tmp_path / "keys.toml"
    path.touch(0o600)
    path.write_text("\n".join(made.values()))
    return {name: text.split("CHRYSALIS_SYNC_KEY=")[1].strip() for name, text in made.items()}


def fill(path: Path, *ids: str, **counts: int) -> None:
    with MemoryStorage(path, path.stem) as storage:
        for one in ids:
            document = MemoryDocument(id=one, content=f"The content of {one}")
            for replica, count in counts.items():
                document.record_access(replica, count)
            storage.put(document)
        storage.record_access(dict.fromkeys(ids, 2))


def test_a_key_is_printed_as_what_the_file_says_and_the_peer_sets(chrysalis: Run):
    done, other = chrysalis("keygen", "ada.laptop"), chrysalis("keygen", "ada.laptop", "--json")
    table, said = tomllib.loads(done.stdout), json.loads(other.stdout)
    secret = table["ada.laptop"]["key"]

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f'["ada.laptop"]\nkey = "{secret}"\n# CHRYSALIS_SYNC_KEY=ada.laptop:{secret}\n'
    )
    assert (len(bytes.fromhex(secret)), secret != said["key"]) == (32, True)
    assert said["sync_key"] == f"ada.laptop:{said['key']}"


def test_a_peer_without_a_plain_name_gets_no_key(chrysalis: Run):
    done = chrysalis("keygen", "two words")

    assert (done.returncode, done.stdout) == (1, "")
    assert "a peer is named by 1 to 64 letters" in done.stderr
    assert done.stderr.count("\n") == 1


def test_two_replicas_hold_the_same_through_a_hub_that_asks_for_signed_frames(
    chrysalis: Run, tmp_path: Path, keys: dict[str, str]
):
    fill(tmp_path / "a.db", "tea", "milk")
    fill(tmp_path / "b.db", "cake", "tea")
    with serving(tmp_path, "hub.db", "--keys", "keys.toml", "--sync-only") as url:
        done = [
            chrysalis("sync", f"{name[0]}.db", url, CHRYSALIS_SYNC_KEY=keys[name])
            for name in ("ada", "bob", "ada", "bob")
        ]

    assert [one.stderr for one in done] == [""] * 4
    assert done[0].stdout == "sent 2, received 0, merged 0, quarantined 0; both hold the same\n"
    assert done[3].stdout == "sent 0, received 0, merged 0, quarantined 0; both hold the same\n"
    assert states(tmp_path / "a.db") == states(tmp_path / "b.db") == states(tmp_path / "hub.db")
    with MemoryStorage(tmp_path / "hub.db") as hub:
        assert hub.get("tea").get_access_count() == 4


def test_a_key_may_stand_in_the_file_of_settings(
    chrysalis: Run, tmp_path: Path, keys: dict[str, str]
):
    fill(tmp_path / "a.db", "tea")
    settings = tmp_path / "config.toml"
    with serving(tmp_path, "hub.db", "--sync-only", CHRYSALIS_KEYS="keys.toml") as url:
        settings.write_text(f'[sync_key]\n"{url}" = "{keys["ada"]}"\n')
        done = chrysalis("sync", "a.db", url, CHRYSALIS_CONFIG="config.toml")

    assert done.stdout == "sent 1, received 0, merged 0, quarantined 0; both hold the same\n"


def test_whoever_has_no_key_or_another_is_told_in_one_line_and_shown_no_secret(
    chrysalis: Run, tmp_path: Path, keys: dict[str, str]
):
    fill(tmp_path / "a.db", "tea")
    with serving(
        tmp_path, "hub.db", "--keys", "keys.toml", "--sync-only", CHRYSALIS_TOKEN="hush"
    ) as url:
        given = [
            {},
            {"CHRYSALIS_TOKEN": "hush"},
            {"CHRYSALIS_SYNC_KEY": "ada:" + keys["bob"].partition(":")[2]},
            {"CHRYSALIS_SYNC_KEY": "eve:" + keys["bob"].partition(":")[2]},
            {"CHRYSALIS_SYNC_KEY": keys["bob"].partition(":")[2]},
            {"CHRYSALIS_SYNC_KEY": keys["bob"][:30]},
        ]
        done = [chrysalis("sync", "a.db", url, **one) for one in given]
        told = chrysalis("sync", "a.db")

    assert [(one.returncode, one.stdout, one.stderr.count("\n")) for one in done] == [
        (1, "", 1)
    ] * 6
    for one, message in zip(
        done,
        [
            "give the key of this peer (CHRYSALIS_SYNC_KEY)",
            "give the key of this peer (CHRYSALIS_SYNC_KEY)",
            "'ada' has another key here",
            "no peer is named 'eve'",
            "a sync key is the peer's name, a colon and the secret",
            "at least 32 random bytes",
        ],
        strict=True,
    ):
        assert message in one.stderr
    shown = "".join(one.stderr for one in done) + told.stdout + told.stderr
    secrets = ["hush", *(one.partition(":")[2] for one in keys.values()), keys["bob"][4:30]]
    assert [one for one in secrets if one in shown] == []
    assert states(tmp_path / "hub.db") == {}


def test_a_counter_of_another_is_refused_and_the_entry_says_who_may_relay(
    chrysalis: Run, tmp_path: Path, keys: dict[str, str]
):
    fill(tmp_path / "a.db", "tea", stranger=9)
    options = ("--keys", "keys.toml", "--sync-only", "--port", "0")
    with start(tmp_path, "serve", "hub.db", *options) as server:
        refused = chrysalis("sync", "a.db", url_of(server), CHRYSALIS_SYNC_KEY=keys["ada"])
        server.terminate()
        _, logged = server.communicate(timeout=60)
    before = states(tmp_path / "hub.db")
    path = tmp_path / "keys.toml"
    path.write_text(path.read_text().replace('["ada"]', '["ada"]\nrelays = true'))
    with serving(tmp_path, "hub.db", "--keys", "keys.toml", "--sync-only") as url:
        done = chrysalis("sync", "a.db", url, CHRYSALIS_SYNC_KEY=keys["ada"])

    assert (refused.returncode, refused.stdout) == (1, "")
    told = (
        "'ada' raises the use counter of replica 'stranger', which is not its own, to 9 for memory "
        "'tea'; let that replica sync itself, or say replicas = [...] or relays = true in the "
        "entry of 'ada'"
    )
    assert f"answered 403: {told}\n" in refused.stderr
    assert logged == f"a peer was refused: {told}\n"
    assert before == {}
    assert done.stdout == "sent 1, received 0, merged 0, quarantined 0; both hold the same\n"


async def test_who_waits_for_a_change_gets_it_signed_when_it_comes(
    tmp_path: Path, keys: dict[str, str]
):
    fill(tmp_path / "a.db", "tea")
    sender = Sender("w1", bytes(8), 0)
    with serving(tmp_path, "hub.db", "--keys", "keys.toml", "--sync-only") as url:
        transport = HttpTransport(url, key=keys["watcher"])
        first = frames.answer(await transport.pull(frames.encode(Since(sender, b"", 10))))
        assert isinstance(first, Page)
        waiting = asyncio.create_task(
            transport.pull(frames.encode(Since(sender, first.cursor, 10, wait_seconds=25)))
        )
        done = await asyncio.to_thread(
            programs.run, tmp_path, "sync", "a.db", url, CHRYSALIS_SYNC_KEY=keys["ada"]
        )
        page = frames.answer(await waiting)
        await transport.close()

    assert "both hold the same" in done.stdout
    assert isinstance(page, Page)
    assert [header.id for header in page.headers] == ["tea"]


async def test_what_is_learned_beside_a_sync_in_the_background_arrives_signed(
    tmp_path: Path, keys: dict[str, str]
):
    sender = Sender("w1", bytes(8), 0)
    with serving(tmp_path, "hub.db", "--keys", "keys.toml", "--sync-only") as url:
        background = {
            "CHRYSALIS_SYNC_WITH": url, "CHRYSALIS_SYNC_SECONDS": "0.02",
            "CHRYSALIS_SYNC_KEY": keys["bob"],
        }  # fmt: skip
        transport = HttpTransport(url, key=keys["watcher"])
        with serving(tmp_path, "b.db", **background) as other:
            first = frames.answer(await transport.pull(frames.encode(Since(sender, b"", 10))))
            assert isinstance(first, Page)
            since = Since(sender, first.cursor, 10, wait_seconds=25)
            async with httpx.AsyncClient() as client:
                learned = await client.post(
                    f"{other}/v1/memories", json={"content": "Tea is at four", "id": "tea"}
                )
            page = frames.answer(await transport.pull(frames.encode(since)))
        await transport.close()

    assert learned.status_code == 201
    assert isinstance(page, Page)
    assert [header.id for header in page.headers] == ["tea"]
    assert states(tmp_path / "hub.db") == states(tmp_path / "b.db")


def test_watching_goes_on_by_signed_frames(chrysalis: Run, tmp_path: Path, keys: dict[str, str]):
    fill(tmp_path / "a.db", "tea")
    fill(tmp_path / "b.db", "cake")
    with serving(tmp_path, "hub.db", "--keys", "keys.toml", "--sync-only") as url, start(
        tmp_path, "sync", "a.db", url, "--watch",
        CHRYSALIS_SYNC_SECONDS="0.02", CHRYSALIS_SYNC_KEY=keys["ada"],
    ) as watching:  # fmt: skip
        assert watching.stdout is not None
        first = watching.stdout.readline()
        chrysalis("sync", "b.db", url, CHRYSALIS_SYNC_KEY=keys["bob"])
        second = watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=60)

    assert first == "sent 1, received 0, merged 0, quarantined 0; both hold the same\n"
    assert second == "sent 0, received 1, merged 1, quarantined 0; both hold the same\n"
    assert (watching.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("mode", "text", "message"),
    [
        (0o644, None, "other users may read or write it (mode 644); run: chmod 600 keys.toml"),
        (0o600, "", "there is no key of any peer"),
        (0o600, "[ada]\nkey = 'short'", "at least 32 random bytes"),
    ],
)
def test_a_file_of_keys_that_is_refused_is_one_line_and_1(
    chrysalis: Run, tmp_path: Path, keys: dict[str, str], mode: int, text: str | None, message: str
):
    path = tmp_path / "keys.toml"
    if text is not None:
        path.write_text(text)
    path.chmod(mode)
    done = chrysalis("serve", "hub.db", "--port", "0", "--keys", "keys.toml")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert message in done.stderr
    assert not (tmp_path / "hub.db").exists()


def test_keys_let_a_server_for_syncing_alone_listen_where_others_reach_it(
    chrysalis: Run, tmp_path: Path, keys: dict[str, str]
):
    refused = chrysalis("serve", "hub.db", "--host", "0.0.0.0", "--keys", "keys.toml")
    options = ("--host", "0.0.0.0", "--port", "0", "--keys", "keys.toml", "--sync-only")
    with start(tmp_path, "serve", "hub.db", *options) as server:
        url = url_of(server)
        server.terminate()
        _, errors = server.communicate(timeout=60)

    assert "so a token is needed" in refused.stderr
    assert url.startswith("http://0.0.0.0:")
    assert (server.returncode, errors) == (0, "")
