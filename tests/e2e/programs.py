"""Running the real program in processes of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "chrysalis_memory.cli")


def environment(folder: Path) -> dict[str, str]:
    """Return surroundings without the user's settings, in which texts are embedded at once."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return kept | {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CHRYSALIS_EMBEDDER": "hashing",
    }


def start(folder: Path, *arguments: str, **more: str) -> "subprocess.Popen[str]":
    """Start ``chrysalis`` in a folder."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8", cwd=folder, env=environment(folder) | more,
    )  # fmt: skip


def run(folder: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run ``chrysalis`` in a folder to its end."""
    process = start(folder, *arguments, **more)
    output, errors = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def url_of(server: "subprocess.Popen[str]") -> str:
    """Return what a server listens on, once it does."""
    assert server.stdout is not None
    line = server.stdout.readline()
    if " on http://" not in line:
        raise AssertionError(f"the server said {line!r} and {server.communicate()}")
    return line.split(" on ")[1].strip()


@contextmanager
def serving(folder: Path, *arguments: str, **more: str) -> Iterator[str]:
    """Run ``chrysalis serve`` on a free port; yields the URL."""
    with start(folder, "serve", *arguments, "--port", "0", **more) as server:
        try:
            yield url_of(server)
        finally:
            server.terminate()
            _, errors = server.communicate(timeout=60)
    assert (server.returncode, errors) == (0, "")
