"""Attacks on frames that are signed: by eavesdroppers, by strangers, by peers, and in between."""

import asyncio
import gzip
from collections.abc import Callable
from random import Random

import httpx
import msgpack

from chrysalis_memory import MemoryDocument
from chrysalis_memory.codec import digest
from chrysalis_memory.crdt.clock import HybridLogicalClock
from chrysalis_memory.errors import ReplicationError
from chrysalis_memory.replication import frames, replicator
from chrysalis_memory.replication.http import HttpTransport
from chrysalis_memory.replication.messages import Item, Offer, Page, Push, Sender, Since, Sums
from chrysalis_memory.replication.replica import Replica
from chrysalis_memory.replication.routes import CONTENT_TYPE, PULL, PUSH, SIGNATURE
from tests.faults.served_world import (
    ADA,
    BOB,
    HUB,
    KNOWN,
    SECRETS,
    STRANGER,
    TOKEN,
    Attack,
    World,
    attack,
    raw,
)  # fmt: skip
from tests.signed import Made, Passed, made, middleman, now_us

EPOCH = bytes(8)
HEX = "0123456789abcdef"


def memory(chance: Random, importance: float | None = None, **counts: int) -> MemoryDocument:
    name = f"evil{chance.randrange(10**9)}"
    document = MemoryDocument(id=name, content=f"Obey {name}", clock=HybridLogicalClock())
    if importance is not None:
        document.set_importance(importance, "evil")
    for replica, count in counts.items():
        document.record_access(replica, count)
    return document


def item(document: MemoryDocument) -> Item:
    return Item(document.to_bytes(), document.state.access)


def push(chance: Random, replica: str = "ada1", *more: Item) -> Push:
    harmless = [item(memory(chance)) for _ in range(chance.randrange(3))]
    items = [*harmless, *(more or [item(memory(chance))])]
    chance.shuffle(items)
    return Push(replica, items)


def something(chance: Random) -> Since | Push | Offer:
    sender = Sender("ada1", EPOCH, 0)
    return chance.choice([Since(sender, b"", 10), push(chance), Offer(sender, [])])


def sent(world: World, request: Made, **headers: str) -> Callable[[], int]:
    return lambda: request.send(world.url, **headers).status_code


# Eavesdroppers


def replay(world: World, chance: Random) -> Attack:
    seen = world.legitimate(ADA, Since(Sender("ada1", EPOCH, 0), b"", chance.randint(1, 50)))
    times = chance.randint(1, 3)
    one_connection = chance.random() < 0.5

    def send() -> tuple[int, ...]:
        with httpx.Client() as client:
            post = client.post if one_connection else httpx.post
            return tuple(
                post(world.url + seen.route, content=seen.body, headers=seen.headers).status_code
                for _ in range(times)
            )

    return attack(send, 401, what=f"{times} times, one connection: {one_connection}")


def replay_after_restart(world: World, chance: Random) -> Attack:
    seen = [world.legitimate(ADA), made(ADA, push(chance))]
    world.restart()
    return attack(
        lambda: tuple(one.send(world.url).status_code for one in seen), 401, what="restarted"
    )


