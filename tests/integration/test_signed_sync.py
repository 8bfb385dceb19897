"""A served memory with keys answers signed frames alone, and takes no more than a peer may give."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chrysalis_memory import AgentMemory, MemoryDocument, MemoryStorage
from chrysalis_memory.crdt.clock import HybridLogicalClock
from chrysalis_memory.errors import ChrysalisError, InvalidFrame, InvalidValue, PeerRefused
from chrysalis_memory.replication import frames, replicator
from chrysalis_memory.replication.http import HttpTransport
from chrysalis_memory.replication.messages import (
    AskSums,
    Item,
    Merged,
    Offer,
    Page,
    Push,
    Sender,
    Since,
    Sums,
)
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.rights import REPLICAS_MAX
from chrysalis_memory.replication.routes import CONTENT_TYPE, SIGNATURE
from chrysalis_memory.replication.signing import PeerKey, Signature, check_answer, new_secret
from chrysalis_memory.servers import http as server
from tests.faults.audit import audit
from tests.served import contents, served
from tests.signed import Passed, keyring, made, middleman, now_us, secrets_of

Open = Callable[..., MemoryStorage]
SECRETS = secrets_of("ada", "bob", "hub")
ADA, BOB, HUB = (PeerKey(name, secret) for name, secret in SECRETS.items())
STRANGER = PeerKey("ada", new_secret())
ENTRIES = {
    "hub": {"relays": True, "importance_max": 0.5, "access_max": 100},
    "bob": {"replicas": ("bobs-old-file",), "importance_max": 0.8},
}
EPOCH = bytes(8)


def sender(replica: str) -> Sender:
    return Sender(replica, EPOCH, 0)


def memory(memory_id: str = "m", importance: float | None = None, **counts: int) -> MemoryDocument:
    document = MemoryDocument(id=memory_id, content="Tea is at four", clock=HybridLogicalClock())
    if importance is not None:
        document.set_importance(importance, "somebody")
    for name, count in counts.items():
        document.record_access(name, count)
    return document


def item(document: MemoryDocument) -> Item:
    return Item(document.to_bytes(), document.state.access)


@pytest.fixture
def url(store: MemoryStorage) -> Iterator[str]:
    known = memory("known", 0.9, ghost=5)
    store.put(known)
    with served(store, keys=keyring(SECRETS, **ENTRIES), token="hush") as url:
        yield url


def said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["message"]


# Signatures


def test_a_signed_request_is_answered_by_a_signed_answer(url: str):
    asked = made(ADA, AskSums())
    answer = asked.send(url)
    check_answer(ADA, asked=asked.signature, frame=answer.content, header=answer.headers[SIGNATURE])

    assert answer.status_code == 200
    assert isinstance(frames.answer(answer.content), Sums)


@pytest.mark.parametrize("token", [None, "hush"])
def test_what_is_not_signed_is_refused_though_it_has_the_token(url: str, token: str | None):
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    answer = httpx.post(
        f"{url}/v1/pull", content=frames.encode(AskSums()),
        headers={"content-type": CONTENT_TYPE} | headers,
    )  # fmt: skip

    assert said(answer) == (
        401,
        (
            "frames are signed here, and this one is not; give the key of this peer "
            "(CHRYSALIS_SYNC_KEY)"
        ),
    )
    assert answer.headers["www-authenticate"] == SIGNATURE


def test_a_key_lets_nobody_read_the_api(url: str):
    signed = made(ADA, AskSums())
    paths = ("/v1/memories", "/v1/metrics", "/v1/pull/", "//v1/pull", "/v1/PULL")

    assert {
        httpx.post(url + path, headers=signed.headers).status_code for path in paths
    } == {401}  # fmt: skip


def changed(signature: Signature, field: str) -> Signature:
    if field == "stamp":
        return signature._replace(stamp=signature.stamp + 1)
    value = getattr(signature, field)
    return signature._replace(**{field: ("1" if value[0] == "0" else "0") + value[1:]})


@pytest.mark.parametrize("field", ["stamp", "nonce", "digest", "mac"])
def test_a_signature_of_which_anything_was_changed_is_not_valid(url: str, field: str):
    asked = made(ADA, AskSums())
    answer = asked._replace(signature=changed(asked.signature, field)).send(url)

    status, message = said(answer)
    assert (status, message.partition(":")[0]) == (401, "the signature is not valid")


def test_another_frame_another_route_another_peer_and_another_key_are_refused(url: str):
    asked = made(ADA, Since(sender("ada1"), b"", 10))
    push = frames.encode(Push("ada1", [item(memory())]))
    answers = [
        said(one.send(url))
        for one in (
            asked._replace(body=push),
            asked._replace(route="/v1/push"),
            asked._replace(signature=asked.signature._replace(peer="bob")),
            asked._replace(signature=asked.signature._replace(peer="eve")),
            made(STRANGER, AskSums()),
        )
    ]

    assert [status for status, _ in answers] == [401] * 5
    assert [message.partition(":")[0].partition(";")[0] for _, message in answers] == [
        "this is not the frame that was signed",
        "the signature is not valid",
        "the signature is not valid",
        "no peer is named 'eve' among the keys of this server",
        "the signature is not valid",
    ]


def test_what_was_refused_may_still_be_asked_once(url: str):
    asked = made(ADA, AskSums())
    asked._replace(body=b"another frame").send(url)

    assert asked.send(url).status_code == 200


def test_a_request_is_answered_once(url: str):
    asked = made(ADA, AskSums())
    with httpx.Client() as one, httpx.Client() as other:
        statuses = [
            client.post(url + asked.route, content=asked.body, headers=asked.headers).status_code
            for client in (one, one, other)
        ]
    assert statuses == [200, 401, 401]
    assert said(asked.send(url))[1] == "this request has come before; a replay is not answered"


@pytest.mark.parametrize("seconds", [-301, 301, -86_400, 4_000_000_000])
def test_a_wrong_clock_is_told_with_the_time_of_the_server(url: str, seconds: int):
    status, message = said(made(ADA, AskSums(), stamp=now_us() + seconds * 1_000_000).send(url))

    assert status == 401
    assert "set the clock that is wrong" in message
    assert "and here it is 20" in message


def test_what_was_signed_before_the_server_began_is_not_answered(store: MemoryStorage):
    keys = keyring(SECRETS)
    with served(store, keys=keys) as url:
        asked = made(ADA, AskSums())
        unused = made(ADA, AskSums())
        assert asked.send(url).status_code == 200
    with served(store, keys=keys) as url:
        answers = [said(one.send(url)) for one in (asked, unused)]
        assert made(ADA, AskSums()).send(url).status_code == 200

    assert [status for status, _ in answers] == [401, 401]
    assert "this server may have begun only then" in answers[0][1]


def test_two_signatures_are_one_too_many(url: str):
    asked = made(ADA, AskSums())
    both = [*asked.headers.items(), (SIGNATURE, str(asked.signature))]
    answer = httpx.post(url + asked.route, content=asked.body, headers=both)

    assert said(answer) == (401, "a frame has one signature")


# The peer's side


async def synced(store: MemoryStorage, url: str, key: str | None) -> bool | None:
    transport = HttpTransport(url, key=key)
    try:
        return (await replicator.sync(Replica(store), transport)).verified
    finally:
        await transport.close()


async def test_a_store_syncs_by_signed_frames(url: str, store: MemoryStorage, open_store: Open):
    own = open_store("own.db")
    own.put(memory("mine"))
    verified = await synced(own, url, f"ada:{SECRETS['ada']}")

    assert verified is True
    assert [one.id for one in store.all()] == [one.id for one in own.all()]
    audit(store)


async def test_whoever_has_no_key_is_told_to_give_it(url: str, open_store: Open):
    with pytest.raises(PeerRefused, match=r"give the key of this peer \(CHRYSALIS_SYNC_KEY\)"):
        await synced(open_store("own.db"), url, None)


async def test_a_server_that_does_not_sign_is_not_believed(store: MemoryStorage, open_store: Open):
    store.put(memory())
    own = open_store("own.db")
    with served(store) as url, pytest.raises(InvalidFrame, match="the answer is not signed"):
        await synced(own, url, f"ada:{SECRETS['ada']}")

    assert own.count() == 0


FORGERIES: dict[str, Callable[[Passed, list[Passed]], Passed]] = {
    "another frame": lambda now, _: now._replace(answer=frames.encode(Sums(bytes(4096)))),
    "a flipped bit": lambda now, _: now._replace(
        answer=now.answer[:-1] + bytes([now.answer[-1] ^ 1])
    ),
    "the answer before": lambda now, seen: now._replace(
        answer=seen[-2].answer, answer_headers=seen[-2].answer_headers
    ),
    "no signature": lambda now, _: now._replace(answer_headers={"content-type": CONTENT_TYPE}),
    "no known form": lambda now, _: now._replace(
        answer_headers=now.answer_headers | {SIGNATURE.lower(): "v=2, mac=0"}
    ),
    "the request's own": lambda now, _: now._replace(
        answer_headers=now.answer_headers
        | {SIGNATURE.lower(): "v=1, mac=" + now.headers[SIGNATURE.lower()].rpartition("=")[2]}
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_or_repeated_answer_is_refused(url: str, forgery: str):
    with middleman(url) as between:
        transport = HttpTransport(between.url, key=f"ada:{SECRETS['ada']}")
        request = frames.encode(Since(sender("ada1"), b"", 10))
        before = frames.answer(await transport.pull(request))
        between.change = lambda now: FORGERIES[forgery](now, between.seen)
        with pytest.raises(InvalidFrame, match="answer"):
            await transport.pull(request)
        await transport.close()

    assert isinstance(before, Page)


async def test_a_request_whose_answer_was_lost_is_signed_anew(url: str):
    with middleman(url) as between:
        between.change = lambda now: None if len(between.seen) == 1 else now
        transport = HttpTransport(between.url, key=f"ada:{SECRETS['ada']}")
        answer = frames.answer(await transport.pull(frames.encode(AskSums())))
        await transport.close()
        first, second = (Signature.parse(one.headers[SIGNATURE.lower()]) for one in between.seen)

    assert isinstance(answer, Sums)
    assert [one.status for one in between.seen] == [200, 200]
    assert first.digest == second.digest
    assert first.nonce != second.nonce


# Whose counters


def refused_for(url: str, key: PeerKey, *requests: Any) -> list[str]:
    answers = [made(key, request).send(url) for request in requests]
    assert [answer.status_code for answer in answers] == [403] * len(answers)
    return [answer.json()["message"] for answer in answers]


def bind(url: str, key: PeerKey, replica: str) -> None:
    assert made(key, Since(sender(replica), b"", 10)).send(url).status_code == 200


def test_a_peer_raises_its_own_counters(url: str, store: MemoryStorage):
    answer = made(ADA, Push("ada1", [item(memory(ada1=3))])).send(url)

    assert frames.answer(answer.content) == Merged(1, 0)
    assert store.get("m").get_access_count() == 3


def test_a_counter_of_another_replica_is_refused_with_all_that_came_with_it(
    url: str, store: MemoryStorage
):
    bind(url, ADA, "ada1")
    bind(url, BOB, "bob1")
    before = contents(store)
    hidden = memory("m", bob1=1).to_bytes()
    (known,) = (one for one in store.states() if one.id == "known")
    told = refused_for(
        url, ADA,
        Push("ada1", [item(memory("a", ada1=1)), item(memory("m", bob1=7))]),
        Push("ada1", [Item(hidden, {})]),
        Push("ada1", [item(memory("m", nobody=1))]),
        Push("ada1", [Item(known.to_bytes(), {"ghost": 6})]),
        Offer(sender("ada1"), [header_of(store, "known", ghost=6)]),
        Offer(sender("ada1"), [header_of(store, "known", bob1=1)]),
    )  # fmt: skip

    assert told[0] == (
        "'ada' raises the use counter of replica 'bob1', which is not its own, to 7 for memory "
        "'m'; let that replica sync itself, or say replicas = [...] or relays = true in the entry "
        "of 'ada'"
    )
    assert contents(store) == before
    audit(store)


def header_of(store: MemoryStorage, memory_id: str, **counts: int) -> Any:
    (found,) = store.read(lambda session: session.load_many([memory_id]))
    return found[0]._replace(access=counts)


def test_counters_of_others_that_are_held_already_are_taken(url: str, store: MemoryStorage):
    (known,) = (one for one in store.states() if one.id == "known")
    known.set_content("Tea is at five", "ada")
    answers = [
        made(ADA, Push("ada1", [Item(known.to_bytes(), {"ghost": 5, "ada1": 2})])).send(url),
        made(ADA, Offer(sender("ada1"), [header_of(store, "known", ghost=4)])).send(url),
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert store.get("known").get_access_count() == 7


def test_a_peer_that_relays_raises_counters_of_others(url: str, store: MemoryStorage):
    answer = made(HUB, Push("hub1", [item(memory(bob1=7, ada1=3))])).send(url)

    assert answer.status_code == 200
    assert store.get("m").get_access_count() == 10


def test_a_replica_id_belongs_to_the_key_that_came_with_it_first(url: str, store: MemoryStorage):
    bind(url, ADA, "ada1")
    bind(url, ADA, "ada2")
    before = contents(store)
    told = refused_for(
        url, BOB,
        Since(sender("ada1"), b"", 10), Offer(sender("ada2"), []), Push("ada1", []),
    )  # fmt: skip
    kept = contents(store)
    both = made(ADA, Push("ada2", [item(memory(ada1=1, ada2=1))])).send(url)

    assert told[0] == (
        "'bob' speaks as replica 'ada1', which belongs to another key; sync each file with its own "
        "key, and copy files by 'chrysalis clone'"
    )
    assert kept == before
    assert both.status_code == 200


def test_a_replica_id_in_the_file_of_keys_is_that_peers_before_it_comes(
    url: str, store: MemoryStorage
):
    before = contents(store)
    (told,) = refused_for(url, ADA, Since(sender("bobs-old-file"), b"", 10))
    kept = contents(store)
    answer = made(BOB, Push("bob1", [item(memory(**{"bobs-old-file": 9}))])).send(url)

    assert "belongs to another key" in told
    assert kept == before
    assert answer.status_code == 200


def test_no_peer_speaks_as_the_server(url: str, store: MemoryStorage):
    before = contents(store)
    (told,) = refused_for(url, HUB, Since(sender(store.replica), b"", 10))

    assert "which is the one that is served here" in told
    assert contents(store) == before


def test_a_key_comes_with_so_many_replica_ids_and_no_more(url: str, store: MemoryStorage):
    def work(transaction: Any) -> None:
        for number in range(REPLICAS_MAX):
            transaction.session.set_peer(f"key r{number}", "ada")

    store.run(work)
    (told,) = refused_for(url, ADA, Since(sender("one-more"), b"", 10))

    assert "has come as 1,000 replicas already" in told
    assert made(BOB, Since(sender("bob1"), b"", 10)).send(url).status_code == 200


async def test_a_peer_with_a_copied_file_goes_on_under_its_new_id(
    url: str, store: MemoryStorage, open_store: Open
):
    own = open_store("own.db")
    own.put(memory("mine"))
    await synced(own, url, f"ada:{SECRETS['ada']}")
    own.record_access({"mine": 2})
    own.renew_identity()
    own.record_access({"mine": 1})
    verified = await synced(own, url, f"ada:{SECRETS['ada']}")

    assert verified is True
    assert store.get("mine").get_access_count() == 3


# What is over a cap


def test_what_is_over_a_cap_is_refused_with_all_that_came_with_it(url: str, store: MemoryStorage):
    bind(url, HUB, "hub1")
    before = contents(store)
    told = refused_for(
        url, HUB,
        Push("hub1", [item(memory("a")), item(memory("m", 0.51))]),
        Push("hub1", [item(memory("a")), item(memory("m", anyone=101))]),
        Offer(sender("hub1"), [header_of(store, "known", ghost=101)]),
    )  # fmt: skip

    assert told == [
        "'hub' brings importance 0.51 for memory 'm'; its entry says importance_max = 0.5",
        (
            "'hub' brings 101 uses of memory 'm', counted by replica 'anyone'; its entry says "
            "access_max = 100"
        ),
        (
            "'hub' brings 101 uses of memory 'known', counted by replica 'ghost'; its entry says "
            "access_max = 100"
        ),
    ]
    assert contents(store) == before
    audit(store)


def test_what_is_at_a_cap_or_held_already_is_taken(url: str, store: MemoryStorage):
    (known,) = (one for one in store.states() if one.id == "known")
    known.set_content("Tea is at five", "ada")
    lowered = memory("low", 0.9)
    lowered.set_importance(0.2, "somebody")
    answers = [
        made(HUB, Push("hub1", [item(one)])).send(url)
        for one in (memory("m", 0.5, hub1=100), known, lowered)
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert store.get("known").get_importance() == 0.9


def test_an_importance_that_was_lowered_here_is_not_raised_again(url: str, store: MemoryStorage):
    store.update("known", lambda one: one.set_importance(0.1, "owner"))
    (known,) = (one for one in store.states() if one.id == "known")
    known.set_importance(0.9, "somebody")
    (told,) = refused_for(url, HUB, Push("hub1", [item(known)]))

    assert "brings importance 0.9 for memory 'known'" in told
    assert store.get("known").get_importance() == 0.1


async def test_a_store_that_gives_too_much_is_told_what_and_nothing_of_it_is_kept(
    url: str, store: MemoryStorage, open_store: Open
):
    own = open_store("own.db")
    own.put_many([memory("a"), memory("m", stolen=1)])
    with pytest.raises(PeerRefused, match="raises the use counter of replica 'stolen'") as refusal:
        await synced(own, url, f"ada:{SECRETS['ada']}")

    assert "CHRYSALIS_TOKEN" not in str(refusal.value)
    assert [one.id for one in store.all()] == ["known"]


# Addresses


@pytest.mark.parametrize("host", ["evil.example", "hub.example:8420"])
def test_signed_frames_come_under_any_name_and_nothing_else_does(
    store: MemoryStorage, tmp_path: Path, host: str
):
    agent = AgentMemory("ada", path=tmp_path / "agent.db", embedder="hashing")
    with served(agent, keys=keyring(SECRETS)) as url:
        statuses = [
            made(ADA, AskSums()).send(url, host=host).status_code,
            httpx.get(f"{url}/v1/memories", headers={"host": host}).status_code,
            made(ADA, AskSums()).send(url, host=host, origin="http://evil.test").status_code,
        ]

    assert statuses == [200, 403, 403]


def test_an_address_that_others_reach_needs_keys_and_nothing_but_syncing_or_a_token(
    store: MemoryStorage,
):
    server.check_address("0.0.0.0", token=None, is_signed=True)
    with served(store, keys=keyring(SECRETS), host="0.0.0.0") as url:
        local = url.replace("0.0.0.0", "127.0.0.1")
        statuses = [
            made(ADA, AskSums()).send(local, host="hub.example").status_code,
            httpx.get(f"{local}/v1/health", headers={"host": "hub.example"}).status_code,
        ]

    assert statuses == [200, 200]
    with pytest.raises(InvalidValue, match="a token is needed"):
        server.check_address("0.0.0.0", token=None, is_signed=False)


def test_the_description_says_what_is_to_be_signed(url: str):
    described = httpx.get(f"{url}/v1/openapi.json").json()
    schemes = described["components"]["securitySchemes"]

    assert schemes["signature"] == {
        "type": "apiKey", "in": "header", "name": "Chrysalis-Signature",
    }  # fmt: skip
    assert [described["paths"][path]["post"]["security"] for path in ("/v1/pull", "/v1/push")] == [
        [{"signature": []}]
    ] * 2


# Secrets


def told_by(url: str, token: str) -> list[str]:
    bearing = {"authorization": f"Bearer {token}"}
    paths = ("/v1/metrics", "/v1/replicas", "/v1/statistics", "/v1/openapi.json")
    answers = [httpx.get(url + path, headers=bearing) for path in paths]
    assert [answer.status_code for answer in answers] == [200] * len(paths)
    answers += [made(STRANGER, AskSums()).send(url), httpx.get(f"{url}/v1/tags")]
    return [answer.text for answer in answers]


async def test_no_key_and_no_token_is_shown_by_anything(
    tmp_path: Path, open_store: Open, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    token = "a-token-of-forty-characters-0123456789ab"
    proxy = "the-password-of-a-proxy"
    agent = AgentMemory(
        "ada", path=tmp_path / "agent.db", embedder="hashing", token=token,
        sync_key=f"ada:{SECRETS['ada']}",
    )  # fmt: skip
    keys = keyring(SECRETS, **ENTRIES)
    app = server.app(open_store("shown.db"), token=token, keys=keys)
    texts = [repr(app), repr(app.user_middleware), repr(vars(app)), repr(keys), repr(ADA)]
    texts += [str(ADA), repr(keys.get("ada"))]
    with served(agent, keys=keys, token=token) as url:
        place = url.removeprefix("http://")
        own = AgentMemory(
            "bob", path=tmp_path / "own.db", embedder="hashing", token=token,
            sync_key={url: f"bob:{SECRETS['bob']}"},
        )  # fmt: skip
        async with own:
            await own.learn("Tea is at four", id="tea")
            await own.sync(url)
            for peer, key in [
                (url, f"bob:{SECRETS['hub']}"),
                (url, f"eve:{SECRETS['hub']}"),
                ("http://127.0.0.1:9", f"eve:{SECRETS['hub']}"),
                (url, SECRETS["hub"]),
                (url, f"bob:{SECRETS['hub'][:40]}"),
            ]:
                with pytest.raises(ChrysalisError) as refusal:
                    await own.sync(peer, key=key)
                texts += [str(refusal.value), repr(refusal.value), repr(refusal.value.__cause__)]
            texts += [repr(await own.sync_status()), repr(own)]
        for query in ("", f"/?key={proxy}"):
            key = f"ada:{SECRETS['ada']}"
            transport = HttpTransport(f"http://user:{proxy}@{place}{query}", key=key)
            await transport.pull(frames.encode(AskSums()))
            texts.append(repr(transport))
            await transport.close()
        texts += await asyncio.to_thread(told_by, url, token)
    shown = "\n".join([*texts, caplog.text])

    secrets = [token, proxy, *SECRETS.values(), *(one[:40] for one in SECRETS.values())]
    assert [one for one in secrets if one in shown] == []
    assert "HTTP Request: POST http://127.0.0.1" in caplog.text
