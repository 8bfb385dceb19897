"""Every error the distribution raises, as one tree.

::

    ChrysalisError                     root; defined in embedders.errors, the lowest package
    ├── EmbedderError                  everything an embedder can raise (see embedders.errors)
    ├── InvalidValue                   an argument is not acceptable; nothing was changed
    │   ├── InvalidDocument            bytes or JSON that are no document of a known format
    │   └── OutOfView                  a view of a memory does not reach that far
    ├── DocumentMismatch               two documents with different ids cannot be merged
    ├── MemoryNotFound                 no memory has this id
    ├── MemoryForgotten                the id was forgotten; only learning it on purpose revives it
    ├── ExtractorError                 no facts could be drawn from a conversation
    │   └── ExtractorUnavailable       what draws them cannot be reached now; retry
    ├── ReplicationError               replicas could not exchange; what was merged stays merged
    │   ├── InvalidFrame               what arrived is no whole, valid message; nothing was changed
    │   ├── UnsupportedProtocol        a message of a newer version; upgrade
    │   ├── PeerUnavailable            the peer cannot be reached now; retry
    │   └── PeerRefused                the peer does not let this replica in
    └── StorageError                   the store could not do what was asked; nothing was changed
        ├── StoreBusy                  another process holds the write lock; retry
        │   └── ErasureIncomplete      forgotten, but its bytes are not gone yet; retry
        ├── StoreClosed                the store was used after close()
        ├── NotADatabase               the path is a directory, damaged, or no Chrysalis memory
        │   └── WrongKey               an encrypted file, and a key that does not open it
        ├── NewerSchema                the file was written by a newer version
        └── EmbeddingSpaceMismatch     the file's vectors were made by another embedder

``DegradedRecall`` is a warning. ``InvalidValue`` is also a ``ValueError``, ``MemoryNotFound`` also
a ``KeyError``, so code that knows nothing of this package still catches what it expects.
"""

from embedders.errors import ChrysalisError, EmbedderError

__all__ = [
    "ChrysalisError",
    "DegradedRecall",
    "DocumentMismatch",
    "EmbedderError",
    "EmbeddingSpaceMismatch",
    "ErasureIncomplete",
    "ExtractorError",
    "ExtractorUnavailable",
    "InvalidDocument",
    "InvalidFrame",
    "InvalidValue",
    "MemoryForgotten",
    "MemoryNotFound",
    "NewerSchema",
    "NotADatabase",
    "OutOfView",
    "PeerRefused",
    "PeerUnavailable",
    "ReplicationError",
    "StorageError",
    "StoreBusy",
    "StoreClosed",
    "UnsupportedProtocol",
    "WrongKey",
]


class InvalidValue(ChrysalisError, ValueError):
    """An argument is not acceptable; nothing was changed."""


class InvalidDocument(InvalidValue):
    """Bytes or JSON that are not a document of a format this version knows."""


class OutOfView(InvalidValue):
    """What was asked for goes beyond the view of a memory that it was asked of."""


class DocumentMismatch(ChrysalisError):
    """Two documents with different ids cannot be merged."""


class MemoryNotFound(ChrysalisError, KeyError):
    """No memory has this id."""

    def __init__(self, memory_id: str) -> None:
        super().__init__(
            f"no memory has the id {memory_id!r}; recent() and count() show what is stored"
        )
        self.memory_id = memory_id

    def __str__(self) -> str:
        return str(self.args[0])


class MemoryForgotten(ChrysalisError):
    """The memory was forgotten; writing to its id needs ``learn(..., id=...)`` on purpose."""

    def __init__(self, memory_id: str) -> None:
        super().__init__(
            f"memory {memory_id!r} was forgotten and is not changed by this; "
            f"to bring it back on purpose call learn(text, id={memory_id!r})"
        )
        self.memory_id = memory_id


class ExtractorError(ChrysalisError):
    """No facts could be drawn from a conversation; :meth:`AgentMemory.absorb` keeps its text."""


class ExtractorUnavailable(ExtractorError):
    """What draws facts cannot be reached now or is busy; absorbing may be tried again."""


class ReplicationError(ChrysalisError):
    """Replicas could not exchange everything; what was merged stays merged."""


class InvalidFrame(ReplicationError):
    """What arrived is no whole, valid message; nothing was changed."""


class UnsupportedProtocol(ReplicationError):
    """What arrived was written by a newer version; nothing was changed."""


class PeerUnavailable(ReplicationError):
    """The peer cannot be reached now; the call may be retried."""


class PeerRefused(ReplicationError):
    """The peer does not let this replica in."""


class StorageError(ChrysalisError):
    """The store could not do what was asked; nothing was changed."""


class StoreBusy(StorageError):
    """Another process held the write lock for longer than the timeout; the call may be retried."""


class ErasureIncomplete(StoreBusy):
    """A memory was forgotten for good, but its bytes are still in the file or its log.

    Erasing it again, once what the message names has ended, makes them go.
    """


class StoreClosed(StorageError):
    """The store was used after it was closed."""


class NotADatabase(StorageError):
    """The path cannot be opened as a Chrysalis memory."""


class WrongKey(NotADatabase):
    """The key that was given is not the file's, or the file is not encrypted."""


class NewerSchema(StorageError):
    """The file was written by a newer version of Chrysalis Memory."""


class EmbeddingSpaceMismatch(StorageError):
    """The file's vectors were made by another embedder than the one given."""


class DegradedRecall(UserWarning):
    """Recall could not embed its query and went by words alone."""
