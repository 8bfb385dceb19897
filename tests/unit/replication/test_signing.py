"""Signatures and keys: what they are, and that they show nothing."""

import base64
import hashlib
import hmac

import pytest

from chrysalis_memory.errors import InvalidFrame, InvalidValue
from chrysalis_memory.replication.signing import (
    PeerKey,
    Signature,
    check_answer,
    new_secret,
    sign,
    sign_answer,
)

SECRET = bytes(range(32))
KEY = PeerKey("ada", SECRET.hex())
FRAME = b"a frame"


def test_a_signature_is_the_hmac_that_the_docs_describe():
    signed = sign(KEY, route="/v1/pull", frame=FRAME, stamp=1_700_000_000_000_000)
    text = (
        "chrysalis request 1\nPOST /v1/pull\nada\n1700000000000000\n"
        f"{signed.nonce}\n{hashlib.sha256(FRAME).hexdigest()}"
    )
    answer = f"chrysalis answer 1\nada\n{signed.nonce}\n{signed.mac}\n{signed.digest}"

    assert signed.mac == hmac.new(SECRET, text.encode(), hashlib.sha256).hexdigest()
    assert sign_answer(KEY, asked=signed, frame=FRAME) == (
        f"v=1, mac={hmac.new(SECRET, answer.encode(), hashlib.sha256).hexdigest()}"
    )


def test_a_header_reads_back_as_what_it_was():
    signed = sign(KEY, route="/v1/push", frame=FRAME, stamp=1)
    read = Signature.parse(str(signed))

    assert read == signed
    assert read.is_by(KEY, route="/v1/push")
    assert read.is_of(FRAME)


def test_no_nonce_is_used_twice():
    nonces = {sign(KEY, route="/v1/pull", frame=FRAME, stamp=1).nonce for _ in range(1_000)}

    assert (len(nonces), {len(nonce) for nonce in nonces}) == (1_000, {32})


@pytest.mark.parametrize(
    "change",
    [
        lambda s: "",
        lambda s: s.upper(),
        lambda s: s + ",",
        lambda s: s + "\n",
        lambda s: " " + s,
        lambda s: s.replace("peer=ada", "peer=ada b"),
        lambda s: s.replace("peer=ada", "peer="),
        lambda s: s.replace("peer=ada", "peer=" + "a" * 65),
        lambda s: s.replace("time=1", "time=-1"),
        lambda s: s.replace("time=1", "time=\u0661"),
        lambda s: s.replace("time=1", "time=" + "1" * 20),
        lambda s: s[:-1],
        lambda s: s.replace(", ", ","),
        lambda s: s + ", " + s,
    ],
)
def test_a_header_of_another_form_is_refused(change):
    header = str(sign(KEY, route="/v1/pull", frame=FRAME, stamp=1))
    with pytest.raises(InvalidValue, match="no known form"):
        Signature.parse(change(header))


def test_a_header_of_a_newer_version_says_so():
    header = str(sign(KEY, route="/v1/pull", frame=FRAME, stamp=1))
    with pytest.raises(InvalidValue, match="version 2, this version reads 1; upgrade"):
        Signature.parse(header.replace("v=1", "v=2"))


def test_an_answer_fits_its_request_alone():
    asked = sign(KEY, route="/v1/pull", frame=FRAME, stamp=1)
    header = sign_answer(KEY, asked=asked, frame=b"answer")
    check_answer(KEY, asked=asked, frame=b"answer", header=header)
    other = sign(KEY, route="/v1/pull", frame=FRAME, stamp=1)

    for key, request, frame in [
        (PeerKey("ada", new_secret()), asked, b"answer"),
        (KEY, other, b"answer"),
        (KEY, asked, b"another"),
    ]:
        with pytest.raises(InvalidFrame, match="signature does not fit"):
            check_answer(key, asked=request, frame=frame, header=header)


@pytest.mark.parametrize(
    "text",
    [
        SECRET.hex(),
        SECRET.hex().upper(),
        base64.b64encode(SECRET).decode(),
        base64.urlsafe_b64encode(SECRET).decode().rstrip("="),
        f"  {SECRET.hex()}\n",
    ],
)
def test_one_secret_has_several_spellings(text: str):
    assert PeerKey("ada", text).mac("x") == KEY.mac("x")


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "hunter2",
        SECRET[:31].hex(),
        "00" * 32,
        "deadbeef" * 8,
        "no base64 at all, " * 4,
        "é" * 40,
    ],
)
def test_what_is_no_random_key_is_refused_and_not_shown(secret: str):
    with pytest.raises(InvalidValue, match="at least 32 random bytes") as refusal:
        PeerKey("ada", secret)

    assert not secret or secret not in str(refusal.value)


@pytest.mark.parametrize("name", ["", "-a", "a b", "a\nb", "a" * 65, "ä", "a,b", "a:b"])
def test_a_peer_has_a_plain_name(name: str):
    with pytest.raises(InvalidValue, match="a peer is named by"):
        PeerKey(name, SECRET.hex())


def test_a_key_without_a_name_is_refused_and_not_shown():
    with pytest.raises(InvalidValue, match="as 'chrysalis keygen NAME' prints it") as refusal:
        PeerKey.parse(SECRET.hex())

    assert SECRET.hex() not in str(refusal.value)


def test_a_key_is_shown_by_its_name_alone():
    assert (repr(KEY), str(KEY)) == ("PeerKey('ada', ***)", "PeerKey('ada', ***)")


def test_new_secrets_are_keys_and_differ():
    made = {new_secret() for _ in range(100)}

    assert len(made) == 100
    assert all(PeerKey("a", one) for one in made)
