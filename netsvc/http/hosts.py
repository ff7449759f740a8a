"""The rules for Host and Origin that keep other people's web pages out."""

import re
from collections.abc import Iterable
from ipaddress import ip_address

from netsvc.wire.http1 import BadMessage

__all__ = ["HostRule", "check_host", "check_origin"]

_REMEMBERED = 1000

# uri-host [":" port] of RFC 9110 section 7.2; names are limited to what occurs in DNS, and the underscore.
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]*)(?::([0-9]{0,5}))?")
_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(\[[0-9A-Fa-f:.]+\]|[^\[\]:/?#@\s]+)(?::([0-9]{1,5}))?")
_PORTS = {"http": 80, "https": 443}

_Origin = tuple[str, str, int]


def _fold(name: str) -> str:
    return name.lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def parse_origin(text: str) -> _Origin | None:
    """Scheme, host and port of ``scheme://host[:port]`` (RFC 6454 section 6.1), None for anything else, ``null`` included."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme = found[1].lower()
    return scheme, _fold(found[2]), int(found[3]) if found[3] else _PORTS.get(scheme, 0)


def check_host(text: str) -> None:
    """Whether a name can be one of [http] hosts; ValueError says why not."""
    found = _HOST.fullmatch(text.encode())
    if found is None or not found[1] or found[2] is not None:
        raise ValueError(f'not a host name: "{text}"; write it without scheme, port and path, like chat.example.org')


def check_origin(text: str) -> None:
    """Whether a text can be one of [http] origins; ValueError says why not."""
    if parse_origin(text) is None:
        raise ValueError(f'not an origin: "{text}"; write scheme, host and, if it is not the usual one, port, like https://chat.example.org')


class HostRule:
    """The rules of docs/protocol.md for Host (against DNS rebinding) and Origin (against requests forged by other sites).

    :param hosts: further names under which the server may be reached.
    :param origins: further origins that may make changes; a malformed one matches nothing.
    :ivar known: the answers of `reachable_as`, by Host value.
    """

    __slots__ = ("_names", "_origins", "known")

    def __init__(self, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._names = {"localhost", *map(_fold, hosts)}
        self._origins = {origin for origin in map(parse_origin, origins) if origin is not None}
        self.known: dict[bytes, bool] = {}

    def reachable_as(self, host: bytes) -> bool:
        """Whether a Host value is an IP literal, localhost or one of ours. BadMessage if it is no Host value at all."""
        found = _HOST.fullmatch(host)
        if found is None:
            raise BadMessage("Host is not a host and a port")
        name = _fold(found[1].decode())
        if len(self.known) >= _REMEMBERED:
            self.known.clear()
        reachable = self.known[host] = name in self._names or _is_address(name)
        return reachable

    def same_site(self, origin: bytes, host: bytes | None, secure: bool) -> bool:
        """Whether an Origin value is this very host's, or one of ours.

        :param host: the request's Host.
        :param secure: it came over TLS; the scheme counts.
        """
        theirs = parse_origin(origin.decode("latin-1"))
        if theirs is None:
            return False
        if theirs in self._origins:
            return True
        scheme = "https" if secure else "http"
        return host is not None and theirs == parse_origin(f"{scheme}://{host.decode('latin-1')}")
