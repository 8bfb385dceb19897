"""How dear a merge is beside plain set union and plain dict copies, in one run.

Prints medians in microseconds and ratios: two grow-only sets of 1,000 elements each, two small
documents that were changed on two replicas at once, and two documents that are already equal.

    python benchmarks/merge.py
"""

import argparse
import statistics
import timeit
from collections.abc import Callable

from chrysalis_memory import GSet, MemoryDocument

CALL_SECONDS = 0.01
"""How long one round of calls takes, long enough for the timer."""


def overlapping_elements(size: int) -> tuple[list[str], list[str]]:
    """Return two lists of ``size`` elements each that have half of them in common."""
    names = [f"memory-{number}" for number in range(size + size // 2)]
    return names[:size], names[size // 2 :]


def changed_documents() -> tuple[MemoryDocument, MemoryDocument]:
    """Return one small document as two replicas left it that did not know of one another."""
    memory = MemoryDocument(
        id="memory",
        content="The user prefers tea to coffee in the afternoon",
        memory_type="semantic",
        source_instance="laptop",
    )
    for tag in ("drinks", "preference", "user"):
        memory.add_tag(tag)
    memory.set_importance(0.7)
    laptop, server = memory.copy(), memory.copy()
    laptop.set_importance(0.9, "laptop")
    laptop.add_tag("afternoon", "laptop")
    server.set_content("The user prefers tea to coffee after lunch", "server")
    server.record_access("server")
    return laptop, server


def plain_dicts(document: MemoryDocument) -> dict[str, object]:
    """Return the document as plain dicts: what a store without merging would copy."""
    return {
        "id": document.id,
        "content": document.content,
        "memory_type": document.memory_type,
        "importance": document.get_importance(),
        "tags": dict.fromkeys(document.get_tags(), True),
        "clock": document.get_vector_clock(),
        "access": {"server": 1},
    }


def copied(mine: dict[str, object], theirs: dict[str, object]) -> dict[str, object]:
    """Return the later dict with copies of its parts: the least a merge by hand has to do."""
    both = mine | theirs
    for name in ("tags", "clock", "access"):
        both[name] = mine[name] | theirs[name]  # type: ignore[operator]
    return both


def medians(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Return microseconds per call, the rounds of all calls taken in turn."""
    timers = [timeit.Timer(call) for call in calls]
    numbers = [max(1, round(CALL_SECONDS / (t.timeit(100) / 100))) for t in timers]
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for times, timer, number in zip(taken, timers, numbers, strict=True):
            times.append(timer.timeit(number) / number * 1e6)
    return [statistics.median(times) for times in taken]


def compare(name: str, ours: float, baseline_name: str, baseline: float, target: float) -> None:
    print(
        f"{name:44} ours {ours:7.3f} µs   {baseline_name:12} {baseline:7.3f} µs   "
        f"ratio {ours / baseline:5.2f}   (at most {target:g} µs on a quiet machine)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--elements", type=int, default=1000)
    arguments = parser.parse_args()

    one, other = overlapping_elements(arguments.elements)
    gset, other_gset = GSet(one), GSet(other)
    plain_set, other_plain_set = set(one), set(other)
    laptop, server = changed_documents()
    dicts, other_dicts = plain_dicts(laptop), plain_dicts(server)
    same = laptop.copy()
    decoded = [MemoryDocument.from_bytes(laptop.to_bytes()) for _ in range(2)]

    gset_time, set_time, changed, dict_time, same_time, decoded_time = medians(
        [
            lambda: gset.merge(other_gset),
            lambda: plain_set | other_plain_set,
            lambda: laptop.merge(server),
            lambda: copied(dicts, other_dicts),
            lambda: laptop.merge(same),
            lambda: decoded[0].merge(decoded[1]),
        ],
        arguments.rounds,
    )
    size = f"{arguments.elements:,}"
    compare(f"GSet of {size} and {size}", gset_time, "set | set", set_time, 15)
    compare("documents changed at once", changed, "dict copies", dict_time, 3)
    compare("documents already equal, one state", same_time, "dict copies", dict_time, 0.3)
    compare("documents already equal, decoded apart", decoded_time, "dict copies", dict_time, 0.3)


if __name__ == "__main__":
    main()
