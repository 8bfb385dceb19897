"""What users may import, and that errors form one tree."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import chrysalis_memory
import embedders
from chrysalis_memory import Filter, crdt, errors
from chrysalis_memory.errors import ChrysalisError
from chrysalis_memory.query import Conditions

PACKAGES = (chrysalis_memory, crdt, embedders, errors)
every_package = pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)


@every_package
def test_public_names_are_sorted_unique_and_importable(package):
    assert sorted(set(package.__all__)) == package.__all__
    assert all(hasattr(package, name) for name in package.__all__)


@every_package
def test_every_public_name_is_documented(package):
    public = {name: getattr(package, name) for name in package.__all__}
    defined = {n: v for n, v in public.items() if inspect.isclass(v) or inspect.isfunction(v)}
    assert [] == [name for name, value in defined.items() if not value.__doc__]


def test_a_star_import_brings_the_public_names():
    names = {}
    exec("from chrysalis_memory import *", names)
    assert set(chrysalis_memory.__all__) <= set(names)


def test_the_names_of_the_readme_are_public():
    readme = {
        "AgentMemory", "Embedding", "GCounter", "GSet", "LWWRegister", "MemoryCollection",
        "MemoryDocument", "MemoryStorage", "ORSet", "VectorClock",
    }  # fmt: skip
    assert readme <= set(chrysalis_memory.__all__)


def test_keyword_conditions_are_the_fields_of_a_filter():
    assert list(Filter.model_fields) == list(Conditions.__annotations__)


def exceptions_of(package):
    """Return every error of the package that can reach its users; warnings are none."""
    found = set()
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.endswith("__main__"):
            continue
        try:
            members = vars(importlib.import_module(module.name)).values()
        except ImportError:
            continue
        except ChrysalisError as error:
            if not isinstance(error.__cause__, ImportError):
                raise
            continue  # an optional dependency is not installed
        found |= {m for m in members if inspect.isclass(m) and issubclass(m, Exception)}
    ours = {error for error in found if error.__module__.startswith(package.__name__)}
    return {e for e in ours if not (e.__name__.startswith("_") or issubclass(e, Warning))}


@pytest.mark.parametrize("package", [chrysalis_memory, embedders], ids=lambda p: p.__name__)
def test_every_error_stands_in_one_tree_with_one_root(package):
    strays = {e for e in exceptions_of(package) if not issubclass(e, ChrysalisError)}
    assert set() == strays


def test_every_error_is_public_where_errors_are_listed():
    listed = {getattr(errors, name) for name in errors.__all__}
    assert exceptions_of(chrysalis_memory) <= listed
    listed = {getattr(embedders, name) for name in embedders.__all__}
    assert exceptions_of(embedders) <= listed


@pytest.mark.parametrize(
    ("error", "parent"),
    [
        (errors.EmbedderError, ChrysalisError), (errors.InvalidValue, ChrysalisError),
        (errors.InvalidValue, ValueError), (errors.InvalidDocument, errors.InvalidValue),
        (errors.DocumentMismatch, ChrysalisError), (errors.MemoryNotFound, ChrysalisError),
        (errors.MemoryNotFound, KeyError), (errors.MemoryForgotten, ChrysalisError),
        (errors.StorageError, ChrysalisError), (errors.StoreBusy, errors.StorageError),
        (errors.StoreClosed, errors.StorageError), (errors.NotADatabase, errors.StorageError),
        (errors.NewerSchema, errors.StorageError),
        (errors.EmbeddingSpaceMismatch, errors.StorageError),
    ],
)  # fmt: skip
def test_the_tree_is_the_documented_one(error, parent):
    assert issubclass(error, parent)


def test_errors_about_a_memory_name_it_and_say_what_to_do():
    assert str(errors.MemoryNotFound("m1")).startswith("no memory has the id 'm1';")
    assert "learn(text, id='m1')" in str(errors.MemoryForgotten("m1"))


PICKLERS = re.compile(r"\b(pickle|shelve|marshal|dill|cloudpickle|joblib|allow_pickle)\b")


def test_no_module_reads_pickles():
    # Unpickling runs whatever a file says.
    sources = [
        path for package in PACKAGES[::2] for path in Path(package.__file__).parent.rglob("*.py")
    ]
    assert len(sources) > 100
    assert [] == [str(path) for path in sources if PICKLERS.search(path.read_text())]
