"""An object store as a peer, through ``obstore`` (extra ``objects``)."""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlsplit

from chrysalis_memory.codec import shown
from chrysalis_memory.errors import (
    InvalidFrame,
    InvalidValue,
    PeerRefused,
    PeerUnavailable,
    ReplicationError,
)
from chrysalis_memory.replication.medium import MediumTransport
from chrysalis_memory.replication.messages import FRAME_BYTES_MAX
from chrysalis_memory.replication.segments import SUFFIX

try:
    import obstore
    from obstore.exceptions import (
        AlreadyExistsError,
        BaseError,
        PermissionDeniedError,
        UnauthenticatedError,
    )
    from obstore.store import ObjectStore, from_url
except ImportError as error:
    raise ReplicationError(
        f"syncing with an object store needs the module {error.name or 'obstore'!r}, which is not "
        "installed: pip install 'chrysalis-memory[objects]'"
    ) from error

# Their types mention Arrow, which is not needed and not installed.
_folders: Callable[..., Any] = cast("Any", obstore).list_with_delimiter
_files: Callable[..., Iterable[Sequence[Any]]] = cast("Any", obstore).list

SCHEMES = ("s3", "file")
_RETRIES = 3


class ObjectStoreTransport(MediumTransport):
    """Lets a store sync with all others that use the same bucket and prefix.

    Args:
        url: ``s3://bucket/prefix``, or ``file:///folder`` for a folder that is there.
            Keys, region and endpoint of S3 are taken from the environment as everywhere:
            ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``.
        timeout_seconds: How long a request may take, and a request with its repetitions.
        poll_seconds: How long to wait between looks at the store when told to wait for news.

    Raises:
        InvalidValue: a URL of another kind, or with keys in it.
        PeerUnavailable: a folder that is not there.

    The store must honour puts that create only (``If-None-Match: *``), as S3 has since 2024: one
    that does not would let two processes that sync one memory overwrite each other's segments.
    """

    def __init__(
        self, url: str, *, timeout_seconds: float = 30.0, poll_seconds: float = 5.0
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise InvalidValue(
                f"an object store is s3://bucket/prefix or file:///folder, not {parts.scheme}://"
                if parts.scheme
                else f"{shown(url)} is no URL; give s3://bucket/prefix or file:///folder"
            )
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise InvalidValue(
                f"the URL of {parts.scheme}://{parts.hostname}{parts.path} holds more than "
                "bucket and prefix; "
                "give keys in the environment, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        medium = ObjectMedium(_open(url.rstrip("/"), timeout_seconds), name=url.rstrip("/"))
        super().__init__(medium, poll_seconds=poll_seconds)


def _open(url: str, timeout_seconds: float) -> ObjectStore:
    timeout = timedelta(seconds=timeout_seconds)
    try:
        if url.startswith("file:"):
            return from_url(url)
        return from_url(
            url,
            # Without TLS only if the endpoint that was given says so.
            client_options={"timeout": timeout, "allow_http": True},
            retry_config={"max_retries": _RETRIES, "retry_timeout": timeout},
        )
    except BaseError as error:
        raise PeerUnavailable(f"{url} cannot be opened: {_first_line(error)}") from error


class ObjectMedium:
    """Implements :class:`Medium` on a store of ``obstore``.

    Args:
        store: The store, with its prefix.
        name: Where it is.
    """

    def __init__(self, store: ObjectStore, *, name: str) -> None:
        self._store = store
        self._name = name

    @property
    def name(self) -> str:
        """The URL."""
        return self._name

    def folders(self) -> list[str]:
        """See :meth:`Medium.folders`."""
        with self._reached():
            return list(_folders(self._store)["common_prefixes"])

    def files(self, folder: str, *, after: str) -> list[str]:
        """See :meth:`Medium.files`."""
        with self._reached():
            pages = _files(self._store, folder, offset=f"{folder}/{after}")
            names = [entry["path"].rpartition("/")[2] for page in pages for entry in page]
        return [name for name in names if name.endswith(SUFFIX)]

    def read(self, path: str) -> bytes | None:
        """See :meth:`Medium.read`."""
        with self._reached():
            try:
                found = obstore.get(self._store, path)
            except FileNotFoundError:
                return None
            if found.meta["size"] > FRAME_BYTES_MAX:
                raise InvalidFrame(f"{found.meta['size']:,} bytes are no frame")
            return bytes(found.bytes())

    def create(self, path: str, data: bytes) -> bool:
        """See :meth:`Medium.create`."""
        with self._reached():
            try:
                obstore.put(self._store, path, data, mode="create")
            except AlreadyExistsError:
                return False
        return True

    @contextmanager
    def _reached(self) -> Generator[None, None, None]:
        try:
            yield
        except (BaseError, OSError) as error:
            if _is_refusal(error):
                raise PeerRefused(
                    f"{self._name} does not let this replica in: {_first_line(error)}; "
                    "see to the keys, and to what they allow: listing, reading and creating"
                ) from error
            raise PeerUnavailable(
                f"{self._name} cannot be reached: {_first_line(error)}; sync again later"
            ) from error


def _is_refusal(error: Exception) -> bool:
    # Of a list that is refused, obstore keeps the status in the text alone.
    statuses = ("401 Unauthorized", "403 Forbidden")
    return isinstance(error, PermissionDeniedError | UnauthenticatedError) or any(
        status in _first_line(error) for status in statuses
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
