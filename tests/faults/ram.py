"""How much memory this process has, as Linux tells it."""

from pathlib import Path


def held_bytes() -> int:
    """Return how much it has now."""
    return _status("VmRSS")


def most_bytes() -> int:
    """Return the most that it has had, since that was counted anew."""
    return _status("VmHWM")


def count_most_anew() -> None:
    """Have :func:`most_bytes` begin now."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) << 10
    raise AssertionError("this system does not tell how much memory a process has")
