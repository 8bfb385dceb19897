"""Two users of one store whose memories are as entangled as its owner can make them.

Whatever is Bob's, or nobody's, holds ``MARK`` in every part that can hold a text. So an answer to
Alice that holds it, or one of the ids in ``Others``, tells her what she must not know.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from chrysalis_memory import AgentMemory, HybridLogicalClock, MemoryDocument
from chrysalis_memory.changes import Quarantined
from chrysalis_memory.codec import digest
from chrysalis_memory.history import history
from chrysalis_memory.learning import NewMemory
from chrysalis_memory.recall import Weights
from chrysalis_memory.state import encode, greatest_stamp

MARK = "zugzwang"
"""In all that Alice must not see, and in nothing of hers."""
ALICE, BOB = "user/alice", "user/bob"
PLACES = {"bob": BOB, "below": f"{BOB}/{MARK}", "root": "", "sibling": f"{ALICE}-{MARK}",
          "above": "user", "shorter": "user/ali"}  # fmt: skip
"""Where memories lie that are not Alice's."""
UNKNOWN = f"nobody-{MARK}"
"""An id that nothing has."""
TEXTS = ("Tea is at four", "The report is due on Friday", "Milk is in the fridge?")
AGE = re.compile(r"age_days\W+[^,]+")
"""The only part of an answer that time alone changes."""
OPTIONS: dict[str, Any] = {"embedder": "hashing", "weights": Weights(recency=0)}
"""Without recency an answer is the same whenever it is given."""


class Others(NamedTuple):
    """The ids of what Alice must not see."""

    living: list[str]
    gone: list[str]
    """Forgotten, or kept apart."""

    @property
    def ids(self) -> list[str]:
        """All of them."""
        return [*self.living, *self.gone]


def secret_id(kind: str) -> str:
    """Return an id that tells whose it is."""
    return f"{MARK}-{kind}"


async def learn_alice(memory: AgentMemory) -> None:
    """Learn what is Alice's: linked to ids that are to be others', in episodes of equal names."""
    linked = [secret_id(kind) for kind in ("bob", "archived", "forgotten")]
    for number, text in enumerate(TEXTS):
        await memory.learn(text, namespace=ALICE)
        await memory.learn(
            text, namespace=ALICE, episode="standup", position=number, tags=["work"],
            id=f"alice-{number}", related=[*linked, "alice-0"], parents=linked, evidence=linked,
            importance=0.7, metadata={"number": number},
        )  # fmt: skip
    await memory.learn("Alice wrote this below", namespace=f"{ALICE}/notes", id="alice-below")
    await memory.learn("It is in the attic", namespace=ALICE, id="alice-archived")
    await memory.update("alice-archived", archived=True)


async def learn_others(memory: AgentMemory, *, joined: bool = True) -> Others:
    """Learn what is not Alice's: of equal texts, and marked ones, in every state there is.

    Args:
        memory: The whole memory.
        joined: Whether one of Alice's is linked to one of Bob's, which writes hers, too.
    """
    plain = [
        await memory.learn(text, namespace=place, episode="standup", position=number,
                           tags=["work", f"tag-{MARK}"], metadata={f"key-{MARK}": number})
        for place in PLACES.values() for number, text in enumerate(TEXTS)
    ]  # fmt: skip
    marked = [
        await memory.learn(
            f"Tea and milk: the {MARK} is {kind}", namespace=place, id=secret_id(kind),
            related=["alice-0", "alice-1"], parents=["alice-0"], evidence=["alice-0"],
            tags=["work", f"tag-{MARK}"], episode=f"episode-{MARK}", position=1,
        )
        for kind, place in PLACES.items()
    ]  # fmt: skip
    past = datetime.now(UTC) - timedelta(days=1)
    other = {
        kind: await memory.learn(f"Tea, {MARK}, {kind}", namespace=BOB, id=secret_id(kind))
        for kind in ("archived", "expired", "forgotten", "one", "same", "alike")
    }
    await memory.update(other["archived"], archived=True)
    await memory.update(other["expired"], expires_at=past)
    await memory.consolidate([other["one"], other["same"]], how="join")
    if joined:
        await memory.consolidate([other["alike"], "alice-2"], how="link")
    await memory.recall(f"tea {MARK}", 20, namespace_prefix=BOB)
    for one in (other["forgotten"], marked.pop()):
        await memory.forget(one)
    _keep_apart(memory)
    gone = [other.pop("forgotten"), secret_id("shorter"), secret_id("apart")]
    return Others([*plain, *marked, *other.values()], gone)


def _keep_apart(memory: AgentMemory) -> None:
    """Have a state of Bob's wait, whose stamps lie in the future."""
    ahead = HybridLogicalClock(lambda: int((datetime.now(UTC).timestamp() + 86_400) * 1e6))
    document = MemoryDocument(secret_id("apart"), f"the {MARK} is apart", clock=ahead)
    document.set_namespace(BOB)
    state = encode(document.id, document.state)
    one = Quarantined(document.id, digest(state), greatest_stamp(document.state), state, MARK)
    memory.storage.run(lambda transaction: transaction.session.quarantine(one))


async def kept(memory: AgentMemory, others: Others) -> list[str]:
    """Return all that is stored of others, with use counts, to see whether it was changed."""
    await memory.statistics()  # writes the use counts
    return [one.to_json() for one in memory.storage.states() if one.id in others.ids]


def said(value: Any) -> str:
    """Return all that a value tells whoever has it."""
    match value:
        case MemoryDocument():
            more = [getattr(value, name, None) for name in ("explanation", "context")]
            return said([value.id, value.to_json(), history(value), *more, *value.get_related()])
        case NewMemory():
            return value.model_dump_json()
        case np.ndarray():
            return f"{value.shape} {np.round(value, 5).tolist()}"
        case BaseException():
            return f"{type(value).__name__}: {value}"
        case dict():
            return said(list(value.items()))
        case list() | tuple() | set() | frozenset():
            parts = map(said, value)
            return f"[{', '.join(parts)}]"
        case _:
            return AGE.sub("", repr(value))


def leaks(text: str, others: Others, *, known: str = "") -> list[str]:
    """Return what of others an answer tells, apart from what was in the question.

    Args:
        text: The answer.
        others: What must not be told.
        known: What whoever asked has given.
    """
    told = text.replace(known, "") if known else text
    return [one for one in (*others.ids, MARK) if one in told]
