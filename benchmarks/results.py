"""What a benchmark measured, kept as JSON lines for the plots."""

import argparse
import json
from pathlib import Path
from typing import Any


class Results:
    """Rows of one run, appended to a file where one is given."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def add(self, **row: Any) -> None:
        """Keep one row."""
        if self._path is not None:
            with self._path.open("a") as file:
                print(json.dumps(row), file=file)


def add_option(parser: argparse.ArgumentParser) -> None:
    """Let the user name the file."""
    parser.add_argument("--json", type=Path, help="append the figures to this file, for plots.py")
