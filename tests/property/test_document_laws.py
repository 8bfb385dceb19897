"""The laws of merging documents, over every state that histories reach."""

from functools import reduce
from itertools import combinations, permutations

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import (
    LAWS,
    MEMORY_ID,
    REPLICAS,
    WALLS,
    WRITERS,
    History,
    clock_at,
    fresh,
    histories,
    living_steps,
    opened,
)

from chrysalis_memory import MemoryDocument
from chrysalis_memory import state as states

scores = st.sampled_from((0.0, 0.25, 0.5, 0.75, 1.0))
walls = st.sampled_from(WALLS)


def merged(documents):
    return reduce(MemoryDocument.merge, documents)


def knows(document, other):
    """Tell whether ``document`` holds everything ``other`` holds."""
    return document.merge(other).to_bytes() == document.to_bytes()


def digest(document):
    return states.digest(document.id, document.state)


@settings(LAWS, max_examples=2000)
@given(histories())
def test_every_merge_order_of_three_histories_gives_the_same_bytes(history):
    expected = merged(history.latest).to_bytes()
    for a, b, c in permutations(history.latest):
        assert expected == a.merge(b).merge(c).to_bytes()
        assert expected == a.merge(b.merge(c)).to_bytes()


@settings(LAWS, max_examples=400)
@given(histories(forgetting=False))
def test_every_merge_order_of_three_living_histories_gives_the_same_json(history):
    expected = merged(history.latest).to_json()
    for order in permutations(history.latest):
        assert expected == merged(order).to_json()


@settings(LAWS)
@given(histories())
def test_merging_in_place_gives_what_merge_returns(history):
    a, b, _ = history.latest
    in_place = a.copy()
    in_place.merge_into(b)
    assert a.merge(b) == in_place


@settings(LAWS)
@given(histories())
def test_merge_changes_neither_of_its_inputs(history):
    a, b, _ = history.latest
    before = a.to_bytes(), b.to_bytes()
    a.merge(b)
    assert before == (a.to_bytes(), b.to_bytes())


@settings(LAWS)
@given(histories())
def test_merging_what_is_known_already_changes_nothing(history):
    for document in history.reached:
        assert document == document.merge(document)
        assert document == document.merge(MemoryDocument.from_bytes(document.to_bytes()))
    everything = merged(history.reached)
    assert all(knows(everything, document) for document in history.reached)


@settings(LAWS, max_examples=400)
@given(histories())
def test_every_write_only_adds_to_what_is_known(history):
    for before, after in history.written:
        assert after == before.merge(after)
        assert after == after.merge(before)


@settings(LAWS)
@given(histories())
def test_merge_keeps_the_order_of_knowledge(history):
    a, b, c = history.latest
    assert knows(a.merge(b).merge(c), a.merge(c))


@settings(LAWS, max_examples=400)
@given(histories())
def test_json_and_bytes_give_back_every_reached_document(history):
    for document in history.reached:
        assert document == MemoryDocument.from_json(document.to_json())
        assert document == MemoryDocument.from_bytes(document.to_bytes())
        assert (document.id, document.state) == states.decode(document.to_bytes())


@settings(LAWS)
@given(histories())
def test_documents_are_equal_exactly_when_their_bytes_are(history):
    encoded = [(d, d.to_bytes(), d.to_json()) for d in history.latest + history.past[0][-8:]]
    for (a, bytes_a, json_a), (b, bytes_b, json_b) in combinations(encoded, 2):
        assert (a == b) == (bytes_a == bytes_b)
        assert (a == b) == (json_a == json_b)


@settings(LAWS)
@given(histories())
def test_encodings_of_a_document_read_back_are_the_same(history):
    for document in history.latest:
        from_json = MemoryDocument.from_json(document.to_json())
        from_bytes = MemoryDocument.from_bytes(document.to_bytes())
        assert document.to_bytes() == from_json.to_bytes() == from_bytes.to_bytes()
        assert document.to_json() == from_json.to_json() == from_bytes.to_json()


@settings(LAWS)
@given(histories())
def test_digests_are_equal_exactly_when_all_but_the_access_counts_are(history):
    digests = [(d.state._replace(access={}), digest(d)) for d in history.reached[-12:]]
    for (state_a, digest_a), (state_b, digest_b) in combinations(digests, 2):
        assert (state_a == state_b) == (digest_a == digest_b)


@settings(LAWS, max_examples=400)
@given(histories(), st.sampled_from(REPLICAS))
def test_forgetting_is_never_undone_by_any_copy_from_before(history, replica):
    forgotten = history.latest[replica].copy()
    if not forgotten.is_forgotten:
        forgotten.forget()
    life = forgotten.state.life
    old_copies = [copy for copy in history.reached if copy.state.life < life]
    for order in (old_copies, old_copies[::-1]):
        assert forgotten == merged([forgotten, *order]) == merged([*order, forgotten])


@settings(LAWS)
@given(histories(forgetting=False), st.sampled_from(REPLICAS))
def test_forgetting_leaves_nothing_but_the_id_and_the_life(history, replica):
    forgotten = history.latest[replica].copy()
    forgotten.forget()
    assert states.encode(MEMORY_ID, states.tombstone(2)) == forgotten.to_bytes()


