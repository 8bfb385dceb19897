"""HTTP and sync attacks: all are refused, by the right status, and nothing is written.

Each round sends one hostile request, or a few that belong together, to real servers on a real
file, whose rows are the same afterwards, all of them, as are those of a peer's own file.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from random import Random

from tests.faults import http_attacks, sync_attacks
from tests.faults.runs import Run
from tests.faults.served_world import Attack, World

Kind = Callable[[World, Random], Attack]
KINDS: tuple[Kind, ...] = tuple(
    kind
    for pair in zip_longest(sync_attacks.KINDS, http_attacks.KINDS * 2)
    for kind in pair
    if kind is not None
)


def play(rounds: int, seed: int, folder: Path, *, kinds: Sequence[Kind] = KINDS) -> str:
    seen: Counter[str] = Counter()
    with World(folder).running() as world:
        for number in range(seed, seed + rounds):
            kind = kinds[number % len(kinds)]
            _play_one(world, kind, number)
            seen[kind.__name__] += 1
    return f"all refused and nothing written; {len(seen)} kinds"


def _play_one(world: World, kind: Kind, seed: int) -> None:
    attack = kind(world, Random(seed))
    before = world.digest()
    answered = attack.send()
    told = f"seed {seed}: {kind.__name__} ({attack.what})"
    wrong = [status for status in answered if status not in attack.refusals]
    assert answered, f"{told}: nothing was sent"
    assert not wrong, f"{told}: answered {wrong}, where {set(attack.refusals)} is right"
    assert world.digest() == before, f"{told}: something was written"


RUNS = (Run("attacks over HTTP and sync", 50, 500, play),)
