"""Who may ask: a token from the environment, and no page of a foreign site."""

import hmac
import os
from collections.abc import Collection

from starlette.datastructures import Headers

from jaxad.serve.failures import Refused

VARIABLE = "JAXAD_TOKEN"
SHORT = 16  # letters, of a token that might be guessed
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def token() -> str | None:
    """The token that requests have to bring; None where the environment has none.

    Raises:
      ValueError: it is empty, or no header could hold it.
    """
    found = os.environ.get(VARIABLE)
    if found is None:
        return None
    if not found or not found.isascii() or not found.isprintable() or " " in found:
        raise ValueError(
            f"{VARIABLE}: expected printable ASCII letters without spaces, or no such variable"
        )
    return found


class Gate:
    """Lets a request in, or raises `Refused`.

    Args:
      token: that a request has to bring; None for none.
      hosts: names under which the service may be asked; empty for any. A page of a foreign site
        whose name was made to point here is kept out by it.
    """

    def __init__(self, token: str | None, hosts: Collection[str] = ()) -> None:
        self._token = None if token is None else token.encode()
        self._hosts = frozenset(host.lower() for host in hosts)

    def check(self, headers: Headers, is_open: bool) -> None:
        """Looks at the head of a request.

        Args:
          headers: of it.
          is_open: whether what it asks for needs no token.

        Raises:
          Refused: it is not let in.
        """
        host = headers.get("host")
        if self._hosts and host is not None and _name(host) not in self._hosts:
            raise Refused(
                421,
                "wrong_host",
                f"the service is not asked as {host[:80]!r}: --hosts NAME allows a name",
            )
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_open:
            raise Refused(403, "foreign_page", "pages of other sites may not ask")
        if self._token is None or is_open:
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(given.strip().encode(errors="replace"), self._token)
        if kind.lower() != "bearer" or not same:
            raise Refused(
                401,
                "unauthorised",
                "expected the header Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": 'Bearer realm="jaxad"'},
            )


def _name(host: str) -> str:
    """The name in a header `Host`, without a port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
