"""The Python blocks of the README and the docs run as printed; commands are as printed too."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from chrysalis_memory.cli import cli
from chrysalis_memory.cli.program import Options
from tests.faults.runs import every_run

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
# "print(x)  # value" promises the output, unless an ellipsis says it is only a sketch of it.
_PROMISE = re.compile(r"^\s*print\(.*\)\s+# (.+)$", re.MULTILINE)


def blocks() -> list[tuple[str, str]]:
    return [
        (f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 2}", match[1])
        for page in PAGES
        for text in [page.read_text()]
        for match in _BLOCK.finditer(text)
        if "await" in match[1] or "MemoryStorage" in match[1]
    ]


@pytest.mark.parametrize(("where", "code"), blocks(), ids=[where for where, _ in blocks()])
def test_a_block_runs_as_printed_and_prints_what_its_comments_say(
    where: str, code: str, tmp_path: Path
) -> None:
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, ""), where
    promised = [
        value for value in _PROMISE.findall(code) if "..." not in value and ", all" not in value
    ]
    assert [value for value in promised if value not in ran.stdout.splitlines()] == []


def command_lines() -> list[str]:
    return [
        line
        for page in PAGES
        for block in _SHELL_BLOCK.findall(page.read_text())
        for line in block.splitlines()
        if line.startswith("chrysalis ")
    ]


@pytest.mark.parametrize("line", command_lines())
def test_a_command_line_is_one_that_the_program_understands(line: str) -> None:
    _, name, *arguments = shlex.split(line, comments=True)
    cli.commands[name].make_context(name, arguments, obj=Options()).close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    missing = [
        link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()
    ]
    assert missing == []


def test_the_help_in_the_docs_is_what_the_program_says() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "cli_docs.py", "--check"],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), "run: python scripts/cli_docs.py"


def test_every_promise_names_tests_that_are_there() -> None:
    text = (ROOT / "docs" / "promises.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("- `tests/")]
    assert len(lines) > 20
    for line in lines:
        files = [ROOT / one for one in re.findall(r"`(tests/\S+\.py)`", line)]
        there = "".join(file.read_text() for file in files)
        named = re.findall(r"`(test_\w+)`", line)
        assert [name for name in named if f"def {name}(" not in there] == [], line


def test_the_table_of_faults_says_how_many_rounds_are_played() -> None:
    text = (ROOT / "docs" / "promises.md").read_text()
    told = re.findall(r"^\| `([^`]+)` \|.*\| ([\d,]+) \| ([\d,]+) \|$", text, re.MULTILINE)
    assert sorted(told) == [(run.name, f"{run.short:,}", f"{run.long:,}") for run in every_run()]
