"""Replicas, as a shell sees them: sync, serve, backup, clone, quarantine, each a real process."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from chrysalis_memory import HybridLogicalClock, MemoryDocument, MemoryStorage
from tests.e2e import programs
from tests.e2e.killing import kill_rounds, states
from tests.e2e.programs import COMMAND, serving, start, url_of

Run = Callable[..., "subprocess.CompletedProcess[str]"]
DAY_US = 86_400_000_000


@pytest.fixture
def chrysalis(tmp_path: Path) -> Run:
    return lambda *arguments, **more: programs.run(tmp_path, *arguments, **more)


def fill(path: Path, *ids: str, clock: HybridLogicalClock | None = None) -> None:
    with MemoryStorage(path, path.stem, clock=clock) as storage:
        known = clock or HybridLogicalClock()
        storage.put_many(
            MemoryDocument(id=one, content=f"The content of {one}", clock=known) for one in ids
        )


def lines(done: "subprocess.CompletedProcess[str]") -> list[Any]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# Sync


def test_two_files_hold_the_same_after_a_sync(chrysalis: Run, tmp_path: Path):
    fill(tmp_path / "a.db", "tea", "milk")
    fill(tmp_path / "b.db", "cake")
    done = chrysalis("sync", "a.db", "b.db")
    again = chrysalis("sync", "a.db", "b.db", "--json")

    assert done.stdout == "sent 2, received 1, merged 1, quarantined 0; both hold the same\n"
    (report,) = lines(again)
    assert (report["sent"], report["received"], report["verified"]) == (0, 0, True)
    assert (report["messages"], report["pending"]) == (2, 0)
    assert states(tmp_path / "a.db") == states(tmp_path / "b.db")
    assert set(states(tmp_path / "a.db")) == {"tea", "milk", "cake"}


def test_what_arrives_is_found_by_meaning(chrysalis: Run, tmp_path: Path):
    fill(tmp_path / "a.db", "tea")
    chrysalis("sync", "new.db", "a.db")
    found = lines(chrysalis("recall", "content of tea", "--mode", "semantic", "--json",
                            "--db", "new.db"))  # fmt: skip

    assert [memory["id"] for memory in found] == ["tea"]


def test_a_file_and_a_served_file_hold_the_same_after_a_sync(chrysalis: Run, tmp_path: Path):
    fill(tmp_path / "a.db", "tea", "milk")
    fill(tmp_path / "b.db", "cake")
    with serving(tmp_path, "b.db", CHRYSALIS_TOKEN="hush") as url:
        refused = [
            chrysalis("sync", "a.db", url), chrysalis("sync", "a.db", url, "--token", "wrong")
        ]  # fmt: skip
        done = chrysalis("sync", "a.db", url, "--token", "hush")
        other = chrysalis("sync", "c.db", url, CHRYSALIS_TOKEN="hush")

    for one in refused:
        assert (one.returncode, one.stdout) == (1, "")
        assert "answered 401: a valid token is needed; give the token" in one.stderr
        assert one.stderr.count("\n") == 1
    assert done.stdout == "sent 2, received 1, merged 1, quarantined 0; both hold the same\n"
    assert other.stdout == "sent 0, received 3, merged 3, quarantined 0; both hold the same\n"
    assert states(tmp_path / "a.db") == states(tmp_path / "b.db") == states(tmp_path / "c.db")


def test_files_that_share_a_folder_come_to_hold_the_same(chrysalis: Run, tmp_path: Path):
    fill(tmp_path / "a.db", "tea", "milk")
    fill(tmp_path / "b.db", "cake")
    (tmp_path / "shared").mkdir()
    for name in ("a.db", "b.db", "a.db"):
        done = chrysalis("sync", name, "shared", CHRYSALIS_TOKEN="for others")
        assert done.returncode == 0, done.stderr

    assert done.stdout.startswith("sent 0, received 1, merged 1, quarantined 0; whether both hold")
    assert "the peer keeps no sums" in done.stdout
    assert states(tmp_path / "a.db") == states(tmp_path / "b.db")


def test_files_move_up_to_a_postgresql_store_and_down_again(
    chrysalis: Run, tmp_path: Path, postgres_url: str
):
    fill(tmp_path / "a.db", "tea", "milk")
    up = chrysalis("sync", "a.db", postgres_url)
    down = chrysalis("sync", "b.db", postgres_url)
    with MemoryStorage(postgres_url, "fleet") as fleet:
        fleet.update("tea", lambda memory: memory.set_content("Tea is at five"))
    both = [chrysalis("sync", name, postgres_url) for name in ("a.db", "b.db")]

    assert up.stdout == "sent 2, received 0, merged 0, quarantined 0; both hold the same\n"
    assert down.stdout == "sent 0, received 2, merged 2, quarantined 0; both hold the same\n"
    assert [one.stdout.partition(";")[2] for one in both] == [" both hold the same\n"] * 2
    assert states(tmp_path / "a.db") == states(tmp_path / "b.db")
    assert "Tea is at five" in states(tmp_path / "b.db")["tea"]


def test_a_peer_that_is_not_there_is_one_line_and_1(chrysalis: Run, tmp_path: Path):
    fill(tmp_path / "a.db", "tea")
    done = chrysalis("sync", "a.db", "http://127.0.0.1:9")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: http://127.0.0.1:9 cannot be reached now")
    assert done.stderr.count("\n") == 1


def test_what_past_syncs_came_to_is_shown_without_a_peer(chrysalis: Run, tmp_path: Path):
    fill(tmp_path / "a.db", "tea")
    before = chrysalis("sync", "a.db")
    chrysalis("sync", "a.db", "b.db")
    chrysalis("sync", "a.db", "http://127.0.0.1:9")
    told = chrysalis("sync", "a.db").stdout.splitlines()
    statuses = {one["peer"]: one for one in lines(chrysalis("sync", "a.db", "--json"))}
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"

    assert (before.stdout, before.stderr) == ("", "never synced\n")
    assert re.fullmatch(
        rf"{tmp_path}/b.db: {time}: sent 1, received 0, merged 0, quarantined 0; "
        "both hold the same", told[0],
    )  # fmt: skip
    assert re.match(
        rf"http://127.0.0.1:9: failed {time}; last success: never synced; .*cannot be", told[1]
    )
    assert statuses[f"{tmp_path}/b.db"]["verified"] is True
    assert statuses["http://127.0.0.1:9"]["failures"] == 1


def test_watching_syncs_again_and_again_until_it_is_stopped(chrysalis: Run, tmp_path: Path):
    fill(tmp_path / "a.db", "tea")
    fill(tmp_path / "b.db", "cake")
    with start(
        tmp_path, "sync", "a.db", "b.db", "--watch", CHRYSALIS_SYNC_SECONDS="0.02"
    ) as watching:
        assert watching.stdout is not None
        first = watching.stdout.readline()
        fill(tmp_path / "b.db", "milk")
        second = watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=60)

    assert first == "sent 1, received 1, merged 1, quarantined 0; both hold the same\n"
    assert second == "sent 0, received 1, merged 1, quarantined 0; both hold the same\n"
    assert (watching.returncode, errors) == (0, "")


def test_a_long_sync_shows_a_progress_bar_on_a_terminal(tmp_path: Path):
    fill(tmp_path / "b.db", *(f"m{n}" for n in range(1500)))
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "sync", "a.db", "b.db"], stdout=subprocess.PIPE, stderr=slave,
        cwd=tmp_path, env=programs.environment(tmp_path) | {"TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(slave)
        output, _ = process.communicate(timeout=60)
    shown = b""
    with contextlib.suppress(OSError):  # Linux says EIO where the other end has closed
        while part := os.read(master, 65_536):
            shown += part
    os.close(master)

    assert process.returncode == 0
    assert b"received 1,500, merged 1,500" in output
    assert b"syncing" in shown
    assert b"100%" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sync"], "Missing argument 'FILE'"),
        (["sync", "a.db", "--watch"], "name a PEER"),
        (["--db", "x.db", "sync", "a.db", "b.db"], "leave --db out"),
        (["--db", "x.db", "backup", "a.db", "b.db"], "leave --db out"),
        (["serve", "a.db", "--port", "70000"], "70000"),
        (["serve", "a.db", "--rate", "-1"], "--rate"),
        (["clone", "a.db"], "Missing argument 'TO'"),
    ],
)
def test_wrong_use_ends_with_2_and_says_what_is_wrong(
    chrysalis: Run, tmp_path: Path, arguments: list[str], message: str
):
    done = chrysalis(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["sync"], ["backup"], ["clone"], ["quarantine"]])
def test_a_memory_that_is_only_read_is_not_made(
    chrysalis: Run, tmp_path: Path, arguments: list[str]
):
    more = ["to.db"] if arguments[0] in ("backup", "clone") else []
    done = chrysalis(*arguments, "mistyped.db", *more)

    assert done.returncode == 1
    assert "there is no memory at 'mistyped.db'" in done.stderr
    assert list(tmp_path.iterdir()) == []


# Serve


def test_a_file_that_is_served_and_not_there_is_made(chrysalis: Run, tmp_path: Path):
    fill(tmp_path / "a.db", "tea")
    with serving(tmp_path, "hub.db") as url:
        chrysalis("sync", "a.db", url)

    assert set(states(tmp_path / "hub.db")) == {"tea"}


def test_a_served_file_is_written_and_searched_over_http(chrysalis: Run, tmp_path: Path):
    fill(tmp_path / "a.db", "tea")
    headers = {"authorization": "Bearer hush"}
    with (
        serving(tmp_path, "hub.db", "--agent", "hub", CHRYSALIS_TOKEN="hush") as url,
        httpx.Client(base_url=f"{url}/v1", headers=headers, timeout=20) as api,
    ):
        learned = api.post("/memories", json={"content": "Milk is in the fridge"})
        chrysalis("sync", "a.db", url, "--token", "hush")
        found = api.post("/recall", json={"query": "the content of tea"}).json()["memories"]
        held = api.get("/statistics").json()

    assert learned.status_code == 201
    assert found[0]["id"] == "tea"
    assert (held["agent"], held["memories"]) == ("hub", 2)
    assert set(states(tmp_path / "hub.db")) == {"tea", learned.json()["id"]}


def test_a_file_whose_embedder_is_not_here_is_served_for_syncing_alone(
    chrysalis: Run, tmp_path: Path
):
    other = {"CHRYSALIS_EMBEDDER": "hashing:64"}
    chrysalis("learn", "Tea is at four", "--db", "hub.db", **other)
    refused = chrysalis("serve", "hub.db", "--port", "0")
    with serving(tmp_path, "hub.db", "--sync-only") as url:
        done = chrysalis("sync", "a.db", url)
        statuses = [
            httpx.get(url + path).status_code for path in ("/v1/memories", "/", "/v1/health")
        ]

    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "embedder" in refused.stderr
    assert "received 1" in done.stdout
    assert statuses == [404, 404, 200]


def test_a_database_is_served_without_showing_its_password(
    chrysalis: Run, tmp_path: Path, postgres_url: str
):
    fill(tmp_path / "a.db", "tea")
    secret = f"{postgres_url}{'&' if '?' in postgres_url else '?'}password=hush"
    with start(tmp_path, "serve", secret, "--port", "0") as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        done = chrysalis("sync", "a.db", line.split(" on ")[1].strip())
        server.terminate()
        output, errors = server.communicate(timeout=60)

    assert "sent 1" in done.stdout
    assert "password=***" in line
    assert "hush" not in line + output + errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_closes_its_file_and_ends_well(
    tmp_path: Path, number: signal.Signals
):
    with start(tmp_path, "serve", "hub.db", "--port", "0") as server:
        url_of(server)
        server.send_signal(number)
        output, errors = server.communicate(timeout=60)

    assert (server.returncode, output, errors) == (0, "", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub.db"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "a token is needed"),
        (["--token", "two words"], "a token is one or more visible"),
        (["--host", "192.0.2.1", "--token", "t"], "requested address"),
    ],
)
def test_a_server_that_cannot_be_started_says_why_in_one_line(
    chrysalis: Run, tmp_path: Path, arguments: list[str], message: str
):
    done = chrysalis("serve", "hub.db", "--port", "0", *arguments)

    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


# Copies


def test_a_backup_holds_all_and_is_refused_where_a_file_is(chrysalis: Run, tmp_path: Path):
    fill(tmp_path / "a.db", "tea")
    done = chrysalis("backup", "a.db", "copy.db")
    again = chrysalis("backup", "a.db", "copy.db")

    assert done.stdout == "copied a.db to copy.db\n"
    assert (again.returncode, again.stdout) == (1, "")
    assert "exists already" in again.stderr
    assert states(tmp_path / "copy.db") == states(tmp_path / "a.db")


def test_a_backup_needs_no_embedder(chrysalis: Run, tmp_path: Path):
    chrysalis("learn", "Tea is at four", "--db", "a.db")
    done = chrysalis("backup", "a.db", "copy.db", "--json", CHRYSALIS_EMBEDDER="hashing:512")

    assert lines(done) == [{"path": "copy.db"}]


def test_a_clone_is_a_replica_of_its_own_that_syncs_with_its_origin(chrysalis: Run, tmp_path: Path):
    fill(tmp_path / "a.db", "tea")
    (cloned,) = lines(chrysalis("clone", "a.db", "b.db", "--json"))
    chrysalis("learn", "in a", "--db", "a.db")
    chrysalis("learn", "in b", "--db", "b.db")
    done = chrysalis("sync", "a.db", "b.db")
    second = chrysalis("clone", "a.db", "c.db")

    with MemoryStorage(tmp_path / "a.db") as a, MemoryStorage(tmp_path / "b.db") as b:
        assert b.replica == cloned["replica"] != a.replica
        assert a.count() == b.count() == 3
    assert done.stdout == "sent 1, received 1, merged 1, quarantined 0; both hold the same\n"
    assert re.fullmatch(r"[0-9a-f]{16}\n", second.stdout)
    assert second.stdout.strip() not in (a.replica, b.replica)


# Quarantine


def test_what_lies_in_the_future_is_listed_and_said_at_the_end(chrysalis: Run, tmp_path: Path):
    now = HybridLogicalClock().wall_us()
    clock = HybridLogicalClock(lambda: now + 3 * DAY_US)
    fill(tmp_path / "b.db", "later", clock=clock)
    nothing = chrysalis("sync", "a.db", "c.db")
    done = chrysalis("sync", "a.db", "b.db")
    (kept,) = lines(chrysalis("quarantine", "a.db", "--json"))
    table = chrysalis("quarantine", "a.db").stdout
    empty = chrysalis("quarantine", "c.db")

    assert "both hold the same" in nothing.stdout
    assert done.stdout.startswith("sent 0, received 1, merged 0, quarantined 1; whether both")
    assert (kept["id"], Path(kept["source"]).name) == ("later", "b.db")
    assert kept["stamp"].startswith(f"{clock_day(now + 3 * DAY_US)}T")
    assert re.search(r"lies in the future; it is merged from \d{4}-\d\d-\d\d", kept["reason"])
    assert "later" in table
    assert (empty.returncode, empty.stdout, empty.stderr) == (0, "", "nothing is kept apart\n")


def clock_day(stamp: int) -> str:
    from chrysalis_memory.wire import moment

    return f"{moment(stamp):%Y-%m-%d}"


# Kills


def test_whoever_is_killed_within_a_first_sync_loses_nothing(tmp_path: Path):
    hits = kill_rounds(tmp_path, 6, seed=7, memories=1_000)

    assert hits.total() == 6
