"""Syncs between replicas, step by step, over a network that loses, repeats and delays."""

from dataclasses import dataclass, field
from typing import Any

from chrysalis_memory import codec
from chrysalis_memory.replication import frames
from chrysalis_memory.replication.messages import (
    Holdings,
    Items,
    Offer,
    Page,
    Push,
    Request,
    Since,
    Want,
    Wanted,
)
from chrysalis_memory.replication.protocol import (
    Ask,
    Changed,
    Load,
    Merge,
    OwnHoldings,
    Renew,
    Report,
    Step,
    Take,
    synchronise,
)
from tests.simulation.node import Node

Knowledge = dict[str, int]
"""The writes that a message carries of each memory, as its sender knew them."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A request on its way: the frame, and what its sender knew."""

    frame: bytes
    known: Knowledge
    kind: str


def item_ids(items: Any) -> list[str]:
    """Return the ids of items, read from their bytes."""
    return [codec.unpack(item.state)[1] for item in items]


def deliver(node: Node, letter: Letter) -> tuple[bytes, Knowledge]:
    """Let a replica answer a request; return its answer and what it knew when it answered."""
    request = frames.request(letter.frame)
    before = node.digests(request.headers) if isinstance(request, Offer) else {}
    answer = node.replica.answer(request)
    match request, answer:
        case Since(), Page():
            node.released()
            node.note_identity()
        case Offer(), Wanted():
            if not answer.behind:
                node.took(request.headers, letter.known, before)
        case Push(), _:
            for memory_id in item_ids(request.items):
                node.merged(memory_id, letter.known[memory_id])
        case _:
            pass
    return frames.encode(answer), dict(node.held.known)


@dataclass(slots=True)
class OpenSync:
    """A sync that is under way.

    Args:
        node: The replica that syncs.
        peer: The one it syncs with.
    """

    node: Node
    peer: Node
    report: Report = field(default_factory=Report)
    seen: Knowledge = field(default_factory=dict[str, int])
    """What the peer knew when it sent its last headers or items of a memory."""
    shown: Knowledge = field(default_factory=dict[str, int])
    """What the replica knew when it read its own last headers or items of a memory."""
    steps: Any = None
    come: Any = None
    begun: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.node.replica.release()
        self.node.released()
        self.begun = self.incarnations
        self.steps = synchronise(self.node.replica.record(self.peer.name), self.report)

    @property
    def incarnations(self) -> tuple[int, int]:
        return self.node.incarnation, self.peer.incarnation

    def next(self) -> Step | None:
        """Return the next step, ``None`` at the end."""
        try:
            return self.steps.send(self.come)
        except StopIteration:
            return None

    def close(self) -> None:
        self.steps.close()

    # Steps

    def do(self, step: Step) -> None:
        """Do a step of the own store, and note what it means for what must be held."""
        before = self.node.digests(step.headers) if isinstance(step, Take) else {}
        self.come = self.node.replica.do(step, self.peer.name)
        match step:
            case Take(headers):
                self.node.took(headers, self.seen, before)
            case Merge(documents, _):
                for document in documents:
                    self.node.merged(document.id, self.seen[document.id])
            case Changed() | OwnHoldings():
                self._show([header.id for header in self.come.headers])
            case Load():
                self._show(item_ids(self.come))
            case Renew():
                self.node.note_identity()
            case _:
                pass

    def _show(self, ids: list[str]) -> None:
        for memory_id in ids:
            self.shown[memory_id] = self.node.held.known[memory_id]

    def letter(self, step: Ask) -> Letter:
        """Return the letter of a request."""
        request: Request = step.request
        ids: list[str] = []
        if isinstance(request, Offer):
            ids = [header.id for header in request.headers]
        elif isinstance(request, Push):
            ids = item_ids(request.items)
        known = {memory_id: self.shown[memory_id] for memory_id in ids}
        return Letter(frames.encode(request), known, type(request).__name__)

    def hear(self, step: Ask, frame: bytes, known: Knowledge) -> None:
        """Take an answer, with what the peer knew when it gave it."""
        self.come = answer = frames.answer(frame)
        ids: list[str] = []
        match answer:
            case Page() | Holdings():
                ids = [header.id for header in answer.headers]
            case Items() if isinstance(step.request, Want):
                ids = item_ids(answer.items)
            case _:
                pass
        for memory_id in ids:
            self.seen[memory_id] = known[memory_id]


def run_through(node: Node, peer: Node) -> Report:
    """Sync over a network that works, to the end."""
    sync = OpenSync(node, peer)
    while (step := sync.next()) is not None:
        if isinstance(step, Ask):
            sync.hear(step, *deliver(peer, sync.letter(step)))
        else:
            sync.do(step)
    return sync.report
