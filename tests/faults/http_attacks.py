"""Attacks on the JSON API, on MCP over HTTP, and on HTTP itself."""

import gzip
import json
from random import Random
from typing import Any, NamedTuple

import httpx

from chrysalis_memory.replication.messages import FRAME_BYTES_MAX
from chrysalis_memory.replication.routes import CONTENT_TYPE, PULL, PUSH
from chrysalis_memory.servers.incoming import JSON_BYTES_MAX
from tests.faults.served_world import ADA, KNOWN, TOKEN, Attack, World, attack, head, raw
from tests.faults.sync_attacks import push
from tests.signed import made

MCP_BYTES_MAX = 4 << 20
JSON = {"content-type": "application/json"}
MCP = JSON | {"accept": "application/json, text/event-stream"}
BEARING = {"authorization": f"Bearer {TOKEN}"}


class Write(NamedTuple):
    """What would change the memory if it were let in, or would tell what is in it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def send(self, url: str, **headers: str) -> int:
        answer = httpx.request(
            self.method, url + self.path, content=self.body, headers=self.headers | headers,
            timeout=20,
        )  # fmt: skip
        assert not any(name.startswith("access-control") for name in answer.headers)
        return answer.status_code


def tool(name: str, **arguments: Any) -> bytes:
    call = {"name": name, "arguments": arguments}
    return json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    ).encode()  # fmt: skip


def api_write(chance: Random) -> Write:
    new = json.dumps({"content": f"Obey {chance.random()}"}).encode()
    return chance.choice([
        Write("POST", "/v1/memories", JSON, new),
        Write("PATCH", f"/v1/memories/{KNOWN}", JSON, b'{"content": "Obey"}'),
        Write("DELETE", f"/v1/memories/{KNOWN}", {}, b""),
        Write("POST", "/v1/recall", JSON, b'{"query": "tea"}'),
        Write("GET", f"/v1/memories/{KNOWN}", {}, b""),
        Write("GET", "/v1/metrics", {}, b""),
        Write("POST", PUSH, {"content-type": CONTENT_TYPE}, made(ADA, push(chance)).body),
    ])  # fmt: skip


def mcp_write(chance: Random) -> Write:
    body = chance.choice([tool("learn", text="Obey"), tool("forget", id=KNOWN), b"[]", b"{"])
    return Write("POST", "", MCP, body)


def hostile_name(chance: Random) -> str:
    name = f"x{chance.randrange(10**6)}"
    return chance.choice([
        f"{name}.evil.example", f"127.0.0.1.{name}.example", f"localhost.{name}.example", "0.0.0.0",
        f"192.168.0.{chance.randint(1, 254)}", f"127.0.0.1@{name}", "", f"{name}:8420", "[::2]",
        "localhost,evil.example", "2130706433", "0x7f.1", f"{name}.127.0.0.1", "local",
    ])  # fmt: skip


def rebinding(world: World, chance: Random) -> Attack:
    name = hostile_name(chance)
    write, url = chance.choice(
        [(api_write(chance), world.open_url), (mcp_write(chance), world.open_mcp_url)]
    )
    return attack(lambda: write.send(url, host=name), 403, what=f"{write.path} as {name!r}")


def foreign_origin(world: World, chance: Random) -> Attack:
    own = world.url.removeprefix("http://")
    origin = chance.choice([
        "null", "http://evil.example", f"http://{own}.evil.example", f"http://{own}@evil", "", "x",
        "http://localhost", "http://127.0.0.1", "file://", f"chrome-extension://{own}", f"//{own}",
        f"HTTP://{own}", f"http://{own}/", f"http://{own}, http://{own}", f"http://evil/{own}",
    ])  # fmt: skip
    write, url, more = chance.choice([
        (api_write(chance), world.url, BEARING), (api_write(chance), world.open_url, {}),
        (mcp_write(chance), world.mcp_url, BEARING), (mcp_write(chance), world.open_mcp_url, {}),
    ])  # fmt: skip
    if chance.random() < 0.2:
        more = more | {"access-control-request-method": "POST"}
        write = Write("OPTIONS", write.path, {}, b"")
    return attack(
        lambda: write.send(url, origin=origin, **more), 403, what=f"{write.path} from {origin}"
    )


def wrong_token(world: World, chance: Random) -> Attack:
    at = chance.randrange(1, len(TOKEN) - 1)
    other = "z" if TOKEN[at] != "z" else "y"
    given = chance.choice([
        f"Bearer {TOKEN[:at]}", f"Bearer {TOKEN[at + 1 :]}", f"Bearer {TOKEN}{other}", "Bearer",
        f"Bearer {TOKEN[:at]}{other}{TOKEN[at + 1 :]}", f"Bearer {TOKEN.lower()}", f"Basic {TOKEN}",
        f"Bearer {TOKEN.swapcase()}", f"Bearer {TOKEN}, Bearer x", TOKEN, f"Bearer:{TOKEN}", "",
        f"Bearer {TOKEN} {TOKEN}", f"Bearer \x00{TOKEN}".replace("\x00", "%00"), "Bearer é" + TOKEN,
    ])  # fmt: skip
    write, url = chance.choice([(api_write(chance), world.url), (mcp_write(chance), world.mcp_url)])
    headers: Any = {**write.headers, "authorization": given.encode("latin-1")}
    if chance.random() < 0.2:
        headers = write.headers | {"cookie": f"token={TOKEN}", "x-authorization": f"Bearer {TOKEN}"}
        write = write._replace(path=f"{write.path}?token={TOKEN}")
    wrong = write._replace(headers=headers)
    return attack(lambda: wrong.send(url), 401, what=f"{write.path} with {given!r}")


def oversize(world: World, chance: Random) -> Attack:
    """Send more than is read: as announced, in chunks without end, or packed."""
    signed = made(ADA, push(chance))
    url, path, most, headers = chance.choice([
        (world.url, PUSH, FRAME_BYTES_MAX, signed.headers),
        (world.url, "/v1/memories", JSON_BYTES_MAX, JSON | BEARING),
        (world.mcp_url, "/mcp", MCP_BYTES_MAX, MCP | BEARING),
    ])  # fmt: skip
    if chance.random() < 0.5:
        length = most + chance.randint(1, 10 ** chance.randint(1, 17))
        begun = head("POST", path, headers | {"content-length": str(length)})
        parts = [begun, b"x" * chance.randrange(10_000)]
    else:
        begun = head("POST", path, headers | {"transfer-encoding": "chunked"})
        parts = [begun] + [b"100000\r\n" + bytes(1 << 20) + b"\r\n"] * (most // (1 << 20) + 1)
    return attack(
        lambda: raw(url, *parts, end=True), 413, what=f"{path}: {len(parts)} parts"
    )  # fmt: skip


def lying_length(world: World, chance: Random) -> Attack:
    """Announce another length than what comes, or two, or none that is a number."""
    url, path, headers = chance.choice([
        (world.url, PUSH, made(ADA, push(chance)).headers),
        (world.url, "/v1/memories", JSON | BEARING),
        (world.mcp_url, "/mcp", MCP | BEARING),
    ])  # fmt: skip
    body = b'{"content": "Obey"}'
    kind = chance.choice(["short", "long", "two", "both", "none"])
    lengths = {
        "short": [f"content-length: {chance.randrange(len(body))}"],
        "long": [f"content-length: {len(body) + chance.randint(1, 999)}"],
        "two": ["content-length: 5", f"content-length: {len(body)}"],
        "both": [f"content-length: {len(body)}", "transfer-encoding: chunked"],
        "none": [f"content-length: {chance.choice(['-1', '1e3', '0x10', '+5', '٣', '5 5'])}"],
    }[kind]
    lines = [one.encode().decode("latin-1") for one in lengths]
    begun = head("POST", path, headers, *lines)
    return attack(
        lambda: raw(url, begun, body, end=True), 400, 401, 413, None, what=f"{kind} {lengths}"
    )


def packed_json(world: World, chance: Random) -> Attack:
    bomb = b'{"content": "' + b" " * (64 << 20) + b'"}'
    body = gzip.compress(chance.choice([bomb, b'{"content": "Obey"}']), 9)
    url, path, headers = chance.choice([
        (world.url, "/v1/memories", JSON | BEARING), (world.mcp_url, "", MCP | BEARING),
    ])  # fmt: skip
    write = Write("POST", path, headers | {"content-encoding": "gzip"}, body)
    return attack(lambda: write.send(url), 400, what=f"{path}: {len(body)} bytes of gzip")


def flood(world: World, chance: Random) -> Attack:
    """Send more headers than anybody means, one that is huge, or what is no HTTP."""
    url = chance.choice([world.url, world.open_url, world.mcp_url])
    kind = chance.choice(["many", "huge", "endless", "no http", "smuggled"])
    if kind == "many":
        lines = [f"x-{n}: {'x' * 40}" for n in range(20_000)]
        parts = [head("POST", PUSH, made(ADA, push(chance)).headers, *lines)]
    elif kind == "huge":
        parts = [head("GET", "/v1/memories", BEARING | {"x": "x" * 200_000})]
    elif kind == "endless":
        parts = [b"GET /" + b"a" * 300_000]
    elif kind == "no http":
        parts = [chance.randbytes(200) + b"\r\n\r\n"]
    else:
        parts = [head("GET", "/v1/memories", BEARING, "x : y", " folded: z", "a\x00b: c")]
    return attack(lambda: raw(url, *parts, end=True), 400, 431, None, what=kind)


def odd_path(world: World, chance: Random) -> Attack:
    """Write a path otherwise, so that one part of a server takes it for another than the next."""
    path = chance.choice([PUSH, PULL, "/v1/memories"])
    written = chance.choice([
        path + "/", "/" + path, path + "%2f", path + ";x", path.upper(), path + "%00", path + "\\",
        "/explorer/.." + path, "/explorer/%2e%2e" + path, "/." + path, "/v1/x/../" + path[4:],
        path.replace("/", "\\"), "http://evil.example" + path, path + "%ff", "/%2576%31/push", "*",
        path.replace("/v1", "/v1/."), path + "/..", "/v1//" + path[4:], path + "%20",
    ])  # fmt: skip
    signed = made(ADA, push(chance))
    method = chance.choice(["POST", "POST", "PUT", "DELETE", "PATCH", "GET"])
    length = {"content-length": str(len(signed.body))}
    begun = head(method, written, signed.headers | length)
    return attack(
        lambda: raw(world.url, begun, signed.body, end=True), 400, 401, 404, 405,
        what=f"{method} {written}",
    )  # fmt: skip


def odd_method(world: World, chance: Random) -> Attack:
    path = chance.choice([PUSH, PULL])
    method = chance.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "post", "BREW"])
    signed = made(ADA, push(chance))
    length = {"content-length": str(len(signed.body))}
    begun = head(method, path, signed.headers | length)
    return attack(lambda: raw(world.url, begun, signed.body, end=True), 405, what=method)


KINDS = (
    rebinding, foreign_origin, wrong_token, oversize, lying_length, packed_json, flood, odd_path,
    odd_method,
)  # fmt: skip
