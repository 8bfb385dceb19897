"""An object store: what it is given as, and what it refuses."""

import socket
import subprocess
import sys
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import obstore
import pytest
from obstore.store import MemoryStore

from chrysalis_memory import MemoryDocument
from chrysalis_memory.errors import InvalidFrame, InvalidValue, PeerRefused, PeerUnavailable
from chrysalis_memory.replication.medium import MediumTransport
from chrysalis_memory.replication.messages import FRAME_BYTES_MAX, Item, Push, Sender, Since
from chrysalis_memory.replication.objects import ObjectMedium, ObjectStoreTransport
from chrysalis_memory.replication.segments import Segment
from chrysalis_memory.replication.transport import exchange

FEED = "0123456789abcdef-0123456789abcdef"
SENDER = Sender("fedcba9876543210", bytes(8), 0)
ITEM = Item(MemoryDocument(id="m", content="text").to_bytes(), {})


@pytest.fixture
def medium() -> ObjectMedium:
    return ObjectMedium(MemoryStore(), name="memory")


def test_an_object_is_created_once_and_never_overwritten(medium: ObjectMedium) -> None:
    path = Segment(FEED, 1).path
    assert [True, False] == [medium.create(path, data) for data in (b"first", b"second")]
    assert b"first" == medium.read(path)


def test_an_object_larger_than_a_part_is_created_once_too(medium: ObjectMedium) -> None:
    path = Segment(FEED, 1).path
    large = bytes(12 << 20)
    assert [True, False] == [medium.create(path, large) for _ in range(2)]


def test_only_what_was_not_read_yet_is_listed(medium: ObjectMedium) -> None:
    for number in range(1, 6):
        medium.create(Segment(FEED, number).path, b"")
    assert [FEED] == medium.folders()
    names = medium.files(FEED, after="00000003.chrysalis")
    assert ["00000004.chrysalis", "00000005.chrysalis"] == sorted(names)


def test_an_object_that_is_not_there_is_none(medium: ObjectMedium) -> None:
    assert None is medium.read(Segment(FEED, 1).path)


def test_an_object_longer_than_a_frame_is_not_fetched() -> None:
    store = MemoryStore()
    obstore.put(store, "big", bytes(FRAME_BYTES_MAX + 1))
    with pytest.raises(InvalidFrame, match="16,777,217 bytes"):
        ObjectMedium(store, name="memory").read("big")


class LosesAnswers(ObjectMedium):
    """Puts arrive, their answers do not, and the client puts again."""

    def create(self, path: str, data: bytes) -> bool:
        return super().create(path, data) and super().create(path, data)


async def test_a_put_whose_answer_was_lost_does_not_leave_a_segment_twice() -> None:
    medium = LosesAnswers(MemoryStore(), name="memory")
    transport = MediumTransport(medium)
    await exchange(transport, Since(SENDER, b"", 10))
    await exchange(transport, Push(SENDER.replica, [ITEM]))
    (feed,) = medium.folders()
    assert ["00000001.chrysalis"] == medium.files(feed, after="")


@pytest.mark.parametrize("url", ["http://host/bucket", "bucket/prefix", "s4://bucket", ""])
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue, match="s3://bucket/prefix"):
        ObjectStoreTransport(url)


@pytest.mark.parametrize(
    "url", ["s3://key:secret@bucket/prefix", "s3://bucket/prefix?secret=secret"]
)
def test_keys_in_a_url_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidValue, match="AWS_ACCESS_KEY_ID") as refused:
        ObjectStoreTransport(url)
    assert "secret" not in str(refused.value).lower().replace("aws_secret_access_key", "")


def test_a_place_has_one_name_with_or_without_a_last_slash(tmp_path: Path) -> None:
    urls = [f"file://{tmp_path}", f"file://{tmp_path}/"]
    assert {f"file://{tmp_path}"} == {ObjectStoreTransport(url).name for url in urls}


def test_a_folder_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(PeerUnavailable, match="nowhere"):
        ObjectStoreTransport(f"file://{tmp_path}/nowhere")


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.mark.usefixtures("keys")
async def test_a_store_that_cannot_be_reached_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as unheard:  # bound, but nobody listens
        unheard.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unheard.getsockname()[1]}")
        transport = ObjectStoreTransport("s3://bucket/prefix", timeout_seconds=0.5)
        with pytest.raises(PeerUnavailable, match=r"s3://bucket/prefix cannot be reached") as told:
            await exchange(transport, Since(SENDER, b"", 10))
    assert "\n" not in str(told.value)


class Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Generator[str, None, None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("keys")
async def test_a_store_that_refuses_the_keys_is_an_error_that_says_so(
    refusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", refusing)
    transport = ObjectStoreTransport("s3://bucket/prefix", timeout_seconds=5)
    with pytest.raises(PeerRefused, match=r"s3://bucket/prefix does not let this replica in"):
        await exchange(transport, Since(SENDER, b"", 10))


def test_without_the_extra_the_error_names_the_command_that_installs_it() -> None:
    script = (
        "import sys; sys.modules['obstore'] = None\n"
        "from chrysalis_memory.replication.peers import open_transport\n"
        "open_transport('s3://bucket/prefix')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert 1 == done.returncode
    assert "ReplicationError" in done.stderr
    assert "pip install 'chrysalis-memory[objects]'" in done.stderr
