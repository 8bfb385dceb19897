"""What the word index holds of a text, what it is asked for, and what it remembers of counts."""

from collections.abc import Iterator
from typing import Any

import pytest

from chrysalis_memory import MemoryDocument, MemoryStorage, integrity
from chrysalis_memory.backends import words
from chrysalis_memory.backends.base import Term, WeightedTerm
from chrysalis_memory.backends.sqlite.tokenizer import Tokenizer
from chrysalis_memory.query import Filter, Query

EVERYTHING = Query(Filter(), 1)


@pytest.fixture
def store() -> Iterator[MemoryStorage]:
    with MemoryStorage(":memory:", "ada") as storage:
        yield storage


def fill(store: MemoryStorage, *texts: str) -> list[str]:
    ids = [f"m{store.count() + i}" for i in range(len(texts))]
    return store.put_many([MemoryDocument(one, text) for one, text in zip(ids, texts, strict=True)])


def term(store: MemoryStorage, word: str) -> Term:
    return store.read(lambda session: session.term(word))


def held(store: MemoryStorage, *asked: str) -> list[int]:
    return store.read(lambda s: s.document_frequencies([s.term(word) for word in asked]))


def found(store: MemoryStorage, *asked: str, alone: bool = True) -> list[str]:
    def work(session: Any) -> list[str]:
        terms = [session.term(word) for word in asked]
        counts = session.document_frequencies(terms)
        weighted = [WeightedTerm(t, 1 / (n + 1), n) for t, n in zip(terms, counts, strict=True)]
        best = session.best_by_words(weighted, EVERYTHING, limit=3, alone=alone)
        return [stored.number for stored in session.load_numbers([n for n, _ in best])]

    return [memory.id for memory in store.load(store.read(work))]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("Running", Term(("run",))),
        ("CAFÉ", Term(("cafe",))),
        ("well-known", Term(("well", "known"))),
        ("get_user_name", Term(("get", "user", "name"))),
        ("config*", Term(("config",), prefix=True)),
        ("*", Term(())),
        ("東京タワー", Term(("東京", "京タ", "タワ", "ワー"))),
        ("東", Term(("東",), prefix=True)),
        ("v2東京", Term(("v2", "東京"))),
        ("?!", Term(())),
    ],
)
def test_a_word_is_looked_for_folded_stemmed_and_as_the_index_splits_it(
    store: MemoryStorage, word: str, expected: Term
) -> None:
    assert term(store, word) == expected


@pytest.mark.parametrize("asked", ["東京", "京", "ワ", "ー", "東京タワー", "タワー"])
def test_a_part_of_a_text_without_spaces_finds_it(store: MemoryStorage, asked: str) -> None:
    ids = fill(store, "昨日は東京タワーを見た", "京都へ行く tower")
    assert sorted(found(store, asked)) == (ids if asked == "京" else ids[:1])


def test_characters_in_another_order_are_not_found(store: MemoryStorage) -> None:
    fill(store, "東京タワー")
    assert found(store, "京東") == found(store, "タ京") == []


@pytest.mark.parametrize("asked", ["getUserName", "user", "name", "http", "response"])
def test_a_name_in_camel_case_is_found_whole_and_by_its_parts(
    store: MemoryStorage, asked: str
) -> None:
    ids = fill(store, "call getUserName before parseHTTPResponse", "something else")
    assert found(store, asked) == ids[:1]


def test_a_phrase_is_found_only_where_its_words_stand_in_a_row(store: MemoryStorage) -> None:
    ids = fill(store, "green tea with milk", "tea that is green", "the greenest tea")
    assert found(store, "green tea") == ids[:1]
    assert found(store, "tea that") == ids[1:2]


def test_a_prefix_finds_every_ending(store: MemoryStorage) -> None:
    ids = fill(store, "the configuration", "configured by hand", "a conference")
    assert sorted(found(store, "config*")) == ids[:2]
    assert held(store, "config*", "conf*", "configu*") == [2, 3, 2]


def test_words_that_very_many_hold_choose_nothing_beside_a_vector_but_still_count(
    store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "_ROWS", 2)
    ids = fill(store, "tea alone", "tea time", "tea rare", "tea tea tea")
    assert found(store, "tea", alone=False) == []
    assert found(store, "tea", "rare", alone=False) == [ids[2]]
    assert len(found(store, "tea", alone=True)) == 3


