"""A thousand histories of replicas: all converge, nothing is lost."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.bugs import use_counts_are_added_on_merge
from tests.simulation.run import first_failure, make_template, ram_folder, run_many, run_seed

SEEDS = 1_000
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(900)  # a minute on a machine that does nothing else
def test_a_thousand_seeds_converge_and_lose_nothing() -> None:
    failures = run_many(range(SEEDS))
    assert [] == failures, "\n\n".join(map(str, failures[:3]))


def test_a_seed_gives_the_same_trace_in_another_process_with_other_hashes() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--seed", "7"]
    printed = {
        subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    with ram_folder() as folder:
        result = run_seed(7, make_template(Path(folder) / "template.db"))
    assert None is result.failure
    assert {"\n".join([*result.trace, "seed 7: all is as it must be\n"])} == printed


def test_the_seeds_know_every_trouble_and_every_step() -> None:
    with ram_folder() as folder:
        template = make_template(Path(folder) / "template.db")
        said = "\n".join(line for seed in range(110) for line in run_seed(seed, template).trace)
    expected = (
        "is killed", "closes and opens", "is backed up", "is restored$", "is restored in place",
        "is copied", "cannot reach", "reaches every other", "off by 25158[0-9]+ us",
        "off by 3600000000 us", "off by -3600000000 us", ": lost$", ": answer lost$", ": twice$",
        ": late$", ": cut$", "that nobody waits for", "Take", "Load", "Changed", "Offer", "Push",
        "Want", "takes a new name", "repaired=[1-9]", "quarantined=[1-9]", "refused=[1-9]",
        "verified=None", "verified=True", ": forget:", ": revive:", ": learn:", ": blind:",
        ": use:", "change untag", "blind to a forgotten", "change a forgotten",
    )  # fmt: skip
    assert [] == [one for one in expected if not re.search(one, said, re.MULTILINE)]


def test_a_failing_seed_says_how_to_replay_it() -> None:
    with use_counts_are_added_on_merge():
        failure = first_failure(range(50))
    assert failure is not None
    assert f"python -m tests.simulation --seed {failure.seed}" in str(failure)
    assert failure.trace[-1] in str(failure)