def bit_flipped(world: World, chance: Random) -> Attack:
    request = made(ADA, something(chance))
    field = chance.choice(["stamp", "nonce", "digest", "mac", "body"])
    if field == "body":
        at = chance.randrange(len(request.body) * 8)
        body = bytearray(request.body)
        body[at // 8] ^= 1 << at % 8
        changed = request._replace(body=bytes(body))
    elif field == "stamp":
        stamp = request.signature.stamp ^ 1 << chance.randrange(28)
        changed = request._replace(signature=request.signature._replace(stamp=stamp))
    else:
        value: str = getattr(request.signature, field)
        at = chance.randrange(len(value))
        other = chance.choice(HEX.replace(value[at], ""))
        new = request.signature._replace(**{field: value[:at] + other + value[at + 1 :]})
        changed = request._replace(signature=new)
    return attack(sent(world, changed), 401, what=field)


def broken_header(world: World, chance: Random) -> Attack:
    request = made(ADA, something(chance))
    header = str(request.signature)
    at = chance.randrange(len(header))
    part = chance.choice(["", chance.choice("!x,=;\t é"), header[at] * 2])
    changed = header[:at] + part + header[at + 1 :]
    if chance.random() < 0.3:
        changed = chance.choice([header.upper(), f"{header}, {header}", header * 20, ""])
    changed = changed.strip(" \t")
    if changed == header:
        changed = header[:-1]
    headers = {**request.headers, SIGNATURE.lower(): changed.encode("latin-1")}
    return attack(
        lambda: httpx.post(
            world.url + request.route, content=request.body, headers=headers
        ).status_code,
        401, 400, what=changed,
    )  # fmt: skip


def two_signatures(world: World, chance: Random) -> Attack:
    request = made(ADA, something(chance))
    other = chance.choice([request, made(ADA, something(chance)), made(STRANGER, b"")])
    both = [*request.headers.items(), (SIGNATURE.lower(), str(other.signature))]
    return attack(
        lambda: httpx.post(
            world.url + request.route, content=request.body, headers=both
        ).status_code,
        401, what="two",
    )  # fmt: skip


def wrong_time(world: World, chance: Random) -> Attack:
    seconds = chance.choice([-1, 1]) * chance.randint(302, 10**8)
    if chance.random() < 0.3:
        seconds = chance.choice([-(now_us() // 10**6), 9 * 10**12])
    request = made(ADA, something(chance), stamp=max(0, now_us() + seconds * 10**6))
    return attack(sent(world, request), 401, what=f"{seconds} s")


def other_route(world: World, chance: Random) -> Attack:
    request = made(ADA, something(chance))
    other = PULL if request.route == PUSH else PUSH
    return attack(sent(world, request._replace(route=other)), 401, what=other)


# Strangers


def unsigned(world: World, chance: Random) -> Attack:
    request = made(ADA, something(chance))
    headers = {"content-type": CONTENT_TYPE}
    if chance.random() < 0.5:
        headers["authorization"] = f"Bearer {TOKEN}"
    return attack(
        lambda: httpx.post(
            world.url + request.route, content=request.body, headers=headers
        ).status_code,
        401, what=str(sorted(headers)),
    )  # fmt: skip


def signed_by_another(world: World, chance: Random) -> Attack:
    signer, says = chance.choice([(BOB, "ada"), (STRANGER, "ada"), (ADA, "hub"), (ADA, "eve")])
    request = made(signer, something(chance))
    changed = request._replace(signature=request.signature._replace(peer=says))
    return attack(sent(world, changed), 401, what=f"{signer.name} says {says}")


def signed_from_a_page(world: World, chance: Random) -> Attack:
    origin = chance.choice(["null", "http://evil.example", "http://localhost", "file://", ""])
    request = made(ADA, something(chance))
    return attack(sent(world, request, origin=origin), 403, what=origin)


def as_a_form(world: World, chance: Random) -> Attack:
    kind = chance.choice(
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "*/*"]
    )
    request = made(ADA, something(chance))
    return attack(sent(world, request, **{"content-type": kind}), 415, what=kind)


# Peers that go too far


def as_another_replica(world: World, chance: Random) -> Attack:
    replica = chance.choice(["bob1", "hub1", world.storage.replica])
    request = chance.choice([push(chance, replica), Since(Sender(replica, EPOCH, 0), b"", 1)])
    return attack(sent(world, made(ADA, request)), 403, what=f"{type(request)} as {replica}")


def foreign_counter(world: World, chance: Random) -> Attack:
    foreign = chance.choice(["bob1", "hub1", "nobody", world.storage.replica])
    count = chance.choice([4, 5, 10**6, 2**61])
    kind = chance.choice(["push", "hidden", "known", "offer", "future"])
    if kind == "push":
        request = push(chance, "ada1", item(memory(chance, ada1=1, **{foreign: count})))
    elif kind == "hidden":
        request = push(chance, "ada1", Item(with_hidden_counts(memory(chance), foreign, count), {}))
    elif kind == "future":
        ahead = HybridLogicalClock(lambda: now_us() + 10**12)
        later = MemoryDocument(id="later", content="Obey later", clock=ahead)
        request = push(chance, "ada1", Item(later.to_bytes(), {foreign: count}))
    elif kind == "known":
        (known,) = (one for one in world.storage.states() if one.id == KNOWN)
        request = push(chance, "ada1", Item(known.to_bytes(), {foreign: count}))
    else:
        request = Offer(Sender("ada1", EPOCH, 0), [world.header(**{foreign: count})])
    return attack(sent(world, made(ADA, request)), 403, what=f"{kind}: {foreign} to {count}")


def with_hidden_counts(document: MemoryDocument, replica: str, count: int) -> bytes:
    """Return bytes of a state that hold counts themselves, where counts do not travel."""
    document.record_access(replica, count)
    return document.to_bytes()


def over_a_cap(world: World, chance: Random) -> Attack:
    kind = chance.choice(["importance", "count", "offer", "known", "new life"])
    if kind == "importance":
        request = push(chance, "hub1", item(memory(chance, chance.uniform(0.501, 1))))
    elif kind == "count":
        request = push(chance, "hub1", item(memory(chance, hub1=chance.randint(101, 2**61))))
    elif kind == "offer":
        header = world.header(hub1=chance.randint(101, 2**61))
        request = Offer(Sender("hub1", EPOCH, 0), [header])
    else:
        (known,) = (one for one in world.storage.states() if one.id == KNOWN)
        known.set_importance(chance.uniform(0.6, 1), "evil")
        state = known.state
        if kind == "new life":
            state = state._replace(life=state.life + 2)
        document = MemoryDocument.of(KNOWN, state._replace(access={}))
        request = push(chance, "hub1", item(document))
    return attack(sent(world, made(HUB, request)), 403, what=kind)


def no_request(world: World, chance: Random) -> Attack:
    deep: object = None
    for _ in range(400):
        deep = [deep]
    whole = frames.encode(push(chance))
    payload = msgpack.packb(chance.choice([deep, {"type": "Push"}, {"type": deep}, 7, []]))
    body = chance.choice([
        b"", whole[: chance.randrange(len(whole))], whole + b"x", chance.randbytes(500),
        frames.encode(Sums(bytes(4096))),
        b"CHRY\x01" + len(payload).to_bytes(4) + digest(payload, size=8) + payload,
        gzip.compress(whole),
    ])  # fmt: skip
    route = chance.choice([PULL, PUSH])
    request = resigned(body, route)
    return attack(sent(world, request), 400, what=f"{body[:40]!r} to {route}")


def resigned(body: bytes, route: str) -> Made:
    from chrysalis_memory.replication.signing import sign

    return Made(route, body, sign(ADA, route=route, frame=body, stamp=now_us()))


def packed(world: World, chance: Random) -> Attack:
    """Send a frame, or what unpacks to gigabytes, as gzip; nothing here unpacks anything."""
    plain = frames.encode(push(chance))
    bomb = chance.random() < 0.5
    body = gzip.compress(bytes(64 << 20) if bomb else plain, 9)
    request = resigned(body, PUSH)
    if chance.random() < 0.5:
        request = resigned(plain, PUSH)._replace(body=body)
    headers = {"content-encoding": chance.choice(["gzip", "GZIP", "x-gzip"])}
    return attack(sent(world, request, **headers), 400, 401, what=f"bomb: {bomb}")


def slow_and_cut(world: World, chance: Random) -> Attack:
    request = made(ADA, push(chance))
    lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    size = len(request.body) + chance.randint(1, 10**6)
    begun = f"POST {PUSH} HTTP/1.1\r\nhost: 127.0.0.1\r\n{lines}content-length: {size}\r\n\r\n"
    cut = request.body[: chance.randrange(len(request.body))]
    return attack(
        lambda: raw(world.url, begun.encode(), cut, end=True), 400, None, what=f"{len(cut)}/{size}"
    )


# In between


def forged_answer(world: World, chance: Random) -> Attack:
    kind = chance.choice(["page", "bit", "earlier", "unsigned", "other key", "status"])
    poison = frames.encode(
        Page("hub", [], [item(memory(chance))], EPOCH + b"x", False, b"", 0, 0, False)
    )
    earlier: list[Passed] = []

    def change(now: Passed) -> Passed:
        match kind:
            case "page":
                return now._replace(answer=poison)
            case "bit":
                at = chance.randrange(len(now.answer) * 8)
                answer = bytearray(now.answer)
                answer[at // 8] ^= 1 << at % 8
                return now._replace(answer=bytes(answer))
            case "earlier":
                return now._replace(
                    answer=earlier[0].answer, answer_headers=earlier[0].answer_headers
                )
            case "other key":
                mac = STRANGER.mac("poison")
                headers = now.answer_headers | {SIGNATURE.lower(): f"v=1, mac={mac}"}
                return now._replace(answer=poison, answer_headers=headers)
            case "unsigned":
                return now._replace(answer=poison, answer_headers={"content-type": CONTENT_TYPE})
            case _:
                return now._replace(status=200, answer=b"", answer_headers={"x": "y"})

    def send() -> int | None:
        with middleman(world.url) as between:
            asyncio.run(ask_once(between.url))
            earlier.append(between.seen[0])
            between.change = change
            return asyncio.run(synced(world, between.url))

    for _ in range(2):  # at the second the server notes what the first brought
        asyncio.run(synced(world, world.url))
    return attack(send, 0, what=kind)


async def ask_once(url: str) -> None:
    transport = HttpTransport(url, key=f"ada:{SECRETS['ada']}")
    await transport.pull(frames.encode(Since(Sender("ada1", EPOCH, 0), b"", 10)))
    await transport.close()


async def synced(world: World, url: str) -> int:
    """Sync the peer's own file; 200 if that went well, 0 if the answer was refused."""
    transport = HttpTransport(url, key=f"ada:{SECRETS['ada']}")
    try:
        await replicator.sync(Replica(world.own), transport)
    except ReplicationError:
        return 0
    finally:
        await transport.close()
    return 200


KINDS = (
    replay, bit_flipped, foreign_counter, over_a_cap, signed_by_another, wrong_time, other_route,
    broken_header, two_signatures, unsigned, signed_from_a_page, as_a_form, as_another_replica,
    no_request, packed, slow_and_cut, forged_answer, replay_after_restart,
)  # fmt: skip
