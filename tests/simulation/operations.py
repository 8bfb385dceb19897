"""What a replica may do to its own memories, drawn by chance."""

from random import Random

from chrysalis_memory.learning import NewMemory
from tests.simulation.fields import Change
from tests.simulation.node import Node

SHARED_TEXTS = (
    "Tea is at four", "The kettle is green", "Ada likes green tea", "Rain falls on the garden",
)  # fmt: skip
WORDS = ("tea", "green", "garden", "rain", "kettle", "four", "paper", "lamp", "river")
TAGS = ("red", "blue", "old")
SCORES = (0.1, 0.3, 0.6, 0.9)
SOON_US = 3_600_000_000
MEMORIES_MAX = 24


def act(random: Random, node: Node) -> tuple[str, str]:
    """Do something; return its name and the memory it was done to."""
    known = list(node.held.known)
    if not known or (len(known) < MEMORIES_MAX and random.random() < 0.22):
        return "learn", _learn(random, node)
    # Half of all goes to a few, so that replicas meet in them.
    memory_id = random.choice(sorted(known)[:3] if random.random() < 0.5 else known)
    view = node.view(memory_id)
    if not view.alive:
        return _to_a_forgotten(random, node, memory_id)
    chance = random.random()
    if chance < 0.06:
        node.forget(memory_id)
        return "forget", memory_id
    if chance < 0.18:
        node.use(memory_id, random.randint(1, 3))
        return "use", memory_id
    if chance < 0.24:
        node.blind(
            memory_id, _text(random), [_change(random, node) for _ in range(random.randint(0, 2))]
        )
        return "blind", memory_id
    changes = [_change(random, node) for _ in range(random.choice((1, 1, 1, 2)))]
    node.change(memory_id, changes)
    return "change " + ", ".join(f"{f} {k} {v}" for f, k, v in changes), memory_id


def _to_a_forgotten(random: Random, node: Node, memory_id: str) -> tuple[str, str]:
    chance = random.random()
    if chance < 0.4:
        node.learn(NewMemory.of(content=_text(random), id=memory_id, tags=_tags(random)))
        return "revive", memory_id
    if chance < 0.6:
        node.change(memory_id, [_change(random, node)])
        return "change a forgotten", memory_id
    if chance < 0.8:
        node.blind(memory_id, _text(random), [])
        return "blind to a forgotten", memory_id
    if chance < 0.9:
        node.use(memory_id, 1)
        return "use a forgotten", memory_id
    node.forget(memory_id)
    return "forget a forgotten", memory_id


def _learn(random: Random, node: Node) -> str:
    text = random.choice(SHARED_TEXTS) if random.random() < 0.6 else _text(random)
    importance = random.choice((None, None, *SCORES))
    evidence = [f"letter {random.randint(1, 3)}"] if random.random() < 0.3 else []
    return node.learn(
        NewMemory.of(content=text, tags=_tags(random), importance=importance, evidence=evidence)
    )


def _tags(random: Random) -> list[str]:
    return random.sample(TAGS, random.choice((0, 0, 1, 2)))


def _text(random: Random) -> str:
    return " ".join(random.choice(WORDS) for _ in range(random.randint(2, 5)))


def _change(random: Random, node: Node) -> Change:
    field = random.choice((
        "tag", "tag", "untag", "untag", "importance", "importance", "confidence", "content",
        "content", "metadata", "related", "parents", "evidence", "episode", "archived",
        "expires_at", "memory_type", "namespace",
    ))  # fmt: skip
    match field:
        case "tag" | "untag":
            return field, random.choice(TAGS), None
        case "importance" | "confidence":
            return field, None, random.choice(SCORES)
        case "content":
            return field, None, _text(random)
        case "metadata":
            return field, random.choice(("size", "room")), random.choice((None, 1, 2, 3))
        case "related" | "parents" | "evidence":
            return field, f"{field} {random.randint(1, 9)}", None
        case "episode":
            return field, random.choice((None, 1, 2)), random.choice((None, "talk", "walk"))
        case "archived":
            return field, None, random.random() < 0.5
        case "expires_at":
            at = node.wall_us() + random.randint(-SOON_US, SOON_US)
            return field, None, random.choice((None, at))
        case "memory_type":
            return field, None, random.choice(("episodic", "working", "semantic"))
        case _:
            return field, None, random.choice(("", "home", "home/ada"))
