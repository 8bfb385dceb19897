"""The demonstration: an agent learns a conversation, recalls from it, and merges two replicas.

Everything it prints is computed while it runs, in a temporary folder and without a network.
"""

import tempfile
import time
from pathlib import Path

from rich.console import Console

from chrysalis_memory import AgentMemory, Recollection
from chrysalis_memory.demo.conversation import conversation
from chrysalis_memory.demo.replicas import show_replicas
from chrysalis_memory.tables import formula, recollection_table

__all__ = ["run"]

QUESTIONS = (
    "Where does the pet take its nap?",
    "Which medicine does the animal take?",
    "Why is the bridge made from wood?",
    "What present would the child love?",
    "When is the deadline of the proposal?",
)
_REPEATED = "Which seafood is dangerous for her?"
_REPETITIONS = 5


async def run(console: Console, folder: Path | None = None) -> None:
    """Tell the story.

    Args:
        console: Where to print; tables fit in 100 columns.
        folder: Where the two memories are kept; by default a temporary folder, removed at the end.
    """
    with tempfile.TemporaryDirectory(prefix="chrysalis-demo-") as temporary:
        place = Path(temporary) if folder is None else folder
        started = time.perf_counter()
        async with (
            AgentMemory("ada", path=place / "laptop.db", embedder="minilm") as laptop,
            AgentMemory("ada", path=place / "phone.db", embedder="minilm") as phone,
        ):
            await _learn(console, laptop)
            await _recall(console, laptop)
            await _use(console, laptop)
            await show_replicas(console, laptop, phone)
        console.print(f"\n{time.perf_counter() - started:.1f} s in all.", style="dim")


async def _learn(console: Console, memory: AgentMemory) -> None:
    console.rule("1 · Learning", align="left")
    new = conversation()
    started = time.perf_counter()
    ids = await memory.learn_many(new)
    seconds = time.perf_counter() - started
    notes = sum(item.memory_type is None for item in new)
    days = len({item.episode for item in new if item.episode})
    held = await memory.statistics()
    model = "no embedder" if held.space is None else held.space.model
    console.print(
        f"Ada, an assistant, talked with Mara on {days} days: {len(ids) - notes} turns and "
        f"{notes} notes, {held.memories} memories,\nlearned in {seconds:.2f} s "
        f"with {model} into one file of {held.size_bytes / 1e6:.1f} MB."
    )


async def _recall(console: Console, memory: AgentMemory) -> None:
    console.rule("2 · Recalling, by meaning and by words", align="left")
    found: list[Recollection] = []
    for question in QUESTIONS:
        found = await memory.recall(question, k=2)
        console.print(recollection_table(found, title=question, explain=True))
        if found and found[0].explanation.bm25 == 0:
            console.print("The best shares no word with the question: it was found by meaning.\n",
                          style="dim")  # fmt: skip
    console.print(formula(found), style="bold", markup=False)


async def _use(console: Console, memory: AgentMemory) -> None:
    console.rule("3 · What is used comes easier", align="left")
    first = await memory.recall(_REPEATED, k=1)
    for _ in range(_REPETITIONS - 1):
        await memory.recall(_REPEATED, k=1)
    await memory.statistics()  # writes the use counts that are outstanding
    again = await memory.recall(_REPEATED, k=1)
    uses = again[0].explanation.access_count
    title = f"{_REPEATED} – before and after {uses} uses"
    console.print(recollection_table([*first, *again], title=title, explain=True))
