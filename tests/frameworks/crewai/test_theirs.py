"""CrewAI's own tests of its memory, run on our storage in place of theirs.

They are unpacked from CrewAI's source distribution, of the version that is installed.
"""

import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

HERE = Path(__file__).parent

LEFT_OUT = {
    "test_unified_memory.py::test_lancedb_list_records_exceeding_scan_cap":
        "saves 52,000 records, to show a limit that LanceDB has",
}  # fmt: skip


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crewai")
    release = f"crewai=={version('crewai')}"
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:",
          "--dest", str(folder), release],
        check=True, capture_output=True,
    )  # fmt: skip
    (archive,) = folder.glob("crewai-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    # Out of their package, whose name is that of ours.
    alone = folder / "alone"
    alone.mkdir()
    for test in folder.glob("crewai-*/tests/memory/test_*.py"):
        test.rename(alone / test.name)
    return alone


@pytest.mark.parametrize("name", ["test_unified_memory.py", "test_memory_root_scope.py"])
def test_crewais_own_tests_pass(name: str, theirs: Path) -> None:
    left_out = [f"--deselect={test}" for test in LEFT_OUT]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.frameworks.crewai.in_place",
         "-c", os.devnull, f"--rootdir={theirs}", "--noconftest", *left_out, str(theirs / name)],
        cwd=HERE.parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(ran.stdout.splitlines()[-1])
    assert 0 == ran.returncode, ran.stdout[-4000:] + ran.stderr[-2000:]
