"""Servers: a memory, offered to others over a network (extra ``server``)."""

from importlib import import_module

from chrysalis_memory.errors import ReplicationError

try:
    import_module("starlette")
    import_module("uvicorn")
except ImportError as error:
    raise ReplicationError(
        f"serving over HTTP needs the module {error.name!r}, which is not installed: "
        "pip install 'chrysalis-memory[server]'"
    ) from error
