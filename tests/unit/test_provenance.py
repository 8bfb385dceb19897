"""Sources, patterns of their names, and how far each is trusted."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import LAWS

from chrysalis_memory import MemoryDocument
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.provenance import (
    Among,
    Trust,
    check_source,
    covers,
    mark,
    sources_of,
    writers_of,
)

SOURCES = ("user", "web:", "web:a", "web:ab", "web:b", "Web:a", "ada@r1", "é")
PATTERNS = (*SOURCES, "*", "web:*", "web:a*", "ada@*", "u*", "é*")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("web:a", {"web:a"}),
        ("web:a*", {"web:a", "web:ab"}),
        ("web:*", {"web:", "web:a", "web:ab", "web:b"}),
        ("*", set(SOURCES)),
        ("web", set()),
        ("web*:a", set()),
    ],
)
def test_a_pattern_covers_a_name_or_all_that_begin_so(pattern: str, expected: set[str]) -> None:
    assert {source for source in SOURCES if covers(pattern, source)} == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [("web:good", 1.0), ("web:goods", 0.2), ("web:x", 0.2), ("mail", 0.5), ("user", 0.5)],
)
def test_a_whole_name_and_then_the_longest_prefix_decides(source: str, expected: float) -> None:
    trust = Trust.of({"*": 0.5, "web:good": 1, "web:*": 0.2})
    assert trust.factor(source) == expected


def test_a_whole_name_wins_over_a_prefix_that_is_as_long() -> None:
    trust = Trust.of({"web:*": 0.2, "web:": 0.7})
    assert (trust.factor("web:"), trust.factor("web:a")) == (0.7, 0.2)


def test_sources_that_nothing_is_said_of_are_trusted() -> None:
    assert Trust.of({"web:*": 0}).factor("user") == 1
    assert Trust.of({}) == Trust.of({"web:*": 1.0}) == Trust()
    assert (Trust().classes(), Trust().trusted()) == ([], None)


trusts = st.dictionaries(st.sampled_from(PATTERNS), st.sampled_from((0, 0.0, 0.25, 0.5, 1, 1.0)))


def holds(among: Among, source: str) -> bool:
    said = (belongs for pattern, belongs in among.patterns if covers(pattern, source))
    return next(said, among.others)


@LAWS
@given(factors=trusts, source=st.sampled_from(SOURCES))
def test_a_source_is_in_the_one_class_of_its_factor_or_in_none_with_trust_0(
    factors: dict[str, Any], source: str
) -> None:
    trust = Trust.of(factors)
    classes = trust.classes()
    kept = trust.trusted()
    of_source = [number for number, one in enumerate(classes) if holds(one, source)]
    alike = {trust.factor(other) for other in SOURCES if holds(classes[of_source[0]], other)} if (
        of_source
    ) else set[float]()  # fmt: skip

    assert len(of_source) == int(trust.factor(source) > 0 and classes != [])
    assert alike in (set(), {trust.factor(source)})
    assert (kept is None or holds(kept, source)) == (trust.factor(source) > 0)


@pytest.mark.parametrize(
    "factors",
    [
        None, "web:*", ["web:*"], {"": 0.5}, {1: 0.5}, {"web:*": 1.1}, {"web:*": -0.1},
        {"web:*": float("nan")}, {"web:*": True}, {"web:*": "0.5"}, {"x" * 513: 0.5},
        {str(number): 0.5 for number in range(101)}, {str(n): n / 20 for n in range(17)},
    ],
)  # fmt: skip
def test_trust_that_cannot_be_meant_is_refused(factors: Any) -> None:
    with pytest.raises(InvalidValue):
        Trust.of(factors)


@pytest.mark.parametrize("source", ["", " \0", 1, "web:*", "*", "x" * 506])
def test_a_name_that_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(InvalidValue, match="source"):
        check_source(source)


def test_the_longest_source_can_be_noted() -> None:
    memory = MemoryDocument("m", "text")
    memory.add_evidence(mark(check_source("x" * 505)))
    assert sources_of(memory) == ("unknown", "x" * 505)


def test_a_memory_tells_who_taught_it_and_who_wrote_in_it() -> None:
    memory = MemoryDocument("m", "text", source_instance="zoe")
    memory.add_tag("t", "bob")
    for evidence in (mark("web:a"), mark("zoe"), "a letter", mark("mail")):
        memory.add_evidence(evidence)

    assert sources_of(memory) == ("zoe", "mail", "web:a")
    assert writers_of(memory) == ("bob", "zoe")
