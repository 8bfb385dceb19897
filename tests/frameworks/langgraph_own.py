"""Runs LangGraph's own store tests against ``ChrysalisStore``.

They come from the source archives of the versions that are installed, which pip downloads, and go
to a temporary folder: nothing of them is kept here.
"""

import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

SUITES = {
    "langgraph-checkpoint": ["test_store.py"],
    "langgraph-checkpoint-sqlite": ["test_store.py", "test_async_store.py", "test_ttl.py"],
}
HERE = Path(__file__).parent


def main() -> int:
    with TemporaryDirectory() as folder:
        return max(run(name, files, Path(folder) / name) for name, files in SUITES.items())


def run(name: str, files: list[str], folder: Path) -> int:
    print(f"# {name} {version(name)}", flush=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
         "--dest", folder, f"{name}=={version(name)}"],
        check=True,
    )  # fmt: skip
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        top = packed.getnames()[0].split("/")[0]
        wanted = [one for one in packed.getmembers() if one.name.startswith(f"{top}/tests/")]
        packed.extractall(folder, members=wanted, filter="data")
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "langgraph_stores", "-o", "asyncio_mode=auto",
        "-o", "asyncio_default_fixture_loop_scope=function", "--timeout", "120",
        *(f"tests/{file}" for file in files),
    ]  # fmt: skip
    # Most of these stores are given no embedder; a model for each would only take time.
    environment = os.environ | {"PYTHONPATH": str(HERE), "CHRYSALIS_EMBEDDER": "hashing"}
    return subprocess.run(command, cwd=folder / top, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