def test_words_that_very_many_hold_choose_while_a_memory_waits_for_its_vector(
    store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "_ROWS", 2)
    ids = fill(store, "tea alone", "tea time", "more tea")
    assert found(store, "tea", alone=False) == []
    store.open_space("space", "model", 4)
    assert sorted(found(store, "tea", alone=False)) == ids


def test_a_filter_is_answered_by_common_words_too(
    store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "_ROWS", 1)
    fill(store, "rare tea", "tea one", "tea two")
    store.update("m2", lambda memory: memory.add_tag("kept"))
    kept = Query(Filter.of(tags_all="kept"), 1)
    weighted = [WeightedTerm(Term(("rare",)), 2.0, 1), WeightedTerm(Term(("tea",)), 0.1, 3)]
    best = store.read(lambda s: s.best_by_words(weighted, kept, limit=1, alone=False))
    assert [memory.id for memory in store.load([number for number, _ in best])] == ["m2"]


def test_counts_follow_what_is_learned_changed_forgotten_and_revived(
    store: MemoryStorage,
) -> None:
    fill(store, "tea", "tea and milk")
    assert held(store, "tea", "milk") == [2, 1]
    fill(store, "more tea")
    assert held(store, "tea", "milk") == [3, 1]
    store.update("m1", lambda memory: memory.set_content("milk alone"))
    assert held(store, "tea", "milk") == [2, 1]
    kept = store.get("m0")
    assert kept is not None
    store.forget("m0")
    assert held(store, "tea", "milk") == [1, 1]
    store.put(kept.revived(2))
    assert held(store, "tea", "milk") == [2, 1]
    assert store.read(lambda s: s.document_count()) == 3


def test_counts_are_those_of_the_readers_snapshot(store: MemoryStorage) -> None:
    fill(store, "tea")

    def work(session: Any) -> list[int]:
        before = session.document_frequencies([Term(("tea",))])
        fill(store, "tea again")
        assert held(store, "tea") == [2]
        return before + session.document_frequencies([Term(("tea",))])

    assert store.read(work) == [1, 1]
    assert held(store, "tea") == [2]


def test_counts_see_what_another_store_of_the_same_file_writes(store: MemoryStorage) -> None:
    fill(store, "tea")
    assert held(store, "tea") == [1]
    with MemoryStorage(store.path, "bob") as other:
        fill(other, "tea", "tea")
        assert held(store, "tea") == [3]
        other.forget("m1")
        assert held(store, "tea") == held(other, "tea") == [2]


def test_rebuilding_finds_what_another_tokenizer_had_hidden(
    store: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Tokenizer, "of_memory", lambda _, text: text.upper().split())
        ids = fill(store, "running late", "late")
    fill(store, "late again")
    store.forget("m1")
    assert found(store, "run") == []
    store.rebuild_indexes()
    assert found(store, "run") == ids[:1]
    assert held(store, "late", "RUNNING") == [2, 1]
    assert store.read(lambda s: s.document_count()) == 2
    check = "INSERT INTO memory_text (memory_text, rank) VALUES ('integrity-check', 1)"
    store.submit(lambda transaction: transaction.session.connection.execute(check)).result(20)


def test_a_write_sees_its_own_words_and_those_of_the_writes_before_it(
    store: MemoryStorage,
) -> None:
    fill(store, "tea")

    def failing(transaction: Any) -> None:
        transaction.put(MemoryDocument("lost", "tea that is lost"))
        counts = transaction.session.document_frequencies([Term(("tea",)), Term(("lost",))])
        assert counts == [2, 1]
        raise KeyError("given up")

    with pytest.raises(KeyError):
        store.submit(failing).result(20)
    assert held(store, "tea", "lost") == [1, 0]
    fill(store, "tea")
    assert held(store, "tea") == [2]


def test_words_longer_than_any_page_of_the_index_are_found_and_told_apart(store: MemoryStorage):
    first, second = "x" * 40_000, "x" * 39_999 + "y"
    fill(store, first, second)

    assert [["m0"], ["m1"]] == [found(store, first), found(store, second)]
    assert ["m0", "m1"] == sorted(found(store, "x" * 180 + "*"))
    store.forget("m0")
    assert [[], ["m1"]] == [found(store, first), found(store, second)]
    assert [] == integrity.check(store.read).problems
