"""The text that ships with the demonstration, read as memories, and questions about it."""

from collections.abc import Iterator
from importlib.resources import files

from chrysalis_memory import NewMemory


def conversation() -> list[NewMemory]:
    """Return the turns of a conversation, in order, and the notes the agent took of it.

    In the text, ``# day`` begins a day, ``! note | tags | importance`` is a note about what was
    said just before, and every other line is a turn. A turn is an event of its day; a note is a
    fact that holds beyond it, and names the day as its evidence.
    """
    text = files("chrysalis_memory.demo").joinpath("conversation.txt").read_text(encoding="utf-8")
    return list(_memories(text.splitlines()))


def questions() -> list[tuple[str, tuple[str, ...]]]:
    """Return questions about the conversation, each with words of the memories that answer it."""
    text = files("chrysalis_memory.demo").joinpath("questions.txt").read_text(encoding="utf-8")
    asked: list[tuple[str, tuple[str, ...]]] = []
    for line in text.splitlines():
        if not line.startswith("# "):
            question, *answers = (part.strip() for part in line.split("|"))
            asked.append((question, tuple(answers)))
    return asked


def _memories(lines: list[str]) -> Iterator[NewMemory]:
    day, position = "", 0
    for line in lines:
        if line.startswith("# "):
            day, position = line[2:], 0
        elif line.startswith("! "):
            note, tags, importance = (part.strip() for part in line[2:].split("|"))
            yield NewMemory.of(
                content=note,
                tags=[tag.strip() for tag in tags.split(",")],
                importance=float(importance),
                evidence=[f"conversation of {day}"],
            )
        else:
            position += 1
            speaker = line.partition(": ")[0]
            yield NewMemory.of(
                content=line,
                memory_type="episodic",
                episode=day,
                position=position,
                metadata={"speaker": speaker},
            )
