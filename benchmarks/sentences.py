"""Real sentences to fill memories with: the docstrings of this Python installation."""

import ast
import random
import re
import sysconfig
from pathlib import Path

_SENTENCE = re.compile(r"[A-Z][^.!?\n]*(?:\n[^.!?\n]+)*[.!?](?=\s|$)")


def sentences(count: int, *, seed: int = 7) -> list[str]:
    """Return ``count`` distinct sentences of 4 to 60 words, in random order.

    Where the installation has fewer, numbered variants of them make up the rest.
    """
    found: dict[str, None] = {}
    folders = (Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_path("purelib")))
    for path in (path for folder in folders for path in sorted(folder.rglob("*.py"))):
        if len(found) >= count:
            break
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue  # test data of the standard library that is no Python on purpose
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                for match in _SENTENCE.finditer(ast.get_docstring(node) or ""):
                    sentence = " ".join(match[0].split())
                    if 4 <= len(sentence.split()) <= 60 and "\0" not in sentence:
                        found[sentence] = None
    texts = list(found)
    random.Random(seed).shuffle(texts)
    return [texts[i] if i < len(texts) else f"{texts[i % len(texts)]} ({i})" for i in range(count)]


def queries(texts: list[str], count: int, *, seed: int = 8) -> list[str]:
    """Return ``count`` queries: four to eight words in a row of a random sentence."""
    chance = random.Random(seed)
    made: list[str] = []
    for _ in range(count):
        words = chance.choice(texts).split()
        length = chance.randint(4, 8)
        start = chance.randint(0, max(0, len(words) - length))
        made.append(" ".join(words[start : start + length]))
    return made
