"""What a query says to the word index, and what is left of it for the vector."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import LAWS

from chrysalis_memory.query_text import STOP_WORDS, names, without, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What language does the user like?", ["language", "user", "like"]),
        ("tea Tea tea", ["tea", "Tea"]),
        ("Who are you?", ["Who", "are", "you"]),
        ("THE THE cat", ["cat"]),
        ("don't stop", ["stop"]),
        ('"quoted" AND (x OR y*)', ["quoted", "x", "y*"]),
        ('the "tea at four" note', ["tea", "four", "note", "tea at four"]),
        ("“Green  tea!” or green tea", ["Green", "tea", "green", "Green tea"]),
        ('an unclosed "quote here', ["unclosed", "quote"]),
        ("**bold** *word* a*b 2*", ["bold", "word", "b", "2*"]),
        ("naïve café 東京 42", ["naïve", "café", "東京", "42"]),
        ("🦋 ?!", []),
        ("", []),
    ],
)
def test_words_are_the_distinct_telling_words_in_order(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("When did Caroline meet Melanie?", ["Caroline", "Melanie"]),
        ("Caroline met Melanie", ["Melanie"]),
        ("It rained. Then Caroline came", ["Caroline"]),
        ("It rained. Caroline came", []),
        ("He asked: Where is Paris", ["Paris"]),
        ('"Caroline" said Bob', ["Bob"]),
        ("what does Caroline's sister do", ["Caroline"]),
        ("and I said That", []),
        ("ask NASA about NASA", ["NASA"]),
        ("über Ärger und Öl", ["Ärger", "Öl"]),
        ("no names here", []),
        ("", []),
    ],
)
def test_names_are_capitalised_words_inside_a_sentence(text: str, expected: list[str]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize(
    ("text", "dropped", "expected"),
    [
        ("When did Caroline run?", ["Caroline"], "When did run?"),
        ("What is Caroline's job?", ["Caroline"], "What is job?"),
        ("What is Caroline’s job?", ["Caroline"], "What is job?"),
        ("Did Ann meet Annabel", ["Ann"], "Did meet Annabel"),
        ("Who is Caroline?", ["Caroline"], "Who is Caroline?"),
        ("Caroline", ["Caroline"], "Caroline"),
        ("any  text ", [], "any  text "),
        ("about C++ and X.Y too", ["X.Y"], "about C++ and too"),
    ],
)
def test_dropped_names_leave_the_rest_or_else_the_whole(
    text: str, dropped: list[str], expected: str
) -> None:
    assert without(text, dropped) == expected


@LAWS
@given(text=st.text(max_size=60))
def test_any_text_has_words_and_names_that_occur_in_it(text: str) -> None:
    found = words(text)
    assert len(set(found)) == len(found)
    assert all(word in text for word in found)
    assert all(name in text and name[0].isupper() for name in names(text))
    assert without(text, names(text)).strip() or not text.strip()


def test_stop_words_are_folded_and_hold_the_pieces_of_contractions() -> None:
    assert {word.casefold() for word in STOP_WORDS} == STOP_WORDS
    assert {"don", "t", "ll", "ve", "the"} <= STOP_WORDS
