"""Signatures: who sent a frame, and that nobody changed or repeated it. They hide nothing.

A request is signed with a key that only the peer and the server know: HMAC-SHA256 (RFC 2104) over
version, verb and route, the peer's name, a time stamp, a nonce, and the SHA-256 digest of the
frame. An answer is signed with the same key over the request's signature, so that it answers that
request and no other.

The signature travels in a header beside the frame, not in an envelope around it: a frame stays the
same bytes on every transport, and a server knows who speaks before it has read a body.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from typing import NamedTuple, Self

from chrysalis_memory.errors import InvalidFrame, InvalidValue

VERSION = 1
NONCE_BYTES = 16
KEY_BYTES_MIN = 32
_KEY_CHARACTERS_MAX = 1_024
_DIFFERENT_BYTES_MIN = 16
"""Of 32 random bytes about 30 differ; a word that was typed 4 times over has 8."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
_SIGNATURE = re.compile(
    r"v=(?P<version>[0-9]{1,4}), peer=(?P<peer>[A-Za-z0-9][A-Za-z0-9_.-]{0,63}), "
    r"time=(?P<stamp>[0-9]{1,19}), nonce=(?P<nonce>[0-9a-f]{32}), "
    r"digest=(?P<digest>[0-9a-f]{64}), mac=(?P<mac>[0-9a-f]{64})"
)
_ANSWER = re.compile(r"v=1, mac=([0-9a-f]{64})")


class PeerKey:
    """A peer's name and the secret that it shares with one server; shown by its name alone.

    Args:
        name: 1 to 64 of ``A-Z a-z 0-9 _ . -``, the first a letter or a digit.
        secret: At least 32 random bytes as hex or Base64, as :func:`new_secret` makes them.

    Raises:
        InvalidValue: another name, or what cannot be 32 random bytes.
    """

    __slots__ = ("_secret", "name")

    def __init__(self, name: str, secret: str) -> None:
        if not _NAME.fullmatch(name):
            raise InvalidValue(
                f"a peer is named by 1 to 64 letters, digits, '_', '.' and '-', got {name[:80]!r}"
            )
        self.name = name
        self._secret = _decoded(name, secret)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``name:secret``; raises as the constructor does."""
        name, colon, secret = text.strip().partition(":")
        if not colon:
            # Not what was given: it may be the secret.
            raise InvalidValue(
                "a sync key is the peer's name, a colon and the secret, as "
                "'chrysalis keygen NAME' prints it"
            )
        return cls(name, secret)

    def mac(self, *parts: str) -> str:
        """Return the HMAC of some lines, as hex."""
        return hmac.new(self._secret, "\n".join(parts).encode(), hashlib.sha256).hexdigest()

    def __repr__(self) -> str:
        return f"PeerKey({self.name!r}, ***)"


def new_secret() -> str:
    """Return 32 random bytes as hex."""
    return secrets.token_hex(KEY_BYTES_MIN)


def _decoded(name: str, text: str) -> bytes:
    text = text.strip()
    if _HEX.fullmatch(text):
        secret = bytes.fromhex(text)
    else:
        padded = text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
        try:
            secret = base64.b64decode(padded.translate({45: "+", 95: "/"}), validate=True)
        except (binascii.Error, ValueError):
            secret = b""
    is_random = len(set(secret)) >= _DIFFERENT_BYTES_MIN
    if len(secret) < KEY_BYTES_MIN or not is_random or len(text) > _KEY_CHARACTERS_MAX:
        raise InvalidValue(
            f"the key of {name!r} is at least {KEY_BYTES_MIN} random bytes as hex or Base64; "
            "make one with: chrysalis keygen NAME"
        )
    return secret


class Signature(NamedTuple):
    """What the header of a request says."""

    peer: str
    """Who signs."""
    stamp: int
    """When it was signed, by the peer's clock: microseconds since 1970."""
    nonce: str
    """16 random bytes as hex; never used twice."""
    digest: str
    """SHA-256 of the frame, as hex."""
    mac: str
    """HMAC-SHA256 of all the rest, of the version and the route, as hex."""

    @classmethod
    def parse(cls, header: str) -> Self:
        """Read a header.

        Raises:
            InvalidValue: it has another form, or is of another version.
        """
        found = _SIGNATURE.fullmatch(header)
        if found is None:
            raise InvalidValue("the signature has no known form")
        if int(found["version"]) != VERSION:
            raise InvalidValue(
                f"a signature of version {found['version']}, this version reads {VERSION}; "
                "upgrade both sides"
            )
        return cls(
            found["peer"], int(found["stamp"]), found["nonce"], found["digest"], found["mac"]
        )

    def __str__(self) -> str:
        return (
            f"v={VERSION}, peer={self.peer}, time={self.stamp}, nonce={self.nonce}, "
            f"digest={self.digest}, mac={self.mac}"
        )

    def is_by(self, key: PeerKey, *, route: str) -> bool:
        """Tell whether a key made this signature, for this route; takes the same time anyway."""
        return hmac.compare_digest(self.mac, _mac(key, route, self))

    def is_of(self, frame: bytes) -> bool:
        """Tell whether this is the frame that was signed."""
        return hmac.compare_digest(self.digest, digest(frame))


def sign(key: PeerKey, *, route: str, frame: bytes, stamp: int) -> Signature:
    """Return the signature of a request.

    Args:
        key: Of the peer that sends it.
        route: Where it is sent: ``/v1/pull`` or ``/v1/push``.
        frame: What is sent.
        stamp: The time, in microseconds since 1970.
    """
    nonce = secrets.token_hex(NONCE_BYTES)
    unsigned = Signature(key.name, stamp, nonce, digest(frame), "")
    return unsigned._replace(mac=_mac(key, route, unsigned))


def sign_answer(key: PeerKey, *, asked: Signature, frame: bytes) -> str:
    """Return the header that signs the answer to a request."""
    return f"v={VERSION}, mac={_answer_mac(key, asked, frame)}"


def check_answer(key: PeerKey, *, asked: Signature, frame: bytes, header: str | None) -> None:
    """Check that an answer is that of the server which has the key, to this very request.

    Raises:
        InvalidFrame: it is not, or nobody signed it.
    """
    if header is None:
        raise InvalidFrame(
            "the answer is not signed, so it may be anybody's; is the memory served with --keys, "
            "and does a proxy pass its headers on?"
        )
    found = _ANSWER.fullmatch(header)
    if found is None or not hmac.compare_digest(found[1], _answer_mac(key, asked, frame)):
        raise InvalidFrame(
            "the answer's signature does not fit: it was changed or repeated on its way, or "
            "another key signed it"
        )


def digest(frame: bytes) -> str:
    """Return the SHA-256 digest of a frame, as hex."""
    return hashlib.sha256(frame).hexdigest()


def _mac(key: PeerKey, route: str, signed: Signature) -> str:
    return key.mac(
        f"chrysalis request {VERSION}", f"POST {route}",
        signed.peer, str(signed.stamp), signed.nonce, signed.digest,
    )  # fmt: skip


def _answer_mac(key: PeerKey, asked: Signature, frame: bytes) -> str:
    return key.mac(f"chrysalis answer {VERSION}", asked.peer, asked.nonce, asked.mac, digest(frame))
