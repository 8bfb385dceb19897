"""The second half of the demonstration: two replicas change apart and are merged."""

import tempfile
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from chrysalis_memory import AgentMemory, MemoryDocument
from chrysalis_memory.tables import printable

_CALLS = "No calls before 10:30; mornings are for drawing."
_DEADLINE = "The river park proposal is due on 28 March at noon."
_PHYSIOTHERAPY = "Physiotherapy is every Wednesday at 17:00, at the practice by the canal."
_SCHOOL = "Outside working days only Tilde's school may reach Mara."
_TABLETS = "Mochi gets half a thyroid tablet every morning."
_HEARING = "The council hears the river park proposal on 24 April."

Show = Callable[[MemoryDocument], str]


class Watched(NamedTuple):
    """One value of one memory, followed through the merge."""

    what: str
    memory_id: str
    show: Show


async def show_replicas(console: Console, laptop: AgentMemory, phone: AgentMemory) -> None:
    """Copy the laptop's memory to the phone, change both apart, merge both ways, compare."""
    console.rule("4 · Two replicas, changed apart, merged", align="left")
    copied = await phone.merge(laptop)
    embedded = await phone.embed_pending()
    console.print(
        f"The phone merged {copied} memories from the laptop and made {embedded} vectors of its "
        f"own.\nThen both were offline, and each changed its copy:"
    )
    ids = {memory.content: memory.id for memory in await laptop.recent(1000)}
    watched = _watched(ids)
    await _change_laptop(laptop, ids)
    hearing = await _change_phone(phone, ids)
    watched.append(Watched("learned on both", hearing, _tags_and_evidence))
    apart = [await _values(memory, watched) for memory in (laptop, phone)]

    brought_by_phone = await laptop.merge(phone)
    brought_by_laptop = await phone.merge(laptop)
    merged = [await _values(memory, watched) for memory in (laptop, phone)]
    console.print(_table(watched, apart, merged))
    console.print(
        f"The phone brought the laptop {brought_by_phone} changed memories, "
        f"the laptop brought the phone {brought_by_laptop}."
    )
    await _compare(console, laptop, phone)
    await _same_text(console, laptop)


def _watched(ids: dict[str, str]) -> list[Watched]:
    return [
        Watched("tags of the quiet mornings", ids[_CALLS], _tags),
        Watched("importance of the deadline", ids[_DEADLINE], _importance),
        Watched("importance of the school rule", ids[_SCHOOL], _importance),
        Watched("text of the physiotherapy", ids[_PHYSIOTHERAPY], _content),
        Watched("the tablets", ids[_TABLETS], _content_and_tags),
    ]


async def _change_laptop(laptop: AgentMemory, ids: dict[str, str]) -> None:
    await laptop.update(ids[_CALLS], remove_tags=["calendar"])
    await laptop.update(ids[_DEADLINE], importance=0.2)
    await laptop.update(ids[_SCHOOL], importance=0.3)
    await laptop.forget(ids[_TABLETS])
    await laptop.learn(_HEARING, tags=["work"], evidence=["letter of the council"])


async def _change_phone(phone: AgentMemory, ids: dict[str, str]) -> str:
    await phone.update(ids[_CALLS], add_tags=["quiet"])
    await phone.update(ids[_SCHOOL], importance=0.6)
    await phone.update(
        ids[_PHYSIOTHERAPY], content="Physiotherapy is every Thursday at 8:00, by the canal."
    )
    await phone.update(ids[_TABLETS], add_tags=["cat"])
    return await phone.learn(_HEARING, tags=["date"], evidence=["Jonas, on the phone"])


async def _values(memory: AgentMemory, watched: list[Watched]) -> list[str]:
    documents = [await memory.get(item.memory_id) for item in watched]
    return [
        "forgotten" if document is None else item.show(document)
        for item, document in zip(watched, documents, strict=True)
    ]


def _table(watched: list[Watched], apart: list[list[str]], merged: list[list[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_lines=False)
    for heading in ("", "laptop, offline", "phone, offline", "merged, laptop", "merged, phone"):
        table.add_column(heading, ratio=1, overflow="fold")
    for item, *cells in zip(watched, *apart, *merged, strict=True):
        table.add_row(item.what, *cells, end_section=True)
    return table


async def _compare(console: Console, laptop: AgentMemory, phone: AgentMemory) -> None:
    again = await laptop.merge(phone) + await phone.merge(laptop)
    digests = [await _digest(memory) for memory in (laptop, phone)]
    counts = [await memory.count() for memory in (laptop, phone)]
    verdict = "equal" if digests[0] == digests[1] else "DIFFERENT"
    console.print(
        f"Merging once more changes {again} memories. "
        f"Digest of all {counts[0]} memories on the laptop: {digests[0]},\n"
        f"of all {counts[1]} on the phone: {digests[1]}; they are {verdict}."
    )
    await phone.embed_pending()
    question = "When is physiotherapy now?"
    answers = [(await memory.recall(question, k=5, track=False)) for memory in (laptop, phone)]
    same = [m.id for m in answers[0]] == [m.id for m in answers[1]]
    console.print(
        f"Asked “{question}”, both answer {'the same' if same else 'DIFFERENTLY'}: "
        f"“{printable(answers[0][0].content)}”"
    )


async def _same_text(console: Console, laptop: AgentMemory) -> None:
    console.rule("5 · The same text learned on both is one memory", align="left")
    holding = [m for m in await laptop.recent(1000) if m.content == _HEARING]
    memory = holding[0]
    console.print(f"“{_HEARING}” was learned on the laptop and on the phone, apart.")
    console.print(
        f"It is {len(holding)} memory, {memory.id}, with the tags {_tags(memory)} "
        f"and the evidence {_evidence(memory)}."
    )


async def _digest(memory: AgentMemory) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "all.jsonl"
        await memory.export(path)
        lines = sorted(path.read_bytes().splitlines())
    return blake2b(b"\n".join(lines), digest_size=6).hexdigest()


def _tags(memory: MemoryDocument) -> str:
    return ", ".join(sorted(memory.get_tags()))


def _content(memory: MemoryDocument) -> str:
    return memory.content


def _content_and_tags(memory: MemoryDocument) -> str:
    return f"{memory.content}\n{_tags(memory)}"


def _tags_and_evidence(memory: MemoryDocument) -> str:
    return f"{_tags(memory)}\n{_evidence(memory)}"


def _importance(memory: MemoryDocument) -> str:
    return f"{memory.get_importance():.1f}"


def _evidence(memory: MemoryDocument) -> str:
    return "; ".join(memory.get_evidence())
