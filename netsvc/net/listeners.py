"""The listeners: the endpoint strings in the settings, opened in order, closed together."""

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.systemd import ListenFDs

from netsvc.errors import StartError
from netsvc.net.outbound import Outbound
from netsvc.net.ports import DirectReactor
from netsvc.settings.endpoints import parse_endpoint

__all__ = ["Listeners", "is_loopback"]

_ENVIRONMENT: Final = Path("/proc/self/environ")
"""The environment that the process was started with (proc(5)): Twisted removes systemd's variables from `os.environ` when it is imported."""


def is_loopback(endpoint: str) -> bool:
    """Whether only this machine can reach an endpoint: a loopback address or a UNIX socket. In doubt, no."""
    kind, _, rest = endpoint.partition(":")
    if kind == "unix":
        return True
    # A colon in a value is written as \: there.
    fields = rest.replace("\\:", "\0").split(":")
    values = dict(field.partition("=")[::2] for field in fields)
    interface = values.get("interface", "").replace("\0", ":").strip("[]")
    if kind not in ("tcp", "tcp4", "tcp6", "ssl", "tls") or not interface:
        return False
    try:
        return ip_address(interface).is_loopback
    except ValueError:
        return interface == "localhost"


class Listeners(Service):
    """Opens every endpoint; if one cannot be opened, none stays open.

    :param reactor: the reactor.
    :param endpoints: Twisted endpoint strings.
    :param factory: makes the protocol of each connection.
    :param outbound: bounds the bytes waiting in all of them.
    :param section: the section of the settings that has the endpoints, for errors.
    """

    log = Logger()

    def __init__(self, reactor: Any, endpoints: Sequence[str], factory: IProtocolFactory, outbound: Outbound | None = None, section: str = "http") -> None:
        self._reactor = DirectReactor(reactor, outbound)
        self._endpoints = endpoints
        self._factory = factory
        self._section = section
        self._ports: list[IListeningPort] = []
        self._secure: dict[IListeningPort, bool] = {}

    def startService(self) -> "Deferred[None]":  # noqa: N802 - Twisted's name
        """Listen.

        :raises CannotListenError: through the Deferred; the address is in use, or not ours.
        :raises StartError: systemd passed no such socket, or the folder of a UNIX socket cannot be used.
        """
        Service.startService(self)
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        for text in self._endpoints:
            try:
                port = await _endpoint(self._reactor, text).listen(self._factory)
            except (KeyError, IndexError, TypeError) as error:
                if text.startswith("systemd:"):
                    raise StartError(f"[{self._section}] listen: {text}: systemd passed no such socket; is the .socket unit started?") from error
                raise
            except OSError as error:
                # Twisted's lock beside a UNIX socket: the error itself names the process, not the folder that cannot be written to.
                raise StartError(f"[{self._section}] listen: {text}: {error.strerror or error}") from error
            self._ports.append(port)
            self._secure[port] = text.startswith(("ssl:", "tls:"))

    def stopService(self) -> "Deferred[None]":  # noqa: N802 - Twisted's name
        """Stop listening; connections stay as they are."""
        Service.stopService(self)
        ports, self._ports = self._ports, []
        closing: Deferred[Any] = DeferredList([Deferred.fromCoroutine(_stop(port)) for port in ports], consumeErrors=True)
        return closing.addCallback(lambda _: None)

    def __len__(self) -> int:
        return len(self._ports)

    def urls(self, plain: str = "http", secure: str = "https") -> list[str]:
        """Where clients find the listeners, with these schemes; a UNIX socket as its path."""
        return [_url(port.getHost(), secure if self._secure[port] else plain) for port in self._ports]


def _endpoint(reactor: Any, text: str) -> IStreamServerEndpoint:
    """See serverFromString; IndexError or KeyError: systemd passed no such socket.

    To Twisted, sockets passed without names, as ``systemd-socket-activate`` passes them unless told otherwise, do not exist. By index they
    are available all the same: names may be missing (sd_listen_fds_with_names(3)).
    """
    try:
        named: IStreamServerEndpoint = serverFromString(reactor, text)
        return named
    except IndexError:
        given = parse_endpoint(text)[1]
        descriptor = _unnamed()[int(given["index"])]
        return AdoptedStreamServerEndpoint(reactor, descriptor, getattr(socket, f"AF_{given['domain']}"))


def _unnamed() -> list[int]:
    """The descriptors that were passed to this process without names."""
    try:
        lines = _ENVIRONMENT.read_bytes().split(b"\0")
    except OSError:
        return []
    environment = dict(line.decode("ascii", "replace").partition("=")[::2] for line in lines if line.startswith(b"LISTEN_"))
    if "LISTEN_FDNAMES" in environment:
        return []
    count = environment.get("LISTEN_FDS", "")
    environment["LISTEN_FDNAMES"] = ":".join(["unknown"] * int(count)) if count.isdecimal() else ""
    return ListenFDs.fromEnvironment(environment).inheritedDescriptors()


async def _stop(port: IListeningPort) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping


def _url(address: Any, scheme: str) -> str:
    if isinstance(address, IPv4Address | IPv6Address):
        host = {"0.0.0.0": "localhost", "::": "localhost", "": "localhost"}.get(address.host, address.host)  # noqa: S104 - shown, not bound
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{address.port}/"
    if isinstance(address, UNIXAddress):
        name = address.name
        return f"unix:{name.decode(errors='replace') if isinstance(name, bytes) else name}"
    return str(address)
