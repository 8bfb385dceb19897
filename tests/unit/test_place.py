"""Where a memory file is."""

import shutil
import uuid
from pathlib import Path

import pytest

from chrysalis_memory.backends.sqlite import place
from chrysalis_memory.backends.sqlite.place import place_of

MADE_BY_ITS_MAKER = 0x00_1B_44_11_3A_B7
GIVEN_BY_A_CONTAINER = 0x02_42_AC_11_00_02


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "m.db"
    made.write_bytes(b"content")
    return made


def test_a_file_that_is_written_stays_where_it_is(file: Path) -> None:
    before = place_of(file)
    file.write_bytes(b"more content")
    assert before == place_of(file)


def test_a_copy_is_elsewhere_and_so_is_a_file_that_was_moved_or_replaced(file: Path) -> None:
    before = place_of(file)
    copy = Path(shutil.copy(file, file.with_name("copy.db")))
    assert before != place_of(copy)
    moved = file.rename(file.with_name("moved.db"))
    assert before != place_of(moved)
    copy.rename(file)
    assert before != place_of(file)


def test_another_machine_is_another_place(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    for machine in ("one\n", "two\n"):
        monkeypatch.setattr(place, "_MACHINE_ID", tmp_path / "machine-id")
        (tmp_path / "machine-id").write_text(machine)
        names.append(place_of(file))
    assert names[0] != names[1]


def test_without_a_machine_id_the_network_card_names_the_machine_unless_it_is_a_virtual_one(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "_MACHINE_ID", tmp_path / "none")
    found = {}
    for node in (MADE_BY_ITS_MAKER, GIVEN_BY_A_CONTAINER, GIVEN_BY_A_CONTAINER + 1):
        monkeypatch.setattr(uuid, "getnode", lambda node=node: node)
        found[node] = place_of(file)
    assert found[MADE_BY_ITS_MAKER] != found[GIVEN_BY_A_CONTAINER]
    assert found[GIVEN_BY_A_CONTAINER] == found[GIVEN_BY_A_CONTAINER + 1]
