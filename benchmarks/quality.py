"""How well recall finds what answers a question, on real conversations, beside its baselines.

Every turn of a conversation is one memory ("Speaker: text"). A question counts when it has
evidence in its conversation; recall@k is the fraction of its evidence turns among the first k,
hit@k whether there is at least one, nDCG@k weighs them by rank (Järvelin and Kekäläinen 2002).
Prints each per category beside BM25 alone, dense alone, and reciprocal rank fusion (Cormack et
al. 2009), all over the same vectors and words in the same run.

    python benchmarks/quality.py --locomo locomo-open.json --qmsum qmsum-val.jsonl
"""

import argparse
import asyncio
import json
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from chrysalis_memory import AgentMemory, Weights
from embedders.cached import CachedEmbedder
from embedders.resolve import as_embedder

DEPTH = 50


class Question(NamedTuple):
    text: str
    category: str
    evidence: frozenset[str]


class Conversation(NamedTuple):
    name: str
    turns: dict[str, str]
    questions: list[Question]


def locomo(path: Path) -> Iterator[Conversation]:
    """LoCoMo (Maharana et al. 2024): long dialogues of two people, questions of five kinds."""
    for number, sample in enumerate(json.loads(path.read_text())):
        talk = sample["conversation"]
        sessions = [v for k, v in talk.items() if k.startswith("session_") and isinstance(v, list)]
        turns = {t["dia_id"]: said(t) for s in sessions for t in s}
        questions = []
        for qa in sample["qa"]:
            evidence = frozenset(e for e in qa.get("evidence", []) if e in turns)
            if evidence:
                questions.append(Question(qa["question"], str(qa["category"]), evidence))
        yield Conversation(f"locomo-{number}", turns, questions)


def said(turn: Mapping[str, str]) -> str:
    """The turn as text; what a shared image shows is part of what was said."""
    caption = turn.get("blip_caption")
    return f"{turn['speaker']}: {turn['text']}" + (f" [{caption}]" if caption else "")


def qmsum(path: Path) -> Iterator[Conversation]:
    """QMSum (Zhong et al. 2021): meetings, questions whose evidence is ranges of turns."""
    for number, line in enumerate(path.read_text().splitlines()):
        meeting = json.loads(line)
        turns = {
            str(i): f"{turn['speaker']}: {turn['content']}"
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


async def rankings(
    memory: AgentMemory, embedder: CachedEmbedder, talk: Conversation, question: Question
) -> Mapping[str, Sequence[str]]:
    async def ours(mode: str) -> list[str]:
        found = await memory.recall(question.text, DEPTH, mode=mode, track=False)
        return [recollection.id for recollection in found]

    ids = list(talk.turns)
    vectors = await embedder.embed(list(talk.turns.values()))
    query = (await embedder.embed([question.text], input_type="query"))[0]
    dense = [ids[i] for i in np.argsort(-(vectors @ query), kind="stable")[:DEPTH]]
    words = await ours("keyword")
    return {
        "BM25 alone": words,
        "dense alone, raw query": dense,
        "dense alone, names dropped": await ours("semantic"),
        "reciprocal rank fusion": fused_by_rank(words, dense),
        "chrysalis recall": await ours("hybrid"),
    }


Results = dict[str, dict[str, list[dict[str, float]]]]


async def measure(talks: Iterator[Conversation], embedder: CachedEmbedder, k: int) -> Results:
    results: Results = defaultdict(lambda: defaultdict(list))
    for talk in talks:
        with tempfile.TemporaryDirectory() as folder:
            async with AgentMemory(
                "benchmark", path=Path(folder) / "memory.db", embedder=embedder,
                synchronous="NORMAL", weights=Weights(),
            ) as memory:  # fmt: skip
                await memory.learn_many(
                    {"content": text, "id": turn} for turn, text in talk.turns.items()
                )
                for question in talk.questions:
                    found = await rankings(memory, embedder, talk, question)
                    for system, ranked in found.items():
                        results[system][question.category].append(
                            measures(ranked, question.evidence, k)
                        )
    return results


def mean(rows: Sequence[Mapping[str, float]], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)


def report(title: str, results: Results, headline: Sequence[str], k: int) -> None:
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


async def run(arguments: argparse.Namespace) -> None:
    embedder = CachedEmbedder(as_embedder(arguments.embedder), max_entries=1_000_000)
    for title, path, read, headline in (
        ("LoCoMo", arguments.locomo, locomo, ("1", "2", "3", "4")),
        ("QMSum", arguments.qmsum, qmsum, ("specific",)),
    ):
        if path:
            start = time.perf_counter()
            results = await measure(read(Path(path)), embedder, arguments.k)
            report(title, results, headline, arguments.k)
            print(f"\n{arguments.embedder}, {time.perf_counter() - start:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--locomo", help="path of a LoCoMo JSON file")
    parser.add_argument("--qmsum", help="path of a QMSum JSON lines file")
    parser.add_argument("--embedder", default="minilm")
    parser.add_argument("-k", type=int, default=10)
    arguments = parser.parse_args()
    if not (arguments.locomo or arguments.qmsum):
        parser.error("name at least one data set; see CONTRIBUTING for where they come from")
    asyncio.run(run(arguments))


if __name__ == "__main__":
    main()
