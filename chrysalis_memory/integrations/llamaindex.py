"""LlamaIndex's long-term memory kept in an agent's memory (extra ``llamaindex``)."""

import time
from collections.abc import Sequence
from typing import Any, cast

from chrysalis_memory.agent import AgentMemory
from chrysalis_memory.document import MemoryDocument
from chrysalis_memory.errors import ChrysalisError
from chrysalis_memory.integrations.anywhere import Anywhere
from chrysalis_memory.learning import NewMemory
from chrysalis_memory.recaller import RecallOptions

try:
    from llama_index.core.base.llms.types import ChatMessage, TextBlock
    from llama_index.core.bridge.pydantic import Field, PrivateAttr
    from llama_index.core.memory import BaseMemoryBlock
except ImportError as error:
    raise ChrysalisError(
        f"LlamaIndex's memory needs the module {error.name or 'llama_index.core'!r}, which is not "
        "installed: pip install 'chrysalis-memory[llamaindex]'"
    ) from error

__all__ = ["ChrysalisMemoryBlock"]


class ChrysalisMemoryBlock(BaseMemoryBlock[str]):
    """Keeps what leaves the chat history, and gives back what belongs to the latest messages.

    Every message with text is a memory, and a turn of its session. What is given back are lines
    such as ``user: Tea is at four``, best first. A memory that is not started is started here, and
    then stopped by :meth:`close`.

    Example::

        block = ChrysalisMemoryBlock(memory=AgentMemory("ada"))
        memory = Memory.from_defaults(session_id="monday", memory_blocks=[block])
    """

    name: str = Field(default="Memories", description="What the block is called in the prompt.")
    memory: AgentMemory = Field(description="Where messages are kept.", exclude=True)
    namespace: str = Field(default="llamaindex", description="Where in it.")
    k: int = Field(default=5, ge=1, le=1000, description="How many memories are given back.")
    query_messages: int = Field(
        default=1, ge=1, description="How many of the latest messages say what belongs there."
    )
    this_session_only: bool = Field(
        default=False, description="Whether to give back only what the same session has kept."
    )

    _anywhere: Anywhere = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Start the memory if it is not started yet."""
        super().model_post_init(context)
        self._anywhere = Anywhere(self.memory)

    def close(self) -> None:
        """Stop the memory if it was started here; closing twice is allowed."""
        self._anywhere.close()

    async def _aput(self, messages: list[ChatMessage]) -> None:
        now_us = time.time_ns() // 1000
        new = [
            NewMemory.of(
                content=text,
                namespace=self.namespace,
                memory_type="episodic",
                episode=message.additional_kwargs.get("session_id"),
                position=now_us + number,
                metadata={"role": message.role.value},
                unique=True,
            )
            for number, message in enumerate(messages)
            if (text := _text([message])).strip()
        ]
        await self._anywhere.arun(lambda: self.memory.learn_many(new))

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:
        query = _text((messages or [])[-self.query_messages :])
        if not query.strip():
            return ""
        options: RecallOptions = {"namespace": self.namespace}
        session_id = block_kwargs.get("session_id")
        if self.this_session_only and session_id is not None:
            options["episode"] = cast("str", session_id)
        found = await self._anywhere.arun(lambda: self.memory.recall(query, self.k, **options))
        return "\n".join(map(_line, found))


def _text(messages: Sequence[ChatMessage]) -> str:
    return "\n".join(
        block.text
        for message in messages
        for block in message.blocks
        if isinstance(block, TextBlock)
    )


def _line(memory: MemoryDocument) -> str:
    role = memory.metadata.get("role")
    return f"{role}: {memory.content}" if role else memory.content
