"""How well recall finds what answers a question, on real conversations, beside its baselines.

Every turn of a conversation is one memory ("Speaker: text", and what a shared image shows), with
its place in its episode: the session or the meeting. A question counts when it has evidence in its
conversation; recall@k is the fraction of its evidence turns among the first k, hit@k whether there
is at least one, nDCG@k weighs them by rank (Järvelin and Kekäläinen 2002).
Prints each per category beside BM25 alone, dense alone, reciprocal rank fusion (Cormack et al.
2009) and a plain count of the query's words, all over the same vectors and words in the same run;
then what random and informative priors do to the ranking without neighbours.

    python benchmarks/quality.py --locomo locomo-open.json --qmsum qmsum-val.jsonl
"""

import argparse
import asyncio
import json
import math
import re
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import results as results_file

from chrysalis_memory import AgentMemory, Weights
from chrysalis_memory.backends.sqlite.tokenizer import match
from chrysalis_memory.query_text import words
from embedders.cached import CachedEmbedder
from embedders.resolve import as_embedder

DEPTH = 50


class Question(NamedTuple):
    text: str
    category: str
    evidence: frozenset[str]


class Turn(NamedTuple):
    text: str
    episode: str
    position: int


class Conversation(NamedTuple):
    name: str
    turns: dict[str, Turn]
    questions: list[Question]


def locomo(path: Path, captions: bool) -> Iterator[Conversation]:
    """LoCoMo (Maharana et al. 2024): long dialogues of two people, questions of five kinds."""
    for number, sample in enumerate(json.loads(path.read_text())):
        talk = sample["conversation"]
        sessions = [v for k, v in talk.items() if k.startswith("session_") and isinstance(v, list)]
        turns = {
            t["dia_id"]: Turn(said(t, captions), f"session {number}", position)
            for number, session in enumerate(sessions)
            for position, t in enumerate(session)
        }
        questions = []
        for qa in sample["qa"]:
            evidence = frozenset(e for e in qa.get("evidence", []) if e in turns)
            if evidence:
                questions.append(Question(qa["question"], str(qa["category"]), evidence))
        yield Conversation(f"locomo-{number}", turns, questions)


def said(turn: Mapping[str, str], captions: bool) -> str:
    """The turn as text; what a shared image shows is part of what was said."""
    caption = turn.get("blip_caption")
    return f"{turn['speaker']}: {turn['text']}" + (f" [{caption}]" if caption and captions else "")


def qmsum(path: Path) -> Iterator[Conversation]:
    """QMSum (Zhong et al. 2021): meetings, questions whose evidence is ranges of turns."""
    for number, line in enumerate(path.read_text().splitlines()):
        meeting = json.loads(line)
        turns = {
            str(i): Turn(f"{turn['speaker']}: {turn['content']}", "meeting", i)
            for i, turn in enumerate(meeting["meeting_transcripts"])
            if turn["content"].strip()
        }
        questions = []
        for query in meeting["specific_query_list"]:
            spans = [range(int(a), int(b) + 1) for a, b in query["relevant_text_span"]]
            evidence = frozenset(str(i) for span in spans for i in span if str(i) in turns)
            if evidence:
                questions.append(Question(query["query"], "specific", evidence))
        yield Conversation(f"qmsum-{number}", turns, questions)


def measures(ranked: Sequence[str], evidence: frozenset[str], k: int) -> dict[str, float]:
    found = [memory_id in evidence for memory_id in ranked[:k]]
    gain = sum(1 / math.log2(rank + 2) for rank, hit in enumerate(found) if hit)
    ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(evidence))))
    return {f"recall@{k}": sum(found) / len(evidence), f"hit@{k}": float(any(found)),
            f"nDCG@{k}": gain / ideal}  # fmt: skip


def fused_by_rank(*rankings: Sequence[str]) -> list[str]:
    scores: dict[str, float] = defaultdict(float)
    for ranking in rankings:
        for rank, memory_id in enumerate(ranking):
            scores[memory_id] += 1 / (60 + rank + 1)
    return sorted(scores, key=lambda memory_id: (-scores[memory_id], memory_id))


class Cached(CachedEmbedder):
    """Caches texts' vectors, and passes on the question for tokens' vectors."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner, max_entries=1_000_000)
        self.embed_tokens = inner.embed_tokens


ALONE = Weights(neighbours=0)
OURS: dict[str, dict[str, Any]] = {
    "chrysalis, plain": {"weights": ALONE},
    "chrysalis, neighbours": {},
    "chrysalis, late": {"weights": ALONE, "rerank": "late"},
    "chrysalis, neighbours and late": {"rerank": "late"},
}


def counted(question: Question, talk: Conversation) -> list[str]:
    """Rank turns by how many of the question's words occur in them, as a grep would."""
    wanted = {word.casefold() for word in words(question.text)}
    found = {
        turn: len(wanted & set(re.findall(r"\w+", text.casefold())))
        for turn, (text, *_) in talk.turns.items()
    }
    return sorted((turn for turn in found if found[turn]), key=lambda turn: -found[turn])


def by_bm25(session: Any, question: Question) -> list[str]:
    """Rank turns by what FTS5 makes of the question's words."""
    rows = session.connection.execute(
        "SELECT m.id FROM memory_text t JOIN memory m ON m.number = t.rowid "
        "WHERE memory_text MATCH ? ORDER BY t.rank LIMIT ?",
        (" OR ".join(match(session.term(word)) for word in words(question.text)), DEPTH),
    )
    return [found for (found,) in rows]


