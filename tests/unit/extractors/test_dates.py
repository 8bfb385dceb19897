"""Days that words name: read where they are certain, left alone where they are not."""

from datetime import date

import pytest

from chrysalis_memory.extractors.dates import dated, resolve

WEDNESDAY = date(2025, 3, 12)


@pytest.mark.parametrize(
    ("words", "day"),
    [
        ("today", "2025-03-12"),
        ("this morning", "2025-03-12"),
        ("Yesterday", "2025-03-11"),
        ("we met last night", "2025-03-11"),
        ("the day before yesterday", "2025-03-10"),
        ("tomorrow", "2025-03-13"),
        ("the day after tomorrow", "2025-03-14"),
        ("three days ago", "2025-03-09"),
        ("3 days ago", "2025-03-09"),
        ("a week ago", "2025-03-05"),
        ("in two weeks", "2025-03-26"),
        ("last Friday", "2025-03-07"),
        ("last Wednesday", "2025-03-05"),
        ("this Friday", "2025-03-14"),
        ("this coming Monday", "2025-03-17"),
        ("on 2025-02-28", "2025-02-28"),
        ("yesterday, that is 2025-03-11", "2025-03-11"),
    ],
)
def test_words_that_name_one_day_are_counted_from_when_they_were_said(words: str, day: str):
    assert date.fromisoformat(day) == resolve(words, WEDNESDAY)


@pytest.mark.parametrize(
    "words",
    ["", "soon", "last week", "next Friday", "on Friday", "in May", "2025-02-31",
     "yesterday or tomorrow", "todayish", "in 3 months", "999 weeks ago, or 3 days ago"],
)  # fmt: skip
def test_words_that_name_no_day_for_certain_name_none(words: str):
    assert None is resolve(words, WEDNESDAY)


def test_a_day_before_the_calendar_begins_is_none():
    assert None is resolve("three days ago", date.min)


def test_a_text_says_its_days_in_full():
    text = "Mochi saw the vet yesterday, and again on 2025-03-12; next time is in two weeks"

    assert dated(text, WEDNESDAY) == (
        "Mochi saw the vet yesterday (2025-03-11), and again on 2025-03-12; "
        "next time is in two weeks (2025-03-26)"
    )


def test_a_text_that_says_its_days_in_full_stays_as_it_is():
    full = dated("Mochi saw the vet the day before yesterday", WEDNESDAY)

    assert full == "Mochi saw the vet the day before yesterday (2025-03-10)"
    assert full == dated(full, WEDNESDAY)
