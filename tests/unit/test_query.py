"""Filters: every condition alone, their combination, and what is refused.

That the store finds what ``matches`` matches is shown in tests/property/test_filters.py.
"""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from strategies import clock_at

from chrysalis_memory import Filter, MemoryDocument
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.query import OPERATORS, Condition, Scalar, scalar

NOW = datetime(2030, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def memory():
    memory = MemoryDocument("m", "text", "episodic", "ann", clock=clock_at(100))
    memory.set_namespace("user/ann")
    memory.set_episode("talk", 1)
    memory.add_tag("red")
    memory.add_tag("blue")
    memory.set_importance(0.7)
    memory.set_confidence(0.6)
    memory.set_metadata({"n": 3, "s": "pear", "b": True, "l": [1, 2], "gone": None})
    return memory


CREATED = EPOCH + 100 * MICROSECOND
UPDATED = EPOCH + 108 * MICROSECOND

MATCHING = [
    {},
    {"namespace": "user/ann"}, {"namespace_prefix": "user"}, {"namespace_prefix": "user/ann"},
    {"namespace_prefix": ""},
    {"memory_type": "episodic"}, {"memory_type": ["working", "episodic"]},
    {"tags_all": "red"}, {"tags_all": ["red", "blue"]}, {"tags_any": ["red", "green"]},
    {"tags_none": ["green"]}, {"tags_none": "green"}, {"tags_all": [], "tags_any": []},
    {"minimum_importance": 0.7}, {"minimum_confidence": 0.6}, {"minimum_importance": 0},
    {"sources": "ann"}, {"sources": ["bob", "a*"]}, {"sources_none": ["bob", "an"]},
    {"episode": "talk"},
    {"created_from": CREATED}, {"created_before": CREATED + MICROSECOND},
    {"updated_from": UPDATED}, {"updated_before": UPDATED + MICROSECOND},
    {"created_from": CREATED.astimezone(timezone(timedelta(hours=-7)))},
    {"metadata": {"n": 3}}, {"metadata": {"n": 3.0}}, {"metadata": {"l": [1, 2]}},
    {"metadata": {"gone": None}}, {"metadata": {"never": None}},
    {"metadata": {"n": {"$eq": 3}}}, {"metadata": {"n": {"$ne": 4}}},
    {"metadata": {"never": {"$ne": 4}}}, {"metadata": {"n": {"$ne": None}}},
    {"metadata": {"n": {"$gt": 2}}}, {"metadata": {"n": {"$gte": 3}}},
    {"metadata": {"n": {"$lt": 3.5}}}, {"metadata": {"n": {"$lte": 3}}},
    {"metadata": {"s": {"$gt": "peach", "$lt": "plum"}}},
    {"metadata": {"n": {"$in": [1, 3]}}}, {"metadata": {"never": {"$in": [None]}}},
    {"metadata": {"n": {"$nin": [1, 2]}}}, {"metadata": {"never": {"$nin": [1]}}},
    {"metadata": {"n": {"$exists": True}}}, {"metadata": {"gone": {"$exists": False}}},
    {"metadata": {"n": 3, "s": "pear", "b": True}},
]  # fmt: skip

FAILING = [
    {"namespace": "user"}, {"namespace": ""}, {"namespace_prefix": "user/an"},
    {"namespace_prefix": "user/ann/x"},
    {"memory_type": "semantic"}, {"memory_type": []},
    {"tags_all": ["red", "green"]}, {"tags_any": ["green"]}, {"tags_none": ["green", "red"]},
    {"minimum_importance": 0.71}, {"minimum_confidence": 0.61},
    {"sources": "an"}, {"sources": ["bob", "b*"]}, {"sources_none": ["bob", "*"]},
    {"episode": "tal"},
    {"created_from": CREATED + MICROSECOND}, {"created_before": CREATED},
    {"updated_from": UPDATED + MICROSECOND}, {"updated_before": UPDATED},
    {"metadata": {"n": 4}}, {"metadata": {"n": "3"}}, {"metadata": {"b": 1}},
    {"metadata": {"l": [2, 1]}}, {"metadata": {"n": None}}, {"metadata": {"n": {"$ne": 3}}},
    {"metadata": {"n": {"$gt": 3}}}, {"metadata": {"n": {"$gte": 3.1}}},
    {"metadata": {"n": {"$lt": 3}}}, {"metadata": {"n": {"$lte": 2}}},
    {"metadata": {"n": {"$gt": "2"}}}, {"metadata": {"s": {"$gt": 2}}},
    {"metadata": {"b": {"$gte": 0}}}, {"metadata": {"never": {"$lt": 9}}},
    {"metadata": {"n": {"$in": []}}}, {"metadata": {"n": {"$nin": [3]}}},
    {"metadata": {"never": {"$nin": [None]}}}, {"metadata": {"n": {"$exists": False}}},
    {"metadata": {"never": {"$exists": True}}}, {"metadata": {"n": 3, "s": "apple"}},
    {"metadata": {"n": {"$gt": 2, "$lt": 3}}}, {"tags_all": "red", "namespace": "user"},
]  # fmt: skip


@pytest.mark.parametrize("conditions", MATCHING, ids=str)
def test_a_memory_that_meets_every_condition_matches(memory, conditions):
    assert Filter.of(**conditions).matches(memory, now=NOW)


@pytest.mark.parametrize("conditions", FAILING, ids=str)
def test_a_memory_that_misses_one_condition_does_not_match(memory, conditions):
    assert not Filter.of(**conditions).matches(memory, now=NOW)


def test_every_condition_and_operator_is_tried_both_ways():
    for cases in (MATCHING, FAILING):
        tried = {name for conditions in cases for name in conditions}
        assert set(Filter.model_fields) - {"include_archived", "include_expired"} == tried
        values = [v for c in cases for v in c.get("metadata", {}).values() if isinstance(v, dict)]
        operators = {name for value in values for name in value}
        assert set(OPERATORS) - operators <= {"$eq"}


def test_an_expired_memory_matches_only_when_asked_for(memory):
    memory.set_expires_at(NOW)
    assert Filter().matches(memory, now=NOW - MICROSECOND)
    assert not Filter().matches(memory, now=NOW)
    assert Filter(include_expired=True).matches(memory, now=NOW)


def test_an_archived_memory_matches_only_when_asked_for(memory):
    memory.set_archived(True)
    assert not Filter().matches(memory, now=NOW)
    assert Filter(include_archived=True).matches(memory, now=NOW)


def test_a_forgotten_memory_never_matches(memory):
    memory.forget()
    assert not Filter(include_archived=True, include_expired=True).matches(memory, now=NOW)


def test_the_root_is_a_namespace():
    root = MemoryDocument("m", "text")
    assert Filter(namespace="").matches(root, now=NOW)
    assert not Filter(namespace_prefix="user").matches(root, now=NOW)


def test_conditions_that_are_none_are_left_out():
    assert Filter() == Filter.of(namespace=None, minimum_importance=None, metadata=None)
    assert Filter.of(namespace=None).is_empty
    assert not Filter.of(namespace="").is_empty
    assert not Filter.of(include_archived=True).is_empty


def test_a_single_word_stands_for_a_list_of_one():
    assert Filter.of(tags_any=["red"], memory_type=["working"]) == Filter.of(
        tags_any="red", memory_type="working"
    )


def test_an_object_without_operators_is_a_value(memory):
    memory.set_metadata({"o": {"a": 1, "b": 2}})
    assert Filter.of(metadata={"o": {"b": 2, "a": 1}}).matches(memory, now=NOW)
    assert not Filter.of(metadata={"o": {"a": 1}}).matches(memory, now=NOW)


def test_a_filter_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Filter().namespace = "user"


REFUSED = [
    {"unknown": 1}, {"namespace": 1}, {"namespace": "a//b"}, {"namespace_prefix": "/"},
    {"memory_type": "emotional"}, {"memory_type": ["semantic", 1]}, {"tags_all": [""]},
    {"tags_any": 1}, {"tags_none": [None]}, {"tags_all": "x" * 513}, {"minimum_importance": -0.1},
    {"minimum_importance": True}, {"minimum_importance": "0.5"}, {"minimum_confidence": 1.1},
    {"minimum_confidence": float("nan")}, {"episode": ""}, {"episode": 1},
    {"created_from": datetime(2030, 1, 1)}, {"created_before": "yesterday"},
    {"created_from": "2026"}, {"created_from": 2026}, {"created_from": "-1.5"},
    {"updated_from": ...}, {"updated_before": []}, {"include_archived": "perhaps"},
    {"include_expired": 2}, {"metadata": 1}, {"metadata": [("a", 1)]}, {"metadata": {"": 1}},
    {"metadata": {1: 1}}, {"metadata": {"a": float("nan")}}, {"metadata": {"a": ...}},
    {"metadata": {"a": {"$like": 1}}}, {"metadata": {"a": {"$gt": 1, "plain": 1}}},
    {"metadata": {"a": {"$in": 1}}}, {"metadata": {"a": {"$in": "ab"}}},
    {"metadata": {"a": {"$nin": {"x": 1}}}}, {"metadata": {"a": {"$exists": 1}}},
    {"metadata": {"a": {"$gt": True}}}, {"metadata": {"a": {"$lt": None}}},
    {"metadata": {"a": {"$gte": [1]}}}, {"metadata": {"a": {"$lte": {}}}},
    {"metadata": {"a": {"$eq": float("inf")}}},
]  # fmt: skip


@pytest.mark.parametrize("conditions", REFUSED, ids=str)
def test_a_condition_that_cannot_be_meant_is_refused(conditions):
    with pytest.raises(InvalidValue, match=rf"filter {next(iter(conditions))}"):
        Filter.of(**conditions)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, Scalar("boolean", 1)), (1, Scalar("number", 1)), (1.5, Scalar("number", 1.5)),
        ("1", Scalar("string", "1")), ({"b": 1, "a": [2]}, Scalar("json", '{"a":[2],"b":1}')),
    ],
)  # fmt: skip
def test_values_compare_only_within_their_kind(value, expected):
    assert expected == scalar(value)


def test_a_condition_holds_for_a_mapping_of_values():
    assert Condition("n", "$gte", 3).holds({"n": 3})
    assert not Condition("n", "$gte", 3).holds({})
    assert [1, 2] == Condition("n", "$in", (1, 2)).operands
    assert [(1, 2)] == Condition("n", "$eq", (1, 2)).operands
