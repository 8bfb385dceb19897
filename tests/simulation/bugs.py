"""Mistakes that somebody might make, each planted in the real code as a context manager."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from chrysalis_memory import identity, storage
from chrysalis_memory import state as states
from chrysalis_memory.backends.sqlite import session
from chrysalis_memory.backends.sqlite.feed import SQLiteChangeFeed
from chrysalis_memory.backends.sqlite.words import WordIndex
from chrysalis_memory.crdt import counts, gset, kernel, lww_register, orset
from chrysalis_memory.replication import protocol, replica
from chrysalis_memory.replication.messages import Want, document_of
from chrysalis_memory.replication.protocol import Merge

Bug = Callable[[], Any]


@contextmanager
def a_set_is_replaced_on_merge() -> Iterator[None]:
    """The incoming set of links is taken, instead of the union."""
    with mock.patch.object(gset, "join", lambda mine, theirs: theirs or mine):
        yield


@contextmanager
def equal_stamps_are_not_settled() -> Iterator[None]:
    """A register keeps its own value when stamps are equal, whoever wrote it."""

    def join(mine: Any, theirs: Any) -> Any:
        if mine is None or theirs is None:
            return mine or theirs
        return theirs if theirs[0] > mine[0] else mine

    with mock.patch.object(lww_register, "join", join):
        yield


@contextmanager
def a_removed_tag_returns() -> Iterator[None]:
    """Joining tags drops what was cleared, so an old copy brings a removed tag back."""

    def join(mine: orset.Elements, theirs: orset.Elements) -> orset.Elements:
        return {
            tag: {
                writer: max(
                    entries[writer]
                    for entries in (mine.get(tag, {}), theirs.get(tag, {}))
                    if writer in entries
                )
                for writer in mine.get(tag, {}) | theirs.get(tag, {})
            }
            for tag in mine | theirs
        }

    with mock.patch.object(orset, "join", join):
        yield


@contextmanager
def the_pulled_cursor_moves_too_early() -> Iterator[None]:
    """The cursor is kept before what it passes has been merged."""

    def receive(sync: Any, headers: Any, items: Any, record: Any) -> Generator[Any, Any, None]:
        yield Merge((), record)
        sync.record = record
        wanted = (yield protocol.Take(headers)) if headers else []
        while wanted:
            answer = yield from protocol._ask(sync, Want(wanted), protocol.Items)
            documents = [document_of(item) for item in answer.items]
            yield from protocol._merge(sync, documents, record)
            wanted = wanted[len(documents) :]

    with mock.patch.object(protocol, "_receive", receive):
        yield


@contextmanager
def a_copied_file_keeps_its_identity() -> Iterator[None]:
    """A file is not recognised as a copy: its replica id and its epoch stay."""

    # The template that the simulation copies has an identity, so the first opening renews it.
    def renewed_once(store: Any) -> identity.Identity:
        known = store.read(lambda s: (s.meta("seen before"), identity.known(s)))
        if known[0]:
            return known[1]
        place = store._backend.place()

        def work(t: Any) -> identity.Identity:
            t.session.set_meta("seen before", "yes")
            return identity.renew(t.session, place)

        return store.submit(work).result()

    with mock.patch.object(storage.MemoryStorage, "_identify", renewed_once):
        yield


@contextmanager
def use_counts_are_added_on_merge() -> Iterator[None]:
    """Counts of one replica are summed up, instead of the greater taken."""

    def join(mine: counts.Counts, theirs: counts.Counts) -> counts.Counts:
        return {name: mine.get(name, 0) + theirs.get(name, 0) for name in mine | theirs}

    bad = SimpleNamespace(join=join)
    with mock.patch.object(replica, "counts", bad), mock.patch.object(states, "counts", bad):
        yield


@contextmanager
def an_edit_undoes_forgetting() -> Iterator[None]:
    """A living copy beats a forgotten one, whatever their lives."""
    right = states.join

    def join(mine: states.State, theirs: states.State) -> states.State:
        if mine.alive != theirs.alive and abs(mine.life - theirs.life) == 1:
            return mine if mine.alive else theirs
        return right(mine, theirs)

    with mock.patch.object(states, "join", join):
        yield


@contextmanager
def quarantine_forgets() -> Iterator[None]:
    """What lies in the future is dropped."""
    with mock.patch.object(SQLiteChangeFeed, "quarantine", return_value=None):
        yield


def _scores_joined_by(join: Callable[[kernel.Entries, kernel.Entries], kernel.Entries]) -> Any:
    return mock.patch.object(states, "kernel", SimpleNamespace(join=join))


@contextmanager
def the_latest_importance_wins() -> Iterator[None]:
    """Of concurrent scores the latest stays, not the greatest."""

    def join(mine: kernel.Entries, theirs: kernel.Entries) -> kernel.Entries:
        joined = kernel.join(mine, theirs)
        live = sorted((stamp, writer) for writer, (stamp, _, _) in joined.items() if stamp)
        return {
            writer: entry if not live or not entry[0] or writer == live[-1][1]
            else (0, 0.0, max(entry[0], entry[2]))
            for writer, entry in joined.items()
        }  # fmt: skip

    with _scores_joined_by(join):
        yield


@contextmanager
def the_greatest_importance_wins() -> Iterator[None]:
    """What was cleared counts no more, so an importance cannot be lowered."""

    def join(mine: kernel.Entries, theirs: kernel.Entries) -> kernel.Entries:
        joined = dict(mine)
        for writer, entry in theirs.items():
            own = joined.get(writer, entry)
            joined[writer] = own if own[1] >= entry[1] else entry
        return joined

    with _scores_joined_by(join):
        yield


@contextmanager
def the_pushed_cursor_moves_too_early() -> Iterator[None]:
    """What was offered counts as given before the peer has acknowledged it."""

    def push(sync: Any) -> Generator[Any, Any, bool]:
        pushed = False
        more = True
        while more:
            feed = yield protocol.Changed(sync.record.pushed, protocol.PAGE)
            moved = sync.record._replace(pushed=feed.cursor)
            yield Merge((), moved)
            sync.record = moved
            new = [header for header in feed.headers if sync.known.get(header.id) != header]
            if new:
                own = yield protocol.Look()
                pushed = not (yield from protocol._offer(sync, own, new)) or pushed
            more = feed.more
        return pushed

    with mock.patch.object(protocol, "_push", push):
        yield


def _digests_counted(pick: Callable[[Sequence[int], Sequence[int]], tuple[Any, Any]]) -> Any:
    right = SQLiteChangeFeed.count_digests

    def count(self: Any, memory_id: str, *, old: Any, new: Any) -> None:
        old, new = pick(list(old), list(new))
        right(self, memory_id, old=old, new=new)

    return mock.patch.object(SQLiteChangeFeed, "count_digests", count)


@contextmanager
def sums_keep_replaced_rows() -> Iterator[None]:
    """The digest of a row that is replaced stays in the sum."""
    with _digests_counted(lambda _, new: ([], new)):
        yield


@contextmanager
def sums_leave_out_use_counts() -> Iterator[None]:
    """Use counts are not summed up, so that nobody notices when they differ."""
    with mock.patch.object(session, "access_digest", return_value=0):
        yield


@contextmanager
def merged_texts_are_not_indexed() -> Iterator[None]:
    """A known memory's new text does not reach the word index."""
    right = WordIndex.index_words

    def index(self: Any, number: int, text: Any, *, is_known: bool, is_new: bool = False) -> None:
        if is_new or text is None:
            right(self, number, text, is_known=is_known, is_new=is_new)

    with mock.patch.object(WordIndex, "index_words", index):
        yield


BUGS: tuple[Bug, ...] = (
    a_set_is_replaced_on_merge,
    equal_stamps_are_not_settled,
    a_removed_tag_returns,
    the_pulled_cursor_moves_too_early,
    a_copied_file_keeps_its_identity,
    use_counts_are_added_on_merge,
    an_edit_undoes_forgetting,
    quarantine_forgets,
    the_latest_importance_wins,
    the_greatest_importance_wins,
    the_pushed_cursor_moves_too_early,
    sums_keep_replaced_rows,
    sums_leave_out_use_counts,
    merged_texts_are_not_indexed,
)
