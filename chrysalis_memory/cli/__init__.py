"""The command line: a translation between a shell and :class:`AgentMemory`.

Everything heavy is imported inside the commands, so that ``--help`` and completion answer at once.
"""

from chrysalis_memory.cli import changing, finding, keeping, keys, moving, replicas, serving
from chrysalis_memory.cli.program import cli, main

__all__ = ["changing", "cli", "finding", "keeping", "keys", "main", "moving", "replicas", "serving"]
