"""The attacks that `make faults` plays in full, and that each kind of hole is found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory.replication import http, rights
from chrysalis_memory.servers import admission, signatures, sync
from chrysalis_memory.servers.nonces import Nonces
from tests.faults import http_attacks, sync_attacks
from tests.faults.attacks import KINDS, RUNS, Kind, play


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_all_are_refused_and_nothing_is_written(run: Any, tmp_path: Path):
    assert run.play(run.short, 0, tmp_path) == (
        f"all refused and nothing written; {len(set(KINDS))} kinds"
    )


HOLES: dict[str, tuple[Any, str, Callable[..., Any], Kind]] = {
    "nonces": (Nonces, "take", lambda *_, **__: True, sync_attacks.replay),
    "time": (signatures.Signatures, "_check_time", lambda *_: None, sync_attacks.wrong_time),
    "restart": (
        signatures.Signatures, "_check_time", lambda *_: None, sync_attacks.replay_after_restart,
    ),
    "mac": (
        signatures.Signature, "is_by", lambda *_, **__: True, sync_attacks.signed_by_another,
    ),
    "body": (signatures.Signature, "is_of", lambda *_: True, sync_attacks.bit_flipped),
    "counters": (rights._Held, "_check_counts", lambda *_: None, sync_attacks.foreign_counter),
    "caps": (rights._Held, "check", lambda *_: None, sync_attacks.over_a_cap),
    "replicas": (
        rights, "_check_replica", lambda *_: True, sync_attacks.as_another_replica,
    ),
    "answers": (http, "check_answer", lambda *_, **__: None, sync_attacks.forged_answer),
    "content type": (sync, "check_content_type", lambda *_, **__: None, sync_attacks.as_a_form),
    "origin": (admission, "_check_origin", lambda _: None, http_attacks.foreign_origin),
    "host": (admission.Admission, "_check_host", lambda *_: None, http_attacks.rebinding),
    "token": (admission.Admission, "_check_token", lambda *_: None, http_attacks.wrong_token),
}  # fmt: skip


@pytest.mark.parametrize("hole", HOLES)
def test_a_planted_hole_is_found(hole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    owner, name, replacement, kind = HOLES[hole]
    monkeypatch.setattr(owner, name, replacement)
    with pytest.raises(AssertionError, match=rf"seed \d+: {kind.__name__}"):
        play(12, 0, tmp_path, kinds=[kind])
