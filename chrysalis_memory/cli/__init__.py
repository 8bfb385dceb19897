"""The command line: a translation between a shell and :class:`AgentMemory`.

Everything heavy is imported inside the commands, so that ``--help`` and completion answer at once.
"""

from chrysalis_memory.cli import memories, replicas, serving
from chrysalis_memory.cli.program import cli, main

__all__ = ["cli", "main", "memories", "replicas", "serving"]
