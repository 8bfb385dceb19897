"""What a query's text says to each index: its words, and its text without misleading names."""

import re
from collections.abc import Collection

_WORD = re.compile(r"\w+")
_TERM = re.compile(r"(?<![\w*])\w+\*(?![\w*])|\w+")
_PHRASE = re.compile(r'["“]([^"“”]+)["”]')
_SENTENCE_END = re.compile(r"[.!?…:]\s*$")

_ENGLISH = """
a about above after again against all am an and any are aren as at be because been before being
below between both but by can cannot could couldn d did didn do does doesn doing don down during
each few for from further had hadn has hasn have haven having he her here hers herself him himself
his how i if in into is isn it its itself just ll m me more most my myself no nor not now of off on
once only or other our ours ourselves out over own re s same she should shouldn so some such t than
that the their theirs them themselves then there these they this those through to too under until
up ve very was wasn we were weren what when where which while who whom why will with won would
wouldn you your yours yourself yourselves
"""
STOP_WORDS = frozenset(_ENGLISH.split())
"""English words that say how a sentence is built rather than what it is about."""


def words(text: str) -> list[str]:
    """Return the distinct words to look for, in order, without stop words.

    ``conf*`` looks for any ending. Words in double quotes are looked for as a phrase, too: a memory
    that holds the phrase counts more than one that holds its words. A query of nothing but stop
    words keeps them all: "who are you" must still find something.
    """
    found = list(dict.fromkeys(_TERM.findall(text)))
    telling = [word for word in found if word.casefold() not in STOP_WORDS]
    quoted = (" ".join(_WORD.findall(phrase)) for phrase in _PHRASE.findall(text))
    return (telling or found) + [phrase for phrase in dict.fromkeys(quoted) if " " in phrase]


def names(text: str) -> list[str]:
    """Return the capitalised words that do not begin a sentence: most likely names."""
    found: dict[str, None] = {}
    for match in _WORD.finditer(text):
        if not match[0][0].isupper() or match[0].casefold() in STOP_WORDS:
            continue
        before = text[: match.start()].rstrip("\"'“‘( ")
        if before and _SENTENCE_END.search(before) is None:
            found[match[0]] = None
    return list(found)


def without(text: str, dropped: Collection[str]) -> str:
    """Return ``text`` without the dropped words and their possessive endings.

    The whole text is returned where nothing telling would be left.
    """
    if not dropped:
        return text
    alternatives = "|".join(re.escape(word) for word in dropped)
    shorter = re.sub(rf"\b(?:{alternatives})\b(?:['’]s\b)?", " ", text)
    shorter = re.sub(r"\s+", " ", shorter).strip()
    left = [word for word in _WORD.findall(shorter) if word.casefold() not in STOP_WORDS]
    return shorter if left else text
