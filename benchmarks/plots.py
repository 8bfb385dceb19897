"""Draw what the benchmarks measured.

python benchmarks/recall.py --json results.jsonl    (and ann.py, quality.py)
pip install matplotlib
python benchmarks/plots.py results.jsonl --into docs/plots
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

Row = dict[str, Any]


def engines(rows: Sequence[Row], into: Path) -> None:
    """Latency of the vector search beside exact numpy in RAM, by size."""
    by_engine: dict[str, dict[int, float]] = defaultdict(dict)
    for row in rows:
        by_engine[row["engine"]][row["size"]] = row["ratio"]
    figure, axes = plt.subplots(figsize=(7, 4))
    for engine, by_size in by_engine.items():
        sizes = sorted(by_size)
        style = "o-" if engine.startswith("ours") else "x--"
        axes.plot(sizes, [by_size[size] for size in sizes], style, label=engine)
    axes.set(xscale="log", yscale="log", xlabel="vectors", ylabel="p50, exact numpy = 1")
    finish(figure, axes, into / "vector-search.svg")


def recalls(rows: Sequence[Row], into: Path) -> None:
    """Latency of a whole recall beside the bare flat vec0 query, by size."""
    by_size = {row["size"]: row for row in rows}
    sizes = sorted(by_size)
    figure, axes = plt.subplots(figsize=(7, 4))
    for name, label in (
        ("p50", "recall, hybrid, with explanations"),
        ("common", "recall, queries of common words"),
        ("bare", "bare vec0 query, vectors only"),
    ):
        axes.plot(sizes, [by_size[size][name] for size in sizes], "o-", label=label)
    axes.set(xscale="log", yscale="log", xlabel="memories", ylabel="p50, ms")
    finish(figure, axes, into / "recall.svg")


def quality(rows: Sequence[Row], into: Path) -> None:
    """Recall@10 of every system, by data set."""
    by_set: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        by_set[row["data"]][row["system"]] = row["recall"]
    figure, all_axes = plt.subplots(1, len(by_set), figsize=(5 * len(by_set), 4), squeeze=False)
    for axes, (data, by_system) in zip(all_axes[0], by_set.items(), strict=True):
        names = list(by_system)[::-1]
        colours = ["C0" if name.startswith("chrysalis") else "C7" for name in names]
        axes.barh(names, [by_system[name] for name in names], color=colours)
        axes.set(title=data, xlabel="recall@10")
    figure.tight_layout()
    figure.savefig(into / "quality.svg")


def finish(figure: Any, axes: Any, path: Path) -> None:
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path)


DRAWN = {"ann": engines, "recall": recalls, "quality": quality}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--into", type=Path, default=Path("docs/plots"))
    arguments = parser.parse_args()
    plt.rcParams["svg.hashsalt"] = "chrysalis"  # equal figures give equal files
    arguments.into.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for path in arguments.results for line in path.open()]
    for kind, draw in DRAWN.items():
        measured = [row for row in rows if row["kind"] == kind]
        if measured:
            draw(measured, arguments.into)


if __name__ == "__main__":
    main()
