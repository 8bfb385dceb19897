"""The official conformance suite of MCP, against the server that ships, in both eras."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.conftest import Node
from tests.e2e import programs
from tests.mcp_clients import serving

pytestmark = pytest.mark.node

HANDSHAKE, STATELESS = "2025-11-25", "2026-07-28"

# What the suite demands and a memory does not have, each with the reason.
NOT_OFFERED = {
    "completion-complete": "no argument is completed",
    "http-custom-header-server-validation": "no tool takes an argument from a header",
    "json-schema-2020-12": "no tool takes such a schema",
    "logging-set-level": "nothing is logged to the client",
    "resources-subscribe": "no change is announced: other processes write the memory too",
    "resources-unsubscribe": "no change is announced",
    "server-sse-polling": "no tool runs long enough to be polled",
    "tools-call-elicitation": "no tool asks the user back",
    "tools-call-sampling": "no tool asks the host's model",
    "tools-call-with-logging": "nothing is logged to the client",
    **dict.fromkeys(
        ("elicitation-sep1034-defaults", "elicitation-sep1330-enums"), "no tool asks the user back"
    ),
    **{
        f"input-required-result-{name}": "no tool asks back before it answers"
        for name in (
            "basic-elicitation", "basic-list-roots", "basic-sampling", "capability-check",
            "multi-round", "multiple-input-requests", "non-tool-request", "request-state",
            "result-type", "tampered-state",
        )
    },
}  # fmt: skip

# What is demanded by the names of tools, resources and prompts that only the fixture has.
BY_NAME = (
    "prompts-get-embedded-resource", "prompts-get-simple", "prompts-get-with-args",
    "prompts-get-with-image", "resources-read-binary", "resources-read-text",
    "resources-templates-read", "server-stateless", "tools-call-audio",
    "tools-call-embedded-resource", "tools-call-image", "tools-call-mixed-content",
    "tools-call-with-progress",
)  # fmt: skip

# Some scenarios pass when a tool is unknown, so that of these only the fixture tells something.
PASS = {
    HANDSHAKE: {
        "dns-rebinding-protection", "ping", "prompts-list", "resources-list", "server-initialize",
        "server-session-lifecycle", "server-sse-multiple-streams", "tools-list",
    },
    STATELESS: {
        "caching", "dns-rebinding-protection", "http-header-validation", "prompts-list",
        "resources-list", "sep-2164-resource-not-found", "server-sse-multiple-streams",
        "tools-list",
    },
}  # fmt: skip
PASS_BY_NAME = {
    HANDSHAKE: {"tools-call-error", "tools-call-simple-text", *BY_NAME} - {"server-stateless"},
    STATELESS: {"tools-call-error", "tools-call-simple-text", *BY_NAME},
}

both_revisions = pytest.mark.parametrize("revision", [HANDSHAKE, STATELESS])


@contextlib.contextmanager
def serving_fixture() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.conformance.fixture_server"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, encoding="utf-8", cwd=programs.ROOT
    ) as server:
        try:
            yield programs.url_of(server)
        finally:
            server.terminate()


def outcomes(node: Node, url: str, revision: str) -> dict[str, bool]:
    """Run every scenario of a revision; return whether each passed."""
    run = node("conformance", "server", "--url", url, "--suite", "all", "--spec-version", revision)
    lines = re.findall(r"^([✓✗]) ([\w-]+): \d+ passed", run.stdout, re.MULTILINE)
    assert lines, run.stdout + run.stderr
    return {name: mark == "✓" for mark, name in lines}


@both_revisions
def test_what_needs_nothing_by_name_passes_against_the_program_that_ships(
    node: Node, revision: str, tmp_path: Path
):
    with serving(tmp_path) as url:
        passed = outcomes(node, url, revision)

    failed = {name for name, is_passed in passed.items() if not is_passed}
    assert {name: passed[name] for name in PASS[revision]} == dict.fromkeys(PASS[revision], True)
    assert failed - NOT_OFFERED.keys() - set(BY_NAME) == set()


@both_revisions
def test_all_that_a_memory_offers_passes_with_what_is_asked_for_by_name(node: Node, revision: str):
    with serving_fixture() as url:
        passed = outcomes(node, url, revision)

    failed = {name for name, is_passed in passed.items() if not is_passed}
    assert failed == NOT_OFFERED.keys() & passed.keys()
    assert (PASS[revision] | PASS_BY_NAME[revision]) <= {name for name in passed if passed[name]}
