"""Endpoints: TCP, perhaps through a proxy, perhaps with TLS, the same for HTTP and WebSockets, whatever drives the sockets."""

# Twisted's names are in camelCase.
# ruff: noqa: N802

import re
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionLost as TransportLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.python.failure import Failure
from zope.interface import implementer

from netsvc.client.addresses import Address, Proxy
from netsvc.client.errors import ConnectionLost

__all__ = ["Ground", "ReactorGround", "Way", "trust_in"]

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: ([^\r\n]*))?\r?\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")

LONGEST_HEAD = 16 * 1024
"""The most bytes of a proxy's answer."""


class Ground(Protocol):
    """What a client runs on: something that tells the time and makes TCP connections."""

    @property
    def clock(self) -> IReactorTime:
        """Tells the time."""

    def endpoint(self, host: str, port: int, timeout: float) -> IStreamClientEndpoint:
        """Where a TCP connection can be made; `timeout` in seconds."""


class ReactorGround:
    """A Twisted reactor.

    :param reactor: of any kind.
    """

    def __init__(self, reactor: Any) -> None:
        self.clock: IReactorTime = reactor
        self._reactor = reactor

    def endpoint(self, host: str, port: int, timeout: float) -> IStreamClientEndpoint:
        """See Ground."""
        return HostnameEndpoint(self._reactor, host, port, timeout=timeout)


def trust_in(ca_file: str | Path) -> Any:
    """The certificates of a PEM file, to trust instead of the system's.

    :raises ValueError: it contains none.
    :raises OSError: it cannot be read.
    """
    blocks = _CERTIFICATE.findall(Path(ca_file).read_bytes())
    if not blocks:
        raise ValueError(f"{ca_file} contains no certificate")
    return trustRootFromCertificates([Certificate.loadPEM(block) for block in blocks])


class Way:
    """The way to a server.

    :param proxy: None to use none.
    :param trust: what `trust_in` gave, None for the system's certificates.
    :param timeout: for the TCP connection, in seconds.
    """

    def __init__(self, ground: Ground, address: Address, proxy: Proxy | None, trust: Any, timeout: float) -> None:
        self._ground = ground
        self._address = address
        self._proxy = proxy
        self._trust = trust
        self._timeout = timeout

    def endpoint(self) -> IStreamClientEndpoint:
        """What connects to the server."""
        address, proxy = self._address, self._proxy
        if proxy is None:
            endpoint = self._ground.endpoint(address.host, address.port, self._timeout)
        else:
            endpoint = self._ground.endpoint(proxy.host, proxy.port, self._timeout)
            if proxy.secure:
                endpoint = self._with_tls(endpoint, proxy.host)
            endpoint = _Tunnel(endpoint, address.authority, proxy.authorization)
        return self._with_tls(endpoint, address.host) if address.secure else endpoint

    def _with_tls(self, endpoint: IStreamClientEndpoint, host: str) -> IStreamClientEndpoint:
        # The name is verified by service-identity, in Twisted's options. The clock is given since the default is the global reactor.
        options = optionsForClientTLS(host, trustRoot=self._trust)
        return wrapClientTLS(options, endpoint, clock=self._ground.clock)


@implementer(IStreamClientEndpoint)
class _Tunnel:
    """Through a proxy (RFC 9110, section 9.3.6)."""

    def __init__(self, proxy: IStreamClientEndpoint, authority: str, authorization: str | None) -> None:
        self._proxy = proxy
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if authorization is not None:
            lines.append(f"Proxy-Authorization: {authorization}")
        self._request = "\r\n".join([*lines, "", ""]).encode("ascii")

    def connect(self, factory: IProtocolFactory) -> "Deferred[IProtocol]":
        """Ask the proxy, then connect the factory's protocol through it."""
        opening: Deferred[IProtocol] = Deferred(lambda _: tunnel.give_up())
        tunnel = _TunnelProtocol(self._request, factory, opening)

        def unreachable(failure: Failure) -> None:
            if not opening.called:
                opening.errback(failure)

        connecting = self._proxy.connect(Factory.forProtocol(lambda: tunnel))
        tunnel.connecting = connecting
        connecting.addErrback(unreachable)
        return opening


class _TunnelProtocol(TwistedProtocol):
    """Talks to the proxy until it has opened the tunnel, then hands over the transport."""

    def __init__(self, request: bytes, factory: IProtocolFactory, opening: "Deferred[IProtocol]") -> None:
        self._request = request
        self._factory = factory
        self._opening = opening
        self._head = b""
        self._inner: IProtocol | None = None
        self.connecting: Deferred[Any] | None = None

    def connectionMade(self) -> None:
        """Twisted's hook."""
        assert self.transport is not None
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Twisted's hook."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._head += data
        end = _HEAD_END.search(self._head)
        if end is None:
            if len(self._head) > LONGEST_HEAD:
                self._fail("the proxy did not answer in HTTP")
            return
        status = _STATUS_LINE.match(self._head)
        if status is None or not status[1].startswith(b"2"):
            words = "refused: " + b" ".join(filter(None, status.groups())).decode("latin-1") if status else "did not answer in HTTP"
            self._fail(f"the proxy {words}")
            return
        rest, self._head = self._head[end.end() :], b""
        self._open(rest)

    def _open(self, rest: bytes) -> None:
        transport = self.transport
        assert transport is not None
        inner = self._factory.buildProtocol(transport.getPeer())
        if inner is None:
            self._fail("no longer wanted")
            return
        self._inner = inner
        inner.makeConnection(transport)
        self._opening.callback(inner)
        if rest:
            inner.dataReceived(rest)

    def _fail(self, why: str) -> None:
        if not self._opening.called:
            self._opening.errback(ConnectionLost(why))
        self.give_up()

    def give_up(self) -> None:
        """Drop the connection, or the attempt to make one."""
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]  # all TCP and TLS transports have it
        elif self.connecting is not None:
            self.connecting.cancel()

    def connectionLost(self, reason: Failure = Failure(TransportLost())) -> None:  # noqa: B008 - Twisted's signature
        """Twisted's hook."""
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self._opening.called:
            self._opening.errback(ConnectionLost("the proxy closed the connection"))
