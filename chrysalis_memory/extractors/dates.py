"""Days that English words name, counted from the day on which they were said.

Only what names one day for certain is read: "last week" is none, and "next Friday" means two
different days to different people.
"""

import re
from collections.abc import Callable
from datetime import date, timedelta

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_COUNT = rf"(\d{{1,3}}|an?|{'|'.join(_NUMBERS)})"
_WEEKDAY = rf"({'|'.join(_DAYS)})"

_Resolve = Callable[[re.Match[str], date], date | None]


def _shift(days: int) -> _Resolve:
    return lambda _, on: _moved(on, days)


def _moved(on: date, days: int) -> date | None:
    try:
        return on + timedelta(days=days)
    except OverflowError:  # before the year 1 or after 9999
        return None


def _count(word: str) -> int:
    if word.isdigit():
        return int(word)
    return 1 if word in ("a", "an") else _NUMBERS.index(word) + 1


def _counted(match: re.Match[str], on: date, sign: int) -> date | None:
    days = _count(match[1].lower()) * (7 if match[2].lower().startswith("week") else 1)
    return _moved(on, sign * days)


def _last(match: re.Match[str], on: date) -> date | None:
    back = (on.weekday() - _DAYS.index(match[1].lower())) % 7
    return _moved(on, -(back or 7))


def _this(match: re.Match[str], on: date) -> date | None:
    return _moved(on, (_DAYS.index(match[1].lower()) - on.weekday()) % 7)


def _written(match: re.Match[str], _: date) -> date | None:
    try:
        return date.fromisoformat(match[0])
    except ValueError:  # 2025-02-31
        return None


# Longer wordings stand before the shorter ones that they contain.
_RULES: tuple[tuple[str, _Resolve], ...] = (
    (r"\d{4}-\d{2}-\d{2}", _written),
    (r"the day before yesterday", _shift(-2)),
    (r"the day after tomorrow", _shift(2)),
    (r"yesterday", _shift(-1)),
    (r"last night", _shift(-1)),
    (r"tomorrow", _shift(1)),
    (r"today|tonight|this (?:morning|afternoon|evening)", _shift(0)),
    (rf"{_COUNT} (days?|weeks?) ago", lambda match, on: _counted(match, on, -1)),
    (rf"in {_COUNT} (days?|weeks?)", lambda match, on: _counted(match, on, 1)),
    (rf"last {_WEEKDAY}", _last),
    (rf"this (?:coming )?{_WEEKDAY}", _this),
)
_COMPILED = [(re.compile(rf"\b(?:{p})\b", re.IGNORECASE), resolve) for p, resolve in _RULES]
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}")


def resolve(words: str, on: date) -> date | None:
    """Return the one day that ``words`` name, or ``None`` where they name none or several.

    Args:
        words: English words, such as "we went yesterday" or "in two weeks".
        on: The day on which they were said.

    Example:
        >>> resolve("I saw the vet last Friday", date(2025, 3, 12))
        datetime.date(2025, 3, 7)
        >>> resolve("some day next spring", date(2025, 3, 12))
    """
    days = {day for _, _, day in _found(words, on)}
    return days.pop() if len(days) == 1 else None


def dated(text: str, on: date) -> str:
    """Return ``text`` with the day behind each wording that only told it on the day itself.

    Example:
        >>> dated("The vet saw Mochi yesterday", date(2025, 3, 12))
        'The vet saw Mochi yesterday (2025-03-11)'
    """
    parts: list[str] = []
    end = 0
    for start, stop, day in _found(text, on):
        mark = f" ({day.isoformat()})"
        is_plain = _ISO.fullmatch(text[start:stop]) or text.startswith(mark, stop)
        parts += [text[end:stop], "" if is_plain else mark]
        end = stop
    return "".join([*parts, text[end:]])


def _found(text: str, on: date) -> list[tuple[int, int, date]]:
    """Return each wording that names a day: where it starts and ends, and the day."""
    found: list[tuple[int, int, date]] = []
    for pattern, to_day in _COMPILED:
        for match in pattern.finditer(text):
            day = to_day(match, on)
            taken = any(match.start() < stop and start < match.end() for start, stop, _ in found)
            if day is not None and not taken:
                found.append((match.start(), match.end(), day))
    return sorted(found)
