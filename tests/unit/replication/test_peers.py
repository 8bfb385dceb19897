"""What a user may give for a peer."""

from pathlib import Path

import pytest

from chrysalis_memory import MemoryDocument, MemoryStorage
from chrysalis_memory.errors import InvalidValue, NotADatabase, StoreClosed
from chrysalis_memory.replication.folder import FolderTransport
from chrysalis_memory.replication.http import HttpTransport
from chrysalis_memory.replication.objects import ObjectStoreTransport
from chrysalis_memory.replication.peers import OpenedTransport, open_transport
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.replicator import sync


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("given", ["shared", "~/shared", "shared/", "folder:shared"])
def test_a_folder_that_is_there_is_a_shared_folder(at_home: Path, given: str) -> None:
    (at_home / "shared").mkdir()
    transport = open_transport(given)
    assert isinstance(transport, FolderTransport)
    assert str((at_home / "shared").resolve()) == transport.name


@pytest.mark.parametrize("given", ["later/", "folder:later", "folder:~/later"])
def test_what_is_said_to_be_a_folder_is_one_though_it_is_not_there(
    at_home: Path, given: str
) -> None:
    transport = open_transport(given)
    assert isinstance(transport, FolderTransport)
    assert str(at_home.resolve() / "later") == transport.name


def test_a_folder_may_have_the_name_of_a_memory_file(at_home: Path) -> None:
    (at_home / "shared.db").mkdir()
    assert isinstance(open_transport("shared.db"), FolderTransport)
    assert isinstance(open_transport(at_home / "shared.db"), FolderTransport)


async def test_another_memory_file_is_opened_and_closed_with_its_transport(at_home: Path) -> None:
    with MemoryStorage(at_home / "ada.db", "ada") as ada:
        ada.put(MemoryDocument(id="m", content="text"))
        transport = open_transport("~/new.db")
        assert isinstance(transport, OpenedTransport)
        assert True is (await sync(Replica(ada), transport)).verified
        await transport.close()
        with pytest.raises(StoreClosed):
            await sync(Replica(ada), transport)
    with MemoryStorage(at_home / "new.db") as new:
        assert 1 == new.count()


async def test_a_memory_file_that_is_there_may_have_any_name(at_home: Path) -> None:
    MemoryStorage(at_home / "memories").close()
    transport = open_transport(Path("memories"))
    assert isinstance(transport, OpenedTransport)
    await transport.close()


def test_a_file_that_is_no_memory_is_refused(at_home: Path) -> None:
    (at_home / "letter.txt").write_text("Dear Ada, this is long enough to be no database at all.")
    with pytest.raises(NotADatabase, match=r"letter\.txt"):
        open_transport("letter.txt")


def test_a_bucket_is_an_object_store() -> None:
    transport = open_transport("s3://bucket/prefix/")
    assert isinstance(transport, ObjectStoreTransport)
    assert "s3://bucket/prefix" == transport.name


def test_a_file_url_is_a_folder_used_as_an_object_store(tmp_path: Path) -> None:
    transport = open_transport(f"file://{tmp_path}")
    assert isinstance(transport, ObjectStoreTransport)


@pytest.mark.parametrize("given", ["http://localhost:8420", "HTTPS://memory.example"])
async def test_a_web_address_is_a_served_memory(given: str) -> None:
    transport = open_transport(given, token="a-token-that-is-long-enough")
    assert isinstance(transport, HttpTransport)
    await transport.close()


@pytest.mark.parametrize(
    "given",
    ["", "folder:", "nothing-there", "ftp://ada:pw@host/memory.db", "memory://x", "mailto:ada"],
)
def test_what_is_no_peer_is_refused_with_what_one_looks_like(at_home: Path, given: str) -> None:
    with pytest.raises(InvalidValue, match=r"is no peer; give another memory file") as refused:
        open_transport(given)
    assert "pw" not in str(refused.value)


@pytest.mark.parametrize("given", ["other.db", "folder:shared", "s3://bucket"])
def test_a_token_for_what_takes_none_is_refused(at_home: Path, given: str) -> None:
    with pytest.raises(InvalidValue, match="token"):
        open_transport(given, token="secret")
    assert [] == list(at_home.iterdir())
