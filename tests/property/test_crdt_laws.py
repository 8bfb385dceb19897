"""The laws of merging, for every CRDT type, and the meaning of two of them by an oracle.

A new type is tested by one more line in ``SUBJECTS``.
"""

from functools import reduce
from itertools import combinations, permutations
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import LAWS, WALLS, Subject, clock_at, subject_changes, subject_states

from chrysalis_memory import (
    GCounter,
    GSet,
    LWWRegister,
    ORSet,
    ScoreRegister,
    VectorClock,
)
from chrysalis_memory.errors import InvalidValue


def calls(method, *argument_tuples):
    """Return each call once with every stamp of the tiny domain."""
    return tuple(
        (method, arguments, {"timestamp": wall}) for arguments in argument_tuples for wall in WALLS
    )


def untimed(method, *argument_tuples):
    return tuple((method, arguments, {}) for arguments in argument_tuples)


VALUES = ("tea", "", 0, 1, 1.0, True, None, [1, {"b": 2, "a": 1}], {"ü": []})

SUBJECTS = {
    "GSet": Subject(GSet, untimed("add", ("x",), ("y",), ("ü",))),
    "ORSet": Subject(
        ORSet,
        tuple(
            ("add", (element,), {"writer": writer, "timestamp": wall})
            for element in "xy"
            for writer in ("ann", "bob")
            for wall in WALLS
        )
        + untimed("remove", ("x",), ("y",)) * 6,
    ),
    "LWWRegister": Subject(
        LWWRegister, calls("set", *((value, w) for value in VALUES for w in ("ann", "bob")))
    ),
    "ScoreRegister": Subject(
        ScoreRegister, calls("set", *((v, w) for v in (0, 0.3, 1.0) for w in ("ann", "bob")))
    ),
    "GCounter": Subject(GCounter, untimed("increment", ("ann",), ("bob",), ("bob", 3))),
    "VectorClock": Subject(VectorClock, untimed("tick", ("ann",), ("bob",))),
}

every_type = pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS)


@every_type
@settings(LAWS, max_examples=80)
@given(data=st.data())
def test_every_merge_order_of_three_states_gives_the_same_value(subject, data):
    a, b, c = data.draw(subject_states(subject))[-3:] or [subject.new()] * 3
    expected = a.merge(b).merge(c).to_bytes()
    for first, second, third in permutations((a, b, c)):
        assert expected == first.merge(second).merge(third).to_bytes()
        assert expected == first.merge(second.merge(third)).to_bytes()


@every_type
@settings(LAWS, max_examples=80)
@given(data=st.data())
def test_merging_what_is_known_already_changes_nothing(subject, data):
    reached = data.draw(subject_states(subject))
    everything = reduce(lambda a, b: a.merge(b), reached)
    for state in reached:
        assert state == state.merge(state)
        assert state == state.merge(subject.new())
        assert state == subject.new().merge(state)
        assert everything == everything.merge(state)


@every_type
@settings(LAWS, max_examples=80)
@given(data=st.data())
def test_every_change_only_adds_to_what_is_known(subject, data):
    before = data.draw(subject_states(subject))[-1]
    method, arguments, options = data.draw(subject_changes(subject))
    after = before.merge(before)
    getattr(after, method)(*arguments, **options)
    assert after == before.merge(after)
    assert after == after.merge(before)


@every_type
@settings(LAWS, max_examples=80)
@given(data=st.data())
def test_merge_and_later_changes_leave_its_inputs_alone(subject, data):
    a, b = data.draw(subject_states(subject))[-2:]
    before = a.to_bytes(), b.to_bytes()
    merged = a.merge(b)
    method, arguments, options = data.draw(subject_changes(subject))
    getattr(merged, method)(*arguments, **options)
    assert before == (a.to_bytes(), b.to_bytes())


@every_type
@settings(LAWS, max_examples=80)
@given(data=st.data())
def test_json_and_bytes_give_back_every_state(subject, data):
    kind = subject.new
    for state in data.draw(subject_states(subject)):
        assert state == kind.from_json(state.to_json())
        assert state == kind.from_bytes(state.to_bytes())
        assert state.to_bytes() == kind.from_json(state.to_json()).to_bytes()
        assert state.to_json() == kind.from_bytes(state.to_bytes()).to_json()


@every_type
@settings(LAWS, max_examples=80)
@given(data=st.data())
def test_states_are_equal_exactly_when_their_bytes_are(subject, data):
    reached = data.draw(subject_states(subject))[-8:]
    for a, b in combinations(reached, 2):
        assert (a == b) == (a.to_bytes() == b.to_bytes())
        assert (a == b) == (a.to_json() == b.to_json())


@every_type
@settings(LAWS, max_examples=80)
@given(data=st.data())
def test_what_a_type_can_read_but_did_not_write_is_refused_or_read_whole(subject, data):
    plain = data.draw(
        st.one_of(
            st.sampled_from(["", "nul", "[", "{}", "[]", "null", "0", "-1", "NaN", '""', "[[]]"]),
            st.sampled_from(['{"a":0}', '{"a":-1}', '{"a":true}', '{"a":1,"a":2}', '{"":1}']),
            st.sampled_from(['{"x":{"a":[1,2]}}', '{"a":[1,2,3]}', '[1,"a"]', '["\\ud800"]']),
            st.text(max_size=12),
        )
    )
    for read, text in ((subject.new.from_json, plain), (subject.new.from_bytes, plain.encode())):
        try:
            found = read(text)
        except InvalidValue:
            continue
        assert found == subject.new.from_bytes(found.to_bytes())


