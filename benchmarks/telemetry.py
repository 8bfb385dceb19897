"""What spans cost an operation: nobody traces, the API without a provider, and a provider.

Beside each an empty block, which is the baseline. Microseconds per operation, median of repeats.

    python benchmarks/telemetry.py
"""

import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

from chrysalis_memory import telemetry

_CALLS, _REPEATS = 10_000, 9


def microseconds(work: Callable[[], None]) -> float:
    times: list[float] = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        for _ in range(_CALLS):
            work()
        times.append((time.perf_counter() - start) / _CALLS * 1e6)
    return statistics.median(times)


def empty() -> None:
    with nullcontext():
        pass


def spanned() -> None:
    with telemetry.memory_span("search_memory", "replica", contents=False) as span:
        span.query(["query"])
        span.found([])


def row(name: str) -> None:
    baseline, cost = microseconds(empty), microseconds(spanned)
    print(f"{name:<24} {cost:6.2f} µs   baseline {baseline:.2f} µs")


def main() -> None:
    assert "opentelemetry" not in sys.modules
    row("nobody traces")

    from opentelemetry import trace

    row("API, no provider")

    from opentelemetry.sdk.trace import TracerProvider

    trace.set_tracer_provider(TracerProvider())
    row("provider, no exporter")


if __name__ == "__main__":
    main()
