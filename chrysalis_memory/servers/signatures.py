"""Whether a frame comes from whom it says, unchanged and for the first time."""

import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from starlette.datastructures import Headers

from chrysalis_memory import wire
from chrysalis_memory.crdt.clock import system_wall_us
from chrysalis_memory.errors import InvalidValue
from chrysalis_memory.replication import signing
from chrysalis_memory.replication.rights import Rights
from chrysalis_memory.replication.routes import SIGNATURE
from chrysalis_memory.replication.signing import Signature
from chrysalis_memory.servers import refusals
from chrysalis_memory.servers.keyring import Keyring, Peer
from chrysalis_memory.servers.nonces import Nonces

AGE_SECONDS_MAX = 300
"""How far a peer's clock may be from this one, and how long a request may take to arrive."""
_MICROSECONDS = 1_000_000


class Claim(NamedTuple):
    """A request whose header is signed well, before its body has been read."""

    peer: Peer
    signature: Signature

    @property
    def rights(self) -> Rights:
        """What the peer may give."""
        return self.peer.rights


class Signatures:
    """Checks the signatures of requests and signs the answers.

    Nothing that was signed before this began is taken: a server that was restarted does not know
    what it has answered before.

    Args:
        keyring: The peers that are let in.
        clock: Returns microseconds since 1970.
    """

    def __init__(self, keyring: Keyring, *, clock: Callable[[], int] = system_wall_us) -> None:
        self._keyring = keyring
        self._clock = clock
        self._began = clock()
        self._nonces = {name: Nonces(self._began) for name in keyring.names}
        self._lock = threading.Lock()

    def open(self, headers: Headers, *, route: str) -> Claim:
        """Check who speaks, before a body is read.

        Raises:
            Exception: the signature is missing or not valid, or too old; the request is refused.
        """
        given = headers.getlist(SIGNATURE)
        if len(given) != 1:
            raise _refused(
                "frames are signed here, and this one is not; give the key of this peer "
                "(CHRYSALIS_SYNC_KEY)" if not given else "a frame has one signature"
            )  # fmt: skip
        try:
            signature = Signature.parse(given[0])
        except InvalidValue as error:
            raise _refused(str(error)) from None
        peer = self._keyring.get(signature.peer)
        if peer is None:
            raise _refused(f"no peer is named {signature.peer!r} among the keys of this server")
        if not signature.is_by(peer.key, route=route):
            raise _refused(
                f"the signature is not valid: {signature.peer!r} has another key here, or the "
                "request was changed on its way"
            )
        self._check_time(signature)
        return Claim(peer, signature)

    def settle(self, claim: Claim, body: bytes) -> None:
        """Check that a body is what was signed, and that it has not come before.

        Raises:
            Exception: it is not, or has; the request is refused.
        """
        signature = claim.signature
        if not signature.is_of(body):
            raise _refused("this is not the frame that was signed; it was changed on its way")
        with self._lock:
            self._check_time(signature)
            until = self._clock() - AGE_SECONDS_MAX * _MICROSECONDS
            nonces = self._nonces[signature.peer]
            if not nonces.take(signature.nonce, signature.stamp, until=until):
                raise _refused("this request has come before; a replay is not answered")

    def sign(self, claim: Claim, frame: bytes) -> str:
        """Return the header that signs an answer."""
        return signing.sign_answer(claim.peer.key, asked=claim.signature, frame=frame)

    def _check_time(self, signature: Signature) -> None:
        now = self._clock()
        if abs(now - signature.stamp) > AGE_SECONDS_MAX * _MICROSECONDS:
            raise _refused(
                f"the request was signed at {_shown(signature.stamp)}, and here it is "
                f"{_shown(now)}: more than {AGE_SECONDS_MAX} seconds apart; set the clock that is "
                "wrong"
            )
        floor = self._nonces[signature.peer].floor
        if signature.stamp <= floor:
            raise _refused(
                f"the request was signed at {_shown(signature.stamp)}, and what was signed until "
                f"{_shown(floor)} is not answered any more, for this server may have begun only "
                "then; sync again, and if that is of no use, compare the clocks: here it is "
                f"{_shown(now)}"
            )


def _shown(stamp: int) -> str:
    if not 0 <= stamp < 253_402_300_800 * _MICROSECONDS:  # the year 10000
        return f"{stamp} microseconds after 1970"
    return f"{wire.moment(stamp):%Y-%m-%d %H:%M:%S.%f} UTC"


def _refused(message: str) -> Exception:
    return refusals.refused(
        HTTPStatus.UNAUTHORIZED, "PeerRefused", message, {"WWW-Authenticate": SIGNATURE}
    )