# An oracle: what sets and scores mean, told by events and who had seen which, with no stamps,
# writers or merging rules in it. Every replica is a writer of its own here.


class Event(NamedTuple):
    """A write and the writes its author had seen."""

    number: int
    subject: str
    value: float | None  # None undoes
    seen: frozenset[int]


class Witness:
    """A replica of the oracle: the events it knows."""

    def __init__(self):
        self.events = frozenset()

    def write(self, number, subject, value):
        seen = frozenset(event.number for event in self.events if event.subject == subject)
        self.events |= {Event(number, subject, value, seen)}

    def values(self, subject):
        """Return the values no known event has seen: concurrent ones stand side by side."""
        events = [event for event in self.events if event.subject == subject]
        seen = frozenset().union(*(event.seen for event in events))
        return {e.value for e in events if e.number not in seen and e.value is not None}


def oracle_steps(*writes):
    replica = st.sampled_from((0, 1, 2))
    write = st.tuples(replica, st.sampled_from(writes), st.sampled_from(WALLS))
    merge = st.tuples(replica, replica, st.none())
    return st.lists(st.one_of(write, merge), min_size=1, max_size=24)


@settings(LAWS, max_examples=1000)
@given(oracle_steps(("add", "x"), ("add", "y"), ("remove", "x"), ("remove", "y")))
def test_an_observed_remove_set_holds_what_no_knowing_remove_undid(steps):
    names = ("ann", "bob", "cid")
    replicas = [ORSet(name) for name in names]
    witnesses = [Witness() for _ in names]
    for number, (replica, what, wall) in enumerate(steps):
        if wall is None:
            replicas[replica] = replicas[replica].merge(replicas[what])
            witnesses[replica].events |= witnesses[what].events
            continue
        method, element = what
        if method == "add":
            replicas[replica].add(element, timestamp=wall)
            witnesses[replica].write(number, element, 1)
        else:
            replicas[replica].remove(element)
            witnesses[replica].write(number, element, None)
        for ours, witness in zip(replicas, witnesses, strict=True):
            assert {e for e in "xy" if witness.values(e)} == set(ours.elements())


@settings(LAWS, max_examples=1000)
@given(oracle_steps(0.0, 0.2, 0.5, 0.9, 1.0))
def test_a_score_is_the_greatest_of_those_that_no_knowing_write_replaced(steps):
    names = ("ann", "bob", "cid")
    replicas = [ScoreRegister(clock=clock_at(1)) for _ in names]
    witnesses = [Witness() for _ in names]
    for number, (replica, what, wall) in enumerate(steps):
        if wall is None:
            replicas[replica] = replicas[replica].merge(replicas[what])
            witnesses[replica].events |= witnesses[what].events
        else:
            replicas[replica].set(what, names[replica], timestamp=wall)
            witnesses[replica].write(number, "score", what)
        for ours, witness in zip(replicas, witnesses, strict=True):
            assert max(witness.values("score"), default=0.5) == ours.value


@settings(LAWS, max_examples=400)
@given(
    st.lists(
        st.tuples(st.sampled_from(("ann", "bob")), st.sampled_from(WALLS), st.sampled_from("abc")),
        min_size=1,
    )
)
def test_a_register_holds_the_greatest_stamp_then_writer_then_value(writes):
    registers = []
    for writer, wall, value in writes:
        register = LWWRegister()
        register.set(value, writer, timestamp=wall)
        registers.append(register)
    merged = reduce(LWWRegister.merge, registers)
    stamp, writer, value = max((wall, writer, value) for writer, wall, value in writes)
    assert (stamp, writer, value) == (merged.timestamp, merged.writer, merged.value)


counts = st.dictionaries(st.sampled_from("abc"), st.integers(1, 3))


@settings(LAWS, max_examples=400)
@given(counts, counts)
def test_two_vector_clocks_are_equal_ordered_or_concurrent_and_only_one_of_these(one, other):
    a, b = VectorClock(one), VectorClock(other)
    relations = (a == b, a.happened_before(b), b.happened_before(a), a.concurrent(b))
    assert relations.count(True) == 1
    assert a.concurrent(b) == b.concurrent(a)
    below = all(count <= other.get(name, 0) for name, count in one.items())
    assert (below and one != other) == a.happened_before(b)


@settings(LAWS)
@given(counts, counts)
def test_a_counter_takes_the_maximum_per_replica_and_the_sum_over_them(one, other):
    merged = GCounter(one).merge(GCounter(other))
    assert sum(max(one.get(name, 0), other.get(name, 0)) for name in "abc") == merged.value


elements = st.lists(st.sampled_from("abcdef"))


@settings(LAWS)
@given(elements, elements, elements)
def test_a_grow_only_set_lists_its_own_elements_first_then_what_merges_brought(one, two, three):
    merged = GSet(one).merge(GSet(two)).merge(GSet(three))
    assert list(dict.fromkeys(one + two + three)) == merged.elements() == list(merged)
    merged.add("z")
    assert [*dict.fromkeys(one + two + three), "z"] == merged.elements()
