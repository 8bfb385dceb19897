"""A memory's history: the writes that still count, with who made them and when."""

from chrysalis_memory import HybridLogicalClock, MemoryDocument
from chrysalis_memory.history import history
from chrysalis_memory.wire import moment


def document() -> MemoryDocument:
    return MemoryDocument(
        id="m", content="Tea is at four", source_instance="ada", clock=HybridLogicalClock(lambda: 0)
    )


def test_every_write_that_counts_is_told_newest_first():
    memory = document()
    memory.set_content("Tea is at five", "bob")
    memory.set_importance(0.9, "cleo")
    memory.set_metadata({"cups": 2})
    memory.add_tag("tea")

    assert [(one.field, one.value, one.writer) for one in history(memory)] == [
        ("tags", "tea", "ada"),
        ("metadata.cups", 2, "ada"),
        ("importance", 0.9, "cleo"),
        ("content", "Tea is at five", "bob"),
        ("created", None, "ada"),
    ]


def test_the_moment_is_that_of_the_write():
    memory = document()
    memory.set_content("Tea is at five", "bob")

    assert history(memory)[0].at == moment(memory.state.content[0])


def test_what_was_replaced_or_removed_is_not_told():
    memory = document()
    memory.add_tag("tea")
    memory.remove_tag("tea")
    memory.set_importance(0.9, "bob")
    memory.set_importance(0.2, "cleo")

    assert [(one.field, one.value) for one in history(memory)] == [
        ("importance", 0.2),
        ("content", "Tea is at four"),
        ("created", None),
    ]


def test_concurrent_writes_of_a_score_are_both_told():
    mine, theirs = document(), document()
    mine.set_importance(0.9, "bob")
    theirs.set_importance(0.2, "cleo")
    told = history(mine.merge(theirs))

    assert {(one.writer, one.value) for one in told if one.field == "importance"} == {
        ("bob", 0.9),
        ("cleo", 0.2),
    }


def test_of_a_forgotten_memory_nothing_is_left():
    memory = document()
    memory.forget()

    assert history(memory) == []
