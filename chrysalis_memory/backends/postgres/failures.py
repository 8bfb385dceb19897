"""What PostgreSQL's errors are called here."""

from collections.abc import Generator
from contextlib import contextmanager

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout

from chrysalis_memory.errors import StorageError, StoreBusy

_RUN_AGAIN = (errors.DeadlockDetected, errors.SerializationFailure)
# Nothing at all, or an administrator's command, a crash, a shutdown.
_CUT_OFF = (None, "57P01", "57P02", "57P03")


def may_run_again(error: BaseException) -> bool:
    """Tell whether PostgreSQL gave up a transaction that may well succeed when it is run again."""
    return isinstance(error, _RUN_AGAIN)


def was_cut_off(error: BaseException) -> bool:
    """Tell whether the connection was lost, as when the server is restarted."""
    return isinstance(error, psycopg.OperationalError) and error.sqlstate in _CUT_OFF


@contextmanager
def translated_errors(shown: str) -> Generator[None]:
    """Raise PostgreSQL's errors as this package's, with the store and what to do.

    Args:
        shown: The store's URL without its password.

    Raises:
        StoreBusy: others held what was needed for too long.
        StorageError: anything else PostgreSQL reports.
    """
    try:
        yield
    except (psycopg.Error, PoolTimeout) as error:
        raise translated(error, shown) from error


def translated(error: BaseException, shown: str) -> BaseException:
    """Return PostgreSQL's error as :func:`translated_errors` raises it, any other as it is."""
    if not isinstance(error, psycopg.Error | PoolTimeout):
        return error
    found = _named(error, shown)
    found.__cause__ = error
    return found


def _named(error: psycopg.Error | PoolTimeout, shown: str) -> StorageError:
    if isinstance(error, errors.LockNotAvailable | PoolTimeout):
        return StoreBusy(
            f"others kept {shown!r} busy for too long; nothing was changed, try again, "
            "or open the store with a longer timeout_seconds"
        )
    if may_run_again(error):
        return StoreBusy(
            f"others wrote the same memories of {shown!r} again and again; nothing was changed, "
            "try again"
        )
    what = " ".join(str(error).split())
    if isinstance(error, errors.InsufficientPrivilege):
        return StorageError(f"the role that {shown!r} names may not do this ({what}); grant it")
    if isinstance(error, errors.DiskFull | errors.OutOfMemory):
        return StorageError(f"the server of {shown!r} has no room left ({what})")
    if was_cut_off(error):
        return StorageError(
            f"the connection to {shown!r} failed ({what}); a write that had not returned may be "
            "stored or not, and merging it again does no harm"
        )
    return StorageError(f"PostgreSQL failed on {shown!r}: {what}")
