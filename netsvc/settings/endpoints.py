r"""The syntax of Twisted's server endpoint strings, checked without opening anything.

``serverFromString`` is of no use here: it reads the certificates of an ``ssl:`` endpoint and looks for the descriptors of a
``systemd:`` one, so ``netsvc check`` could only be run inside the unit. The text is split by Twisted's own tokenizer, so escapes
(``interface=\:\:1``) mean what they will mean when the daemon starts; the arguments are compared with those that Twisted documents
("Endpoint Types Included With Twisted").
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from twisted.internet.endpoints import _parse as tokenize
from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import getPlugins

from netsvc.settings.faults import nearest, quoted

__all__ = ["check_endpoint", "parse_endpoint"]

# The arguments of each type, in order of position; the first is required.
_ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "tcp": ("port", "interface", "backlog"),
    "tcp6": ("port", "backlog", "interface"),
    "ssl": ("port", "privateKey", "certKey", "sslmethod", "interface", "backlog", "extraCertChain", "dhParameters"),
    "tls": ("path", "port", "backlog", "interface"),
    "unix": ("address", "mode", "backlog", "lockfile"),
    "systemd": ("domain", "index", "name"),
}


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) is not None and int(text) <= 65535


# What an argument may look like, and how to say so.
_CHECKS: Final[Mapping[str, tuple[Callable[[str], object], str]]] = {
    "port": (_is_port, "a number from 0 to 65535"),
    "backlog": (re.compile(r"[0-9]{1,6}", re.ASCII).fullmatch, "a number"),
    "index": (re.compile(r"[0-9]{1,4}", re.ASCII).fullmatch, "a number"),
    "mode": (re.compile(r"[0-7]{3,4}", re.ASCII).fullmatch, "octal digits like 660"),
    "sslmethod": (re.compile(r"(?:SSLv23|TLS|TLS_SERVER|TLSv1|TLSv1_1|TLSv1_2)_METHOD").fullmatch, "a pyOpenSSL name like TLS_METHOD"),
    "lockfile": (re.compile(r"[01]", re.ASCII).fullmatch, "0 or 1"),
    "domain": (re.compile(r"INET|INET6|UNIX").fullmatch, "INET, INET6 or UNIX"),
    "interface": (re.compile(r"[\w.:%-]*").fullmatch, "an address like 127.0.0.1"),
    "address": (re.compile(r".+").fullmatch, "a path"),
    "path": (re.compile(r"(?![0-9]+$).+").fullmatch, "a folder of PEM files"),
}

# What people who know other servers write: 8080, :8080, 127.0.0.1:8080, [::1]:8080, http://localhost:8080/.
_HABIT: Final = re.compile(r"(?:(?:tcp:|http://)?([0-9]+(?:\.[0-9]+){3}|localhost|\*|\[[0-9a-fA-F:.]+\])?:)?([0-9]{1,5})/?", re.ASCII)


def _suggestion(text: str) -> str:
    """What was probably meant, as an endpoint; otherwise an example."""
    if text.startswith("/"):
        return f"unix:{text}"
    found = _HABIT.fullmatch(text)
    if found is None or not _is_port(found[2]):
        return "tcp:8080:interface=127.0.0.1"
    host, port = found.groups()
    if host in ("*", "0.0.0.0") or text.startswith(":"):  # noqa: S104 - compared, not bound
        return f"tcp:{port}"
    if host is not None and host.startswith("["):
        return f"tcp6:{port}:interface=" + host.strip("[]").replace(":", r"\:")
    return f"tcp:{port}:interface=" + ("127.0.0.1" if host in (None, "localhost") else host)


def _arguments(kind: str, positional: list[str], named: dict[str, str]) -> dict[str, str]:
    """The arguments of an endpoint by name. ValueError: one is unknown, given twice or missing."""
    known = _ARGUMENTS[kind]
    if len(positional) > len(known):
        raise ValueError(f"{kind}: takes at most {len(known)} arguments")
    given = dict(zip(known, positional, strict=False))
    for name, value in named.items():
        if name not in known:
            raise ValueError(f"{kind}: has no argument {quoted(name)}{nearest(name, known)}")
        if name in given:
            raise ValueError(f"{kind}: has {name} twice")
        given[name] = value
    if known[0] not in given:
        raise ValueError(f"{kind}: needs {known[0]}")
    return given


def parse_endpoint(text: str) -> tuple[str, Mapping[str, str]]:
    """The type of an endpoint and its arguments by name, as they are written; for ``haproxy:`` those of the endpoint that it wraps.

    The arguments of a plugin's type are not known. ValueError: the text is not an endpoint.
    """
    try:
        positional, named = tokenize(text)
    except (ValueError, RuntimeError):  # an argument's name that is not ASCII; a backslash with nothing after it
        raise ValueError("a backslash at the end, or a name that is not ASCII") from None
    kind = positional.pop(0) if positional else ""
    if kind == "haproxy":  # wraps another endpoint
        return parse_endpoint(text.partition(":")[2])
    if kind not in _ARGUMENTS:
        plugins = {plugin.prefix.lower() for plugin in getPlugins(IStreamServerEndpointStringParser)}
        if kind.lower() not in plugins:
            raise ValueError(f"no endpoint type {quoted(kind)}{nearest(kind, sorted({*_ARGUMENTS, *plugins}))}")
        return kind, {}  # its arguments are its own affair
    given = _arguments(kind, positional, named)
    for name, value in given.items():
        matches, words = _CHECKS.get(name, (bool, "a value"))
        if not matches(value):
            raise ValueError(f"{kind}: wants {words} as {name}, not {quoted(value)}")
    if kind == "systemd" and ("index" in given) == ("name" in given):
        raise ValueError("systemd: needs either name= or index=")
    return kind, given


def check_endpoint(text: str) -> None:
    """Raise ValueError, saying what to write instead, if the text is not a server endpoint."""
    if _HABIT.fullmatch(text) or text.startswith("/") or ":" not in text:
        raise ValueError(f"not an endpoint: {quoted(text)}; write {_suggestion(text)}")
    try:
        parse_endpoint(text)
    except ValueError as error:
        several = "; write one endpoint per line" if re.search(r"[,\s][a-z0-9]+:", text) else ""
        raise ValueError(f"not an endpoint: {quoted(text)}: {error}{several}") from None
