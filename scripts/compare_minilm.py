"""Measure every way to store the bundled model's weights against the original.

    python scripts/compare_minilm.py [--locomo PATH_TO_LOCOMO_JSON]

Needs the environment that scripts/build_minilm.py describes, torch included. Prints size,
speed, likeness to the float32 original and, with LoCoMo's JSON, recall of every candidate.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import inspect
import json
import pkgutil
import random
import re
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from build_minilm import CANDIDATES, MAX_TOKENS, ROOT, Array, find_source, load_weights, write

if TYPE_CHECKING:
    from embedders import Embedder


def real_texts(count: int) -> list[str]:
    """Draw docstrings of the standard library: real English of all lengths, on every machine."""
    found: set[str] = set()
    warnings.simplefilter("ignore")
    for module in pkgutil.iter_modules():
        if module.name not in sys.stdlib_module_names or module.name in ("antigravity", "this"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            members = vars(value).values() if inspect.isclass(value) else ()
            for documented in (value, *members):
                text = getattr(documented, "__doc__", None)
                if isinstance(text, str) and len(text) > 20 and " " in text:
                    found.add(inspect.cleandoc(text))
    return random.Random(1).sample(sorted(found), count)


def recall_at_10(embed: Callable[[list[str]], Array], conversations: Path) -> float:
    """Dense recall@10 on LoCoMo (Maharana et al., 2024), categories 1 to 4."""
    recalls: list[float] = []
    for entry in json.loads(conversations.read_text("utf-8")):
        sessions = entry.get("conversation", entry)
        keys = [key for key in sessions if re.fullmatch(r"session_\d+", key)]
        turns = [turn for key in keys for turn in sessions[key]]
        names = [turn["dia_id"] for turn in turns]
        questions = [
            question
            for question in entry["qa"]
            if question["category"] in (1, 2, 3, 4) and set(question["evidence"]) & set(names)
        ]
        memories = embed([f"{turn['speaker']}: {turn['text']}" for turn in turns])
        scores = embed([question["question"] for question in questions]) @ memories.T
        for question, best in zip(questions, np.argsort(-scores, axis=1)[:, :10], strict=True):
            evidence = set(question["evidence"])
            recalls.append(len(evidence & {names[at] for at in best}) / len(evidence))
    return float(np.mean(recalls))


def compare(source: Path, weights: dict[str, Array], conversations: Path | None) -> None:
    """Print size, speed, likeness to the original and recall of every candidate."""
    # Imported here: building the model needs neither torch nor the project itself.
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

    sys.path.insert(0, str(ROOT))
    from embedders.minilm import MiniLMEmbedder

    original = SentenceTransformer(str(source), device="cpu", local_files_only=True)
    original.max_seq_length = MAX_TOKENS
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # Only texts that fit into one window, because the original cuts longer ones.
    drawn = real_texts(1500)
    texts = [text for text in drawn if len(tokenizer.encode(text).ids) <= MAX_TOKENS][:1000]
    reference = original.encode(texts, normalize_embeddings=True, batch_size=32)
    with tempfile.TemporaryDirectory() as parent:
        embedders: dict[str, MiniLMEmbedder] = {}
        megabytes: dict[str, float] = {}
        for at, (name, storage) in enumerate(CANDIDATES.items()):
            folder = Path(parent) / str(at)
            megabytes[name] = write(source, weights, folder, storage) / 1e6
            embedders[name] = MiniLMEmbedder(folder=folder, threads=2)
        speeds = asyncio.run(measure_speed(embedders, texts[:300]))
        print(
            "| weights | MB | texts/s | one text, ms | cosine mean | min | alone/batch | recall |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for name, embedder in embedders.items():

            def embed(batch: list[str], embedder: MiniLMEmbedder = embedder) -> Array:
                return asyncio.run(embedder.embed(batch))

            vectors = embed(texts)
            cosines = (vectors * reference).sum(axis=1)
            alone = np.concatenate([embed([text]) for text in texts[:100]])
            batch = (vectors[:100] * alone).sum(axis=1).min()
            recall = f"{recall_at_10(embed, conversations):.4f}" if conversations else "-"
            print(
                f"| {name} | {megabytes[name]:.1f} | {speeds[name][0]:.0f} | "
                f"{speeds[name][1]:.1f} | {cosines.mean():.5f} | {cosines.min():.5f} | "
                f"{batch:.5f} | {recall} |",
                flush=True,
            )


async def measure_speed(
    embedders: Mapping[str, Embedder], texts: list[str], rounds: int = 3
) -> dict[str, tuple[float, float]]:
    """Median texts per second in batches, and milliseconds for one text.

    Every round measures all in turn, so that a busy minute of the machine hits every one alike.
    """
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in embedders}
    for _ in range(rounds):
        for name, embedder in embedders.items():
            await embedder.prepare()
            started = time.perf_counter()
            await embedder.embed(texts)
            batched = len(texts) / (time.perf_counter() - started)
            started = time.perf_counter()
            for text in texts[:50]:
                await embedder.embed([text])
            samples[name].append((batched, (time.perf_counter() - started) * 1000 / 50))
    return {
        name: (statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs))
        for name, pairs in samples.items()
    }


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--locomo", type=Path, help="LoCoMo's JSON, to compare recall as well")
    options = parser.parse_args()
    source = find_source()
    compare(source, load_weights(source), options.locomo)


if __name__ == "__main__":
    main()
