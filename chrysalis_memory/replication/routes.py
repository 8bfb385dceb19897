"""What both sides of a sync over HTTP agree on: routes, headers and what a token is."""

from chrysalis_memory.errors import InvalidValue

CONTENT_TYPE = "application/vnd.chrysalis.frame"
PULL = "/v1/pull"
PUSH = "/v1/push"
SIGNATURE = "Chrysalis-Signature"
"""The header that says who sends a frame, and proves it; see :mod:`.signing`."""


def check_token(token: str) -> str:
    """Return a token that a header can carry.

    Raises:
        InvalidValue: it is empty, or has other characters than visible ASCII ones.
    """
    if not token or not all("!" <= character <= "~" for character in token):
        raise InvalidValue(
            "a token is one or more visible ASCII characters without spaces; make one with: "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return token
