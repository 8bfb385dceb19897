"""``python -m chrysalis_memory.demo``: the demonstration, without the command line."""

import asyncio

from rich.console import Console

from chrysalis_memory.demo import run

if __name__ == "__main__":
    console = Console()
    if not console.is_terminal:
        console.width = 100
    asyncio.run(run(console))
