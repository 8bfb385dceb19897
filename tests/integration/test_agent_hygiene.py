"""An agent finds what it has learned twice in other words, and tidies it up."""

from pathlib import Path

from chrysalis_memory import AgentMemory


async def test_an_agent_finds_near_duplicates_and_joins_them(tmp_path: Path) -> None:
    async with AgentMemory("ada", path=tmp_path / "memory.db", embedder="minilm") as memory:
        first = await memory.learn("The user likes green tea in the morning", tags=["drinks"])
        second = await memory.learn("In the morning the user likes green tea", tags=["habits"])
        await memory.learn("The invoice is due on Friday")

        (group,) = await memory.duplicates(0.9)
        survivor = await memory.consolidate([m.id for m in group.memories], how="join")

        assert {m.id for m in group.memories} == {first, second}
        assert survivor == first
        assert (await memory.get(first)).get_tags() == ["drinks", "habits"]
        assert [m.id for m in await memory.recall("what does the user drink?", 1)] == [first]
        assert await memory.count() == 2
        assert await memory.duplicates(0.9) == []
