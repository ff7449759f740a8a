"""What the endpoints in the settings need of this machine: addresses, and files with keys and certificates.

Addresses given twice show only when all endpoints are compared, missing files only on the machine itself. Both are checked before
anything is opened; what others do, such as a program that holds a port, shows only at the start.
"""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

from netsvc.net.certificates import certificate_problem, folder_problem
from netsvc.settings import Fault, Place, Settings
from netsvc.settings.endpoints import parse_endpoint

__all__ = ["Address", "TcpAddress", "address_of", "clash", "endpoint_faults"]

_EVERY_IPV4: Final = IPv4Address("0.0.0.0")  # noqa: S104 - compared, not bound
_EVERY_IPV6: Final = IPv6Address("::")

_LATER: Final = "/run/credentials/"
"""Where systemd puts the credentials of a service, for its user alone and while it runs (systemd.exec(5), Credentials)."""

_SSL_FILES: Final = ("privateKey", "certKey", "extraCertChain", "dhParameters")


class TcpAddress(NamedTuple):
    """What a TCP listener is bound to.

    :ivar host: a name stands for an IPv4 address, as Twisted looks up no other; a name is known to equal only itself.
    """

    port: int
    host: IPv4Address | IPv6Address | str


Address = TcpAddress | tuple[str, ...]
"""A tuple is the path of a UNIX socket, or says which of systemd's sockets it is."""


def address_of(endpoint: str) -> Address | None:
    """What an endpoint is bound to; None if that cannot be known. Two equal ones cannot both be opened; see also `clash`."""
    kind, given = parse_endpoint(endpoint)
    if kind == "unix":
        return "unix", os.path.realpath(given["address"])
    if kind == "systemd":
        return "systemd", given.get("name", ""), given.get("index", "")
    if kind in ("tcp", "ssl"):
        return TcpAddress(int(given["port"]), _host(given.get("interface", "")))
    if kind in ("tcp6", "tls"):
        return TcpAddress(int(given.get("port", "443")), _host(given.get("interface", "::")))
    return None


def _host(interface: str) -> IPv4Address | IPv6Address | str:
    name = {"": "0.0.0.0", "localhost": "127.0.0.1"}.get(interface.lower(), interface.lower())  # noqa: S104 - compared, not bound
    try:
        address = ip_address(name)
    except ValueError:
        return name
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def clash(one: Address | None, other: Address | None) -> bool:
    """Whether the kernel would refuse the second of two addresses: they are the same, or one is the wildcard that includes the other."""
    if not (isinstance(one, TcpAddress) and isinstance(other, TcpAddress)):
        return one is not None and one == other
    if one.port != other.port or not one.port:  # the kernel chooses a port for 0
        return False
    return one.host == other.host or _covers(one.host, other.host) or _covers(other.host, one.host)


def _covers(every: object, host: object) -> bool:
    if every == _EVERY_IPV6:
        return isinstance(host, IPv6Address) or _ipv6_takes_ipv4()
    return every == _EVERY_IPV4 and not isinstance(host, IPv6Address)


def _ipv6_takes_ipv4() -> bool:
    """Whether ``::`` includes the IPv4 addresses (IPV6_V6ONLY, RFC 3493 section 5.3); a system may be configured not to."""
    try:
        with socket.socket(socket.AF_INET6) as unbound:
            return not unbound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    except OSError:
        return False  # there is no IPv6


def endpoint_faults(settings: Settings, sections: Sequence[str], doubts: list[Fault] | None) -> list[Fault]:
    """The faults of all ``listen`` keys: addresses that are used twice, files that cannot be read.

    :param sections: in the order in which they are opened.
    :param doubts: collects what only the daemon itself can know, for a check by another user or at another time; None if this is the daemon.
    """
    faults: list[Fault] = []
    taken: list[tuple[Address | None, str]] = []
    for section in sections:
        for place, text in settings.written(section, "listen"):
            for problem, certain in _file_problems(text):
                if certain or doubts is None:
                    faults.append(Fault(place, section, "listen", problem))
                else:
                    doubts.append(Fault(place, section, "listen", f"{problem}; the daemon itself may be able to read it"))
            address = address_of(text)
            first = next((where for other, where in taken if clash(other, address)), None)
            if first is not None:
                faults.append(Fault(place, section, "listen", f"{text}: the address is already taken by {first}"))
            taken.append((address, _described(section, place, text)))
    return faults


def _described(section: str, place: Place | None, text: str) -> str:
    return f"{text}, the default of [{section}] listen" if place is None else f"{text} in {place}"


def _file_problems(endpoint: str) -> Iterator[tuple[str, bool]]:
    """What is wrong with the files of an endpoint, and whether that is so for every user and at any time."""
    kind, given = parse_endpoint(endpoint)
    files: dict[str, str] = {}
    if kind == "ssl":
        files = {"privateKey": "server.pem", **{name: given[name] for name in _SSL_FILES if name in given}}
    elif kind == "tls":
        files = {"path": given["path"]}
    # Key and certificate may be in one file; what is wrong with it is reported once.
    there = bool(files)
    for path, name in {os.path.abspath(path): name for name, path in reversed(files.items())}.items():
        try:
            _look(path, folder=kind == "tls")
        except OSError as error:
            there = False
            certain = not isinstance(error, PermissionError) and not path.startswith(_LATER)
            yield f"{kind}: cannot read {name} {path}: {error.strerror}", certain
    if there:
        try:
            problem = _content_problem(kind, files)
        except OSError as error:  # a file of the folder
            yield f"{kind}: cannot read {error.filename}: {error.strerror}", not isinstance(error, PermissionError)
        else:
            if problem is not None:
                yield f"{kind}: {problem}", True


def _content_problem(kind: str, files: Mapping[str, str]) -> str | None:
    """What is wrong with the content of readable files. For a pipe this cannot be known in advance."""
    if kind == "tls":
        return folder_problem(files["path"])
    return certificate_problem(files) if all(os.path.isfile(path) for path in files.values()) else None


def _look(path: str, folder: bool) -> None:
    """OSError if a file or folder cannot be read. Nothing is read, and no pipe is waited for."""
    if folder:
        os.scandir(path).close()
    else:
        open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)).close()
