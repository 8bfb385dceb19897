"""Texts as tokens: what the word index holds, and what it is asked for.

Words are folded and split as Unicode says, without diacritics, and English endings are cut (Porter
1980), all by SQLite. Two things are added. Scripts that put no space between words are cut into
overlapping pairs of characters, the usual way to search them without a dictionary (Nie and Ren
1999). And a name in camel case stands for its parts too, as one with underscores does anyway.
What is longer than any word has its beginning and a digest for a token: FTS5 cuts what is longer
than 32 KiB, and PostgreSQL takes no more than 2,046 bytes.
"""

import re
from collections.abc import Iterable

import apsw

from chrysalis_memory import codec
from chrysalis_memory.backends.base import Term
from chrysalis_memory.backends.sqlite.database import Database

TOKEN_CHARACTERS_MAX = 200
_BEGINNING = 150
_SPLITTER = "porter", ("unicode61", "remove_diacritics", "2")

# Thai, Burmese, Khmer, Hangul's letters, kana, Han, Hangul.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f"
    "\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc\U0001b000-\U0001b16f\U00020000-\U0003ffff]+"
)
_CAMEL = re.compile(r"\b\w*?[a-z][A-Z]\w*")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Tokenizer:
    """Makes tokens, by the tokenizer of one connection."""

    def __init__(self, connection: Database) -> None:
        self._splitter = connection.fts5_tokenizer(_SPLITTER[0], list(_SPLITTER[1]))

    def of_memory(self, text: str) -> list[str]:
        """Return the tokens of a memory's text, in order, and then those of its names' parts."""
        tokens = self._split(text)
        if not text.isascii() and _UNSPACED.search(text):
            tokens = [piece for token in tokens for piece in _pieces(token, whole=True)]
        for match in _CAMEL.finditer(text):
            tokens += self._split(_HUMP.sub(" ", match[0]))
        if len(text) > TOKEN_CHARACTERS_MAX:
            return [_shortened(token) for token in tokens]
        return tokens

    def term(self, word: str) -> Term:
        """Return what to look for, for a word of a query.

        What the index splits is looked for in a row. ``*`` at the end stands for any ending; a
        single character of a script without spaces stands for any that begin with it. Of a very
        long beginning its own beginning counts.
        """
        tokens = self._split(word)
        prefix = word.endswith("*") and bool(tokens)
        if not word.isascii() and _UNSPACED.search(word):
            is_single = list(map(len, tokens)) == [1] and _UNSPACED.match(tokens[0]) is not None
            prefix = prefix or is_single
            tokens = [piece for token in tokens for piece in _pieces(token, whole=False)]
        if not tokens:
            return Term((), prefix)
        *first, last = tokens
        last = last[:_BEGINNING] if prefix else _shortened(last)
        return Term((*map(_shortened, first), last), prefix)

    def _split(self, text: str) -> list[str]:
        return self._splitter(
            text.encode(),
            apsw.FTS5_TOKENIZE_DOCUMENT,
            None,
            include_offsets=False,
            include_colocated=False,
        )


def _shortened(token: str) -> str:
    if len(token) <= TOKEN_CHARACTERS_MAX:
        return token
    return token[:_BEGINNING] + codec.text_hash(token).hex()


def _pieces(token: str, *, whole: bool) -> Iterable[str]:
    """Cut what is written without spaces into pairs of characters.

    A ``whole`` text ends with its last character alone, so that each begins a piece and can be
    found by itself.
    """
    at = 0
    for match in _UNSPACED.finditer(token):
        if at < match.start():
            yield token[at : match.start()]
        run = match[0]
        yield from (run[i : i + 2] for i in range(len(run) - 1))
        if whole or len(run) == 1:
            yield run[-1]
        at = match.end()
    if at < len(token):
        yield token[at:]


def match(term: Term) -> str:
    """Return the FTS5 query for a term; a quoted string is never syntax."""
    return '"' + " ".join(term.tokens) + ('" *' if term.prefix else '"')
