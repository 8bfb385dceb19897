"""Node and the packages from npm that these tests run; ``make test-mcp`` installs them."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = "MCP_TOOLS"
"""The environment variable that says where they are."""

Node = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def tools() -> Path:
    if FOLDER not in os.environ:
        pytest.fail(f"{FOLDER} does not say where Node is; run: make test-mcp")
    return Path(os.environ[FOLDER]).absolute()


@pytest.fixture
def node(tools: Path, tmp_path: Path) -> Node:
    """Run the program of an npm package to its end: ``node("conformance", "server", ...)``."""

    def run(package: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environment = {"PATH": f"{tools / 'bin'}:{os.environ['PATH']}", "HOME": str(tmp_path)}
        return subprocess.run(
            [tools / "bin" / "node", program(tools, package), *arguments],
            capture_output=True, encoding="utf-8", timeout=120, cwd=tmp_path, env=environment,
        )  # fmt: skip

    return run


def program(tools: Path, package: str) -> Path:
    """Return the program that a package of MCP installs."""
    folder = tools / "node_modules" / "@modelcontextprotocol" / package
    names: dict[str, str] = json.loads((folder / "package.json").read_text())["bin"]
    return folder / next(iter(names.values()))