@settings(LAWS, max_examples=400)
@given(histories(forgetting=False))
def test_the_greatest_content_ever_written_is_what_all_copies_agree_on(history):
    everything = merged(history.reached)
    assert max(d.state.content for d in history.reached) == everything.state.content
    assert min(d.state.created for d in history.reached) == everything.state.created


@settings(LAWS, max_examples=400)
@given(histories(forgetting=False))
def test_links_and_evidence_of_restored_and_copied_replicas_all_survive(history):
    everything = merged(history.reached)
    for field in ("get_related", "get_parents", "get_evidence"):
        written = {item for document in history.reached for item in getattr(document, field)()}
        assert written == set(getattr(everything, field)())


@settings(LAWS)
@given(living_steps, st.sampled_from(REPLICAS), walls)
def test_an_added_tag_survives_every_merge_with_copies_that_have_not_seen_it(steps, replica, wall):
    history = History(steps)
    writer = opened(history.latest[replica], replica, wall)
    writer.add_tag("new")
    for order in permutations([writer, *history.latest]):
        assert "new" in merged(order).get_tags()


@settings(LAWS, max_examples=400)
@given(histories(forgetting=False), st.sampled_from(REPLICAS), walls)
def test_a_removed_tag_stays_removed_when_any_earlier_copy_is_merged(history, replica, wall):
    remover = merged(history.reached)
    remover = opened(remover, replica, wall)
    remover.add_tag("red")
    remover.remove_tag("red")
    for old in history.reached:
        assert "red" not in remover.merge(old).get_tags()
        assert "red" not in old.merge(remover).get_tags()


@settings(LAWS, max_examples=400)
@given(histories(forgetting=False), st.sampled_from(REPLICAS), walls, scores, scores)
def test_a_score_set_by_one_who_knows_all_others_replaces_them(
    history, replica, wall, importance, confidence
):
    informed = opened(merged(history.reached), replica, wall)
    informed.set_importance(importance)
    informed.set_confidence(confidence)
    for old in history.reached:
        for both in (informed.merge(old), old.merge(informed)):
            assert importance == both.get_importance()
            assert confidence == both.get_confidence()


@settings(LAWS)
@given(histories(forgetting=False), walls, scores, scores)
def test_the_greater_of_two_scores_set_at_once_counts(history, wall, one, other):
    base = merged(history.reached)
    a, b = opened(base, 0, wall), opened(base, 1, wall)
    a.set_importance(one)
    b.set_importance(other)
    assert max(one, other) == a.merge(b).get_importance() == b.merge(a).get_importance()


blind_documents = st.lists(
    st.tuples(st.sampled_from(WRITERS), walls, st.sampled_from(("tea", "milk")),
              st.lists(st.sampled_from("abcde"), max_size=3)),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(LAWS, max_examples=400)
@given(blind_documents, st.randoms(use_true_random=False))
def test_blind_writes_lose_neither_tags_nor_evidence_nor_the_latest_text(drawn, random):
    documents = []
    for writer, wall, content, tags in drawn:
        document = MemoryDocument(MEMORY_ID, content, source_instance=writer, clock=clock_at(wall))
        for tag in tags:
            document.add_tag(tag)
            document.add_evidence(tag)
        documents.append(document)
    random.shuffle(documents)
    result = merged(documents)
    expected = {tag for *_, tags in drawn for tag in tags}
    assert expected == set(result.get_tags())
    assert expected == set(result.get_evidence())
    greatest = max((wall, writer, content) for writer, wall, content, _ in drawn)
    assert greatest[2] == result.content


@settings(LAWS)
@given(histories(forgetting=False), walls)
def test_a_blind_write_overwrites_only_what_it_says(history, wall):
    known = history.latest[0]
    result = known.merge(fresh(1, wall, "blind"))
    assert known.state._replace(content=None, created=None, clock=None) == result.state._replace(
        content=None, created=None, clock=None
    )


@settings(LAWS)
@given(histories())
def test_a_restored_backup_that_goes_on_merges_with_what_was_written_since(history):
    for replica in REPLICAS:
        backup = opened(history.past[replica][0], replica, 1)
        if backup.is_forgotten:
            continue
        backup.add_tag("written after the restore")
        both = backup.merge(history.latest[replica])
        assert knows(both, backup)
        assert knows(both, history.latest[replica])
        if not both.is_forgotten and both.state.life == backup.state.life:
            assert "written after the restore" in both.get_tags()


@settings(LAWS)
@given(histories())
def test_every_read_of_a_reached_document_works(history):
    for document in history.reached:
        assert 0 <= document.get_importance() <= 1
        assert document.version >= 0
        assert document.is_forgotten == (document.updated_at is None)
        assert document.is_forgotten or document.created_at <= document.updated_at
        assert repr(document).startswith("MemoryDocument(")


@settings(LAWS)
@given(histories(forgetting=False), st.sampled_from(REPLICAS), walls)
def test_the_vector_clock_tells_that_two_writes_knew_nothing_of_one_another(history, replica, wall):
    base = merged(history.reached)
    a, b = opened(base, 0, wall), opened(base, 1, wall)
    a.set_content("by ann")
    b.set_content("by bob")
    counts = a.get_vector_clock(), b.get_vector_clock(), base.get_vector_clock()
    assert counts[0]["ann"] == counts[2].get("ann", 0) + 1
    assert counts[1]["bob"] == counts[2].get("bob", 0) + 1
    assert a.merge(b).get_vector_clock() == counts[0] | {"bob": counts[1]["bob"]}
