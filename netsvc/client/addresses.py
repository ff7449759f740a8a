"""Where the server is, through which proxy it is reached, and with which credentials."""

from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from netsvc import __version__

__all__ = ["USER_AGENT", "Address", "Credentials", "Proxy", "proxy_for"]

USER_AGENT = f"netsvc-client/{__version__}"

_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}


class Address(NamedTuple):
    """A server's URL in its parts.

    :ivar secure: with TLS.
    :ivar host: a name or an IP address, without brackets.
    :ivar prefix: the path under which the server's own paths start, without a trailing slash.
    :ivar websocket: it was given as ``ws:`` or ``wss:``.
    """

    secure: bool
    host: str
    port: int
    prefix: str
    websocket: bool

    @classmethod
    def parse(cls, url: str) -> "Address":
        """The parts of a URL like ``http://127.0.0.1:8080``; ``https:``, ``ws:`` and ``wss:`` work as well.

        :raises ValueError: it is none of these.
        """
        parts = _split(url, tuple(_PORTS), "http://127.0.0.1:8080")
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError(f"{url!r}: a server's URL has no query and no credentials")
        secure = parts.scheme in ("https", "wss")
        return cls(secure, parts.hostname or "", parts.port or _PORTS[parts.scheme], parts.path.rstrip("/"), parts.scheme in ("ws", "wss"))

    @property
    def authority(self) -> str:
        """``host:port`` as in CONNECT and URLs."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, path: str, *, websocket: bool = False) -> str:
        """The URL of one of the server's paths."""
        scheme = ("wss" if self.secure else "ws") if websocket else ("https" if self.secure else "http")
        return f"{scheme}://{self.authority}{self.prefix}{path}"


def _split(url: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        # Reading the port may raise, too.
        good = parts.scheme in schemes and parts.hostname and parts.port != 0 and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"{url!r}: expected something like {example}")
    return parts


class Credentials:
    """Who the caller is: by a token, a user with a password, a guest of some name, or whoever the server takes us for.

    :raises ValueError: two of these at once, or something that no header can carry.
    """

    __slots__ = ("authorization", "guest")

    def __init__(self, token: str | None = None, name: str | None = None, password: str | None = None) -> None:
        self.authorization: str | None = None
        """The value of the header, None to send none."""
        self.guest: str | None = None
        """The guest's name to ask for, None to ask for none."""
        if token is not None:
            if name is not None or password is not None:
                raise ValueError("a token is enough: no name, no password")
            if not token.isascii() or not token.isprintable() or not token or " " in token:
                raise ValueError("a token is one word of ASCII")
            self.authorization = f"Bearer {token}"
        elif password is not None:
            if not name or ":" in name:
                raise ValueError("a password needs a name, one without a colon")
            self.authorization = "Basic " + b64encode(f"{name}:{password}".encode()).decode("ascii")
        else:
            self.guest = name

    def __repr__(self) -> str:
        # Tracebacks show arguments; a secret must not be among them.
        kind = f"guest {self.guest!r}" if self.guest is not None else (self.authorization or "none").partition(" ")[0]
        return f"<Credentials {kind}>"


class Proxy(NamedTuple):
    """An HTTP proxy that is asked to CONNECT.

    :ivar secure: the connection to it uses TLS.
    :ivar authorization: the value of Proxy-Authorization, None for none.
    """

    secure: bool
    host: str
    port: int
    authorization: str | None = None

    @classmethod
    def parse(cls, url: str) -> "Proxy":
        """The parts of ``http://name:password@proxy:3128``.

        :raises ValueError: it is not such a URL; other kinds of proxies are not supported.
        """
        parts = _split(url if "://" in url else f"http://{url}", ("http", "https"), "http://proxy:3128")
        authorization = None
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = "Basic " + b64encode(secret.encode()).decode("ascii")
        return cls(parts.scheme == "https", parts.hostname or "", parts.port or _PORTS[parts.scheme], authorization)

    def __repr__(self) -> str:
        return f"<Proxy {self.host}:{self.port}>"


def proxy_for(address: Address, environment: Mapping[str, str] | None = None) -> Proxy | None:
    """The proxy that ``$https_proxy``, ``$http_proxy``, ``$all_proxy`` and ``$no_proxy`` ask for; none is used for this computer itself.

    :param environment: the proxies by scheme, instead of the environment's.
    :raises ValueError: what is given there is not a usable proxy.
    """
    if _is_here(address.host):
        return None
    found = getproxies() if environment is None else environment
    url = found.get("https" if address.secure else "http") or found.get("all")
    if not url or proxy_bypass(f"{address.host}:{address.port}"):
        return None
    return Proxy.parse(url)


def _is_here(host: str) -> bool:
    """Whether a host is this computer."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
