"""Host and Origin: the rules of docs/protocol.md that keep other sites' pages out."""

from twisted.trial.unittest import SynchronousTestCase

from netsvc.http.hosts import HostRule
from netsvc.http.messages import Response, Upgrade
from netsvc.http.settings import HttpSettings
from netsvc.wire.http1 import BadMessage
from tests.http.channels import ChannelCase, request
from tests.http.connections import Recorder
from tests.http.test_upgrade import HANDSHAKE


class HostTests(SynchronousTestCase):
    """Under which names the server may be reached."""

    def test_addresses_and_localhost(self) -> None:
        """IP literals and localhost always, with any port."""
        rule = HostRule()
        for host in (b"127.0.0.1", b"127.0.0.1:8080", b"[::1]", b"[2001:db8::1]:80", b"localhost", b"LOCALHOST:1", b"localhost."):
            self.assertTrue(rule.reachable_as(host), host)

    def test_names(self) -> None:
        """Names only if they are listed, in any case."""
        rule = HostRule(["chat.example.org"])
        self.assertTrue(rule.reachable_as(b"Chat.Example.ORG:443"))
        for host in (b"evil.example", b"example.org", b"xchat.example.org", b"localhost.evil.example", b"127.0.0.1.evil.example", b"", b"1.2.3"):
            self.assertFalse(rule.reachable_as(host), host)

    def test_malformed(self) -> None:
        """What is no host and port is malformed."""
        for host in (b"a b", b"a/b", b"u@a", b"a:b", b"[::1", b"::1", b"a:80:80", b"\xff"):
            self.assertRaises(BadMessage, HostRule().reachable_as, host)

    def test_memory(self) -> None:
        """Answers are remembered, but not without end."""
        rule = HostRule()
        for number in range(2500):
            rule.reachable_as(b"h%d" % number)
        self.assertLessEqual(len(rule.known), 1000)


class OriginTests(SynchronousTestCase):
    """Whose pages may change things."""

    def test_own(self) -> None:
        """The server's own, by scheme, host and port; the scheme's port may be left out on either side."""
        rule = HostRule()
        for origin, host, secure in (
            (b"http://localhost:8080", b"localhost:8080", False),
            (b"http://localhost", b"localhost:80", False),
            (b"https://a:443", b"a", True),
            (b"HTTP://A:8080", b"a:8080", False),
            (b"http://[::1]:8080", b"[::1]:8080", False),
        ):
            self.assertTrue(rule.same_site(origin, host, secure), origin)

    def test_foreign(self) -> None:
        """Not that of another scheme, host or port, nor what is no origin."""
        rule = HostRule()
        for origin, host, secure in (
            (b"https://localhost:8080", b"localhost:8080", False),
            (b"http://a", b"a", True),
            (b"http://localhost:8081", b"localhost:8080", False),
            (b"http://evil.example", b"localhost", False),
            (b"http://localhost.evil.example", b"localhost", False),
            (b"null", b"localhost", False),
            (b"null", b"null", False),
            (b"", b"localhost", False),
            (b"http://localhost/", b"localhost", False),
            (b"http://localhost http://localhost", b"localhost", False),
            (b"http://u@localhost", b"localhost", False),
            (b"\xff", b"localhost", False),
            (b"http://localhost", None, False),
        ):
            self.assertFalse(rule.same_site(origin, host, secure), origin)

    def test_listed(self) -> None:
        """Those that are listed, for any host."""
        rule = HostRule(origins=["https://example.org", "app://thing", "rubbish"])
        self.assertTrue(rule.same_site(b"https://example.org:443", b"localhost", False))
        self.assertTrue(rule.same_site(b"app://thing", None, False))
        self.assertFalse(rule.same_site(b"https://example.org:444", b"localhost", False))
        self.assertFalse(rule.same_site(b"rubbish", b"localhost", False))


class RuleTests(ChannelCase):
    """The same over HTTP."""

    settings = HttpSettings(hosts=("chat.example",), origins=("https://pages.example",))

    def setUp(self) -> None:
        """Routes of all kinds."""
        super().setUp()
        for method in ("GET", "POST"):
            self.routes.add(method, "/", lambda _: Response(204), public=True)
        self.routes.add("GET", "/ws", lambda _: Upgrade(Recorder()), public=True)

    def status(self, *lines: str, target: str = "/", method: str = "GET", host: str | None = "localhost", version: str = "1.1") -> int:
        """The status that a request gets."""
        self.client.send(request(target, "Connection: keep-alive", *lines, method=method, host=host, version=version))
        return self.client.answer().status

    def test_host(self) -> None:
        """Another Host than ours gets 421, whatever is asked for."""
        self.assertEqual([self.status(host=host) for host in ("chat.example", "127.0.0.1:1", "evil.example", "")], [204, 204, 421, 421])
        self.assertEqual(self.status(host="evil.example", target="/nothing"), 421)

    def test_authority_in_the_target(self) -> None:
        """The authority of the target counts in the place of Host."""
        self.assertEqual(self.status(target="http://evil.example/", host="localhost"), 421)
        self.assertEqual(self.status(target="http://localhost/", host="evil.example"), 204)

    def test_no_host(self) -> None:
        """HTTP/1.0 without Host passes: no browser speaks that."""
        self.assertEqual(self.status(host=None, version="1.0"), 204)

    def test_origin(self) -> None:
        """A foreign Origin may read by GET and HEAD, and nothing else."""
        foreign = "Origin: http://evil.example"
        self.assertEqual([self.status(foreign, method=method) for method in ("GET", "HEAD", "POST", "OPTIONS")], [204, 204, 403, 403])
        own = ["Origin: http://localhost", "Origin: https://pages.example", "Accept: */*"]
        self.assertEqual([self.status(line, method="POST") for line in own], [204, 204, 204])
        self.assertEqual(self.status("Origin: null", method="POST"), 403)
        for both in ([*own[:1], foreign], [foreign, *own[:1]]):
            self.assertEqual(self.status(*both, method="POST"), 403)

    def test_websocket(self) -> None:
        """Nor may it open a WebSocket."""
        self.client.send(request("/ws", *HANDSHAKE, "Origin: http://evil.example"))
        self.assertEqual(self.client.answer().status, 403)
        self.client.send(request("/ws", *HANDSHAKE, "Origin: http://localhost"))
        self.assertTrue(self.client.sent().startswith(b"HTTP/1.1 101 "))
