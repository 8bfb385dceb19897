"""How a knowledge graph lies in a memory."""

from collections.abc import Callable
from typing import Any

import pytest

from chrysalis_memory import NewMemory, graph


@pytest.mark.parametrize(
    ("make", "content"),
    [
        (lambda **n: graph.entity("Ada", "person", **n), "Ada (person)"),
        (lambda **n: graph.observation("Ada", "likes tea", **n), "Ada: likes tea"),
        (lambda **n: graph.relation("Ada", "Ben", "knows", **n), "Ada knows Ben"),
    ],
)
def test_each_part_of_a_graph_is_a_memory_of_its_own_whose_text_names_it(
    make: Callable[..., dict[str, Any]], content: str
):
    memory = NewMemory.of(**make())

    assert (memory.content, memory.namespace) == (content, "graph")
    assert make()["id"] == make()["id"]
    assert make()["id"] != make(namespace="other")["id"]
    assert make(namespace="other")["namespace"] == "other"


def test_links_lead_to_the_entities():
    ada, ben = graph.entity("Ada", "person")["id"], graph.entity("Ben", "robot")["id"]

    assert graph.observation("Ada", "likes tea")["parents"] == [ada]
    assert graph.relation("Ada", "Ben", "knows")["related"] == [ada, ben]
    assert graph.relation("Ada", "Ada", "knows")["related"] == [ada]


def test_parts_that_read_alike_are_told_apart_by_their_exact_strings():
    one, other = graph.observation("Ada", "x: y"), graph.observation("Ada: x", "y")

    assert one["content"] == other["content"]
    assert one["id"] != other["id"]
    assert one["metadata"] == {"kind": "observation", "name": "Ada", "observation": "x: y"}