async def rankings(
    memory: AgentMemory, embedder: CachedEmbedder, talk: Conversation, question: Question
) -> Mapping[str, Sequence[str]]:
    async def ours(**options: Any) -> list[str]:
        found = await memory.recall(question.text, DEPTH, track=False, **options)
        return [recollection.id for recollection in found]

    ids = list(talk.turns)
    vectors = await embedder.embed([turn.text for turn in talk.turns.values()])
    query = (await embedder.embed([question.text], input_type="query"))[0]
    dense = [ids[i] for i in np.argsort(-(vectors @ query), kind="stable")[:DEPTH]]
    bm25 = memory.storage.read(lambda session: by_bm25(session, question))
    return {
        "word count (grep)": counted(question, talk),
        "BM25 alone (FTS5)": bm25,
        "dense alone, raw query": dense,
        "dense alone, names dropped": await ours(mode="semantic", weights=ALONE),
        "reciprocal rank fusion": fused_by_rank(bm25, dense),
        **{name: await ours(**options) for name, options in OURS.items()},
    }


Results = dict[str, dict[str, list[dict[str, float]]]]


async def with_priors(memory: AgentMemory, talk: Conversation, results: Results, k: int) -> None:
    """Measure the ranking again after uses of what answers questions, then with random priors."""
    generator = np.random.default_rng(7)

    async def ask(name: str, questions: Sequence[Question]) -> None:
        for question in questions:
            found = await memory.recall(question.text, DEPTH, track=False, weights=ALONE)
            ids = [recollection.id for recollection in found]
            results[name][question.category].append(measures(ids, question.evidence, k))

    await ask("no priors", talk.questions)
    uses: Counter[str] = Counter()
    for question in talk.questions:
        uses.update(dict.fromkeys(question.evidence, 5))
    memory.storage.record_access(uses)
    await ask("uses of what answers questions", talk.questions)
    memory.storage.record_access({turn: int(generator.integers(1, 1000)) for turn in talk.turns})
    for turn in talk.turns:
        importance, confidence = generator.random(2)
        await memory.update(turn, importance=importance, confidence=confidence)
    await ask("random importance, confidence, uses", talk.questions)


async def measure(
    talks: Iterator[Conversation], embedder: CachedEmbedder, k: int, priors: bool
) -> tuple[Results, Results]:
    results: Results = defaultdict(lambda: defaultdict(list))
    weighed: Results = defaultdict(lambda: defaultdict(list))
    for talk in talks:
        with tempfile.TemporaryDirectory() as folder:
            async with AgentMemory(
                "benchmark", path=Path(folder) / "memory.db", embedder=embedder,
                synchronous="NORMAL", weights=Weights(), late_interaction=True,
            ) as memory:  # fmt: skip
                await memory.learn_many(
                    {"content": text, "id": name, "episode": episode, "position": position}
                    for name, (text, episode, position) in talk.turns.items()
                )
                await memory.embed_pending()
                for question in talk.questions:
                    found = await rankings(memory, embedder, talk, question)
                    for system, ranked in found.items():
                        results[system][question.category].append(
                            measures(ranked, question.evidence, k)
                        )
                if priors:
                    await with_priors(memory, talk, weighed, k)
    return results, weighed


def mean(rows: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)


def report(
    title: str, results: Results, headline: Sequence[str], k: int, kept: results_file.Results
) -> None:
    categories = sorted({c for by_category in results.values() for c in by_category})
    counts = next(iter(results.values()))
    print(f"\n## {title}: {sum(len(counts[c]) for c in categories)} questions with evidence\n")
    names = [f"recall@{k}", f"hit@{k}", f"nDCG@{k}"]
    groups = {f"{'+'.join(headline)}": list(headline)} | {c: [c] for c in categories}
    print("| system | categories | questions | " + " | ".join(names) + " |")
    print("|---|---|---|" + "---|" * len(names))
    for label, group in groups.items():
        for system, by_category in results.items():
            rows = [row for category in group for row in by_category[category]]
            cells = " | ".join(f"{mean(rows, name):.3f}" for name in names)
            print(f"| {system} | {label} | {len(rows)} | {cells} |")
            if label == "+".join(headline):
                kept.add(kind="quality", data=title, system=system, recall=mean(rows, names[0]))


async def run(arguments: argparse.Namespace) -> None:
    embedder = Cached(as_embedder(arguments.embedder))

    def with_captions(path: Path) -> Iterator[Conversation]:
        return locomo(path, not arguments.no_captions)

    for title, path, read, headline in (
        ("LoCoMo", arguments.locomo, with_captions, ("1", "2", "3", "4")),
        ("QMSum", arguments.qmsum, qmsum, ("specific",)),
    ):
        if path:
            start = time.perf_counter()
            results, priors = await measure(
                read(Path(path)), embedder, arguments.k, title == "LoCoMo"
            )
            kept = results_file.Results(arguments.json)
            report(title, results, headline, arguments.k, kept)
            if priors:
                report(f"{title}, priors", priors, headline, arguments.k, kept)
            print(f"\n{arguments.embedder}, {time.perf_counter() - start:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--locomo", help="path of a LoCoMo JSON file")
    parser.add_argument("--qmsum", help="path of a QMSum JSON lines file")
    parser.add_argument("--no-captions", action="store_true", help="leave out what images show")
    parser.add_argument("--embedder", default="minilm")
    parser.add_argument("-k", type=int, default=10)
    results_file.add_option(parser)
    arguments = parser.parse_args()
    if not (arguments.locomo or arguments.qmsum):
        parser.error("name at least one data set; see CONTRIBUTING for where they come from")
    asyncio.run(run(arguments))


if __name__ == "__main__":
    main()
