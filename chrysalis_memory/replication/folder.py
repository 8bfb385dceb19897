"""A shared folder as a peer: any tool that copies files may carry it to other machines."""

import os
import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from chrysalis_memory import folders
from chrysalis_memory.errors import InvalidFrame, PeerUnavailable
from chrysalis_memory.replication.medium import MediumTransport
from chrysalis_memory.replication.messages import FRAME_BYTES_MAX
from chrysalis_memory.replication.segments import SUFFIX

_PARTIAL = ".partial"
_PARTIAL_SECONDS_MAX = 3600


class FolderTransport(MediumTransport):
    """Lets a store sync with all others that use the same folder.

    Args:
        path: The folder; it must be there.
        poll_seconds: How long to wait between looks at the folder when told to wait for news.
    """

    def __init__(self, path: str | Path, *, poll_seconds: float = 1.0) -> None:
        super().__init__(FolderMedium(Path(path)), poll_seconds=poll_seconds)


class FolderMedium:
    """Implements :class:`Medium` on a folder.

    A file is written beside its place under a name that begins with a dot, brought to disk, and
    linked into its place, so it is seen whole or not at all, and never in the place of another.
    Where there are no hard links it is renamed; then two processes that sync one memory with one
    folder in the same moment could take the same number.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.expanduser().resolve()

    @property
    def name(self) -> str:
        """The folder's path, absolute and without links."""
        return str(self._path)

    def folders(self) -> list[str]:
        """See :meth:`Medium.folders`."""
        with self._reached(), os.scandir(self._path) as entries:
            return [entry.name for entry in entries if entry.is_dir()]

    def files(self, folder: str, *, after: str) -> list[str]:
        """See :meth:`Medium.files`."""
        with self._reached(), os.scandir(self._path / folder) as entries:
            names = [entry.name for entry in entries]
        return [name for name in names if name.endswith(SUFFIX) and not name.startswith(".")]

    def read(self, path: str) -> bytes | None:
        """See :meth:`Medium.read`."""
        try:
            with (self._path / path).open("rb") as file:
                data = file.read(FRAME_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InvalidFrame(f"cannot be read: {error}") from error
        return data

    def create(self, path: str, data: bytes) -> bool:
        """See :meth:`Medium.create`."""
        target = self._path / path
        with self._reached():
            if not target.parent.is_dir():
                target.parent.mkdir()  # and no more: the shared folder may be one to mount
                folders.settle(self._path)
            _sweep(target.parent)
            partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_PARTIAL}")
            try:
                with partial.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                is_new = _publish(partial, target)
            finally:
                partial.unlink(missing_ok=True)
            folders.settle(target.parent)
        return is_new

    @contextmanager
    def _reached(self) -> Generator[None, None, None]:
        try:
            yield
        except OSError as error:
            if not self._path.is_dir():
                raise PeerUnavailable(
                    f"the folder {self.name!r} is not there; create it, or mount what it is on"
                ) from error
            raise PeerUnavailable(
                f"the folder {self.name!r} cannot be used: {error}; see to its permissions and "
                "its space, then sync again"
            ) from error


def _publish(partial: Path, target: Path) -> bool:
    """Give a file its name; tell whether the name was free."""
    try:
        os.link(partial, target)
    except FileExistsError:
        return False
    except OSError:  # some file systems know no hard links
        if target.exists():
            return False
        partial.rename(target)
    return True


def _sweep(folder: Path) -> None:
    """Remove what killed syncs left half-written."""
    for partial in folder.glob(f".*{_PARTIAL}"):
        if time.time() - partial.stat().st_mtime > _PARTIAL_SECONDS_MAX:
            partial.unlink(missing_ok=True)
