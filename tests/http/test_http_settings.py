"""[http]."""

from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.http.settings import HttpSettings
from netsvc.settings import SettingsError, load


class HttpSettingsTests(SynchronousTestCase):
    """The section."""

    def test_defaults(self) -> None:
        """By default it listens on port 8080 of the loopback interface, and says nothing."""
        settings = HttpSettings()
        reactor = MemoryReactorClock()
        self.successResultOf(serverFromString(reactor, settings.listen[0]).listen(Factory()))
        ((port, _, _, interface),) = reactor.tcpServers
        self.assertEqual((port, interface, settings.access_log), (8080, "127.0.0.1", False))

    def test_from_text(self) -> None:
        """Every key can be set; docs/protocol.md's four by name."""
        overrides = ["http.listen=tcp:1", "http.access_log=on", "http.hosts=a.example, b.example", "http.origins=https://a.example", "http.max_body=2MiB"]
        settings = load({"http": HttpSettings}, None, overrides).section(HttpSettings)
        self.assertEqual((settings.listen, settings.access_log, settings.hosts), (("tcp:1",), True, ("a.example", "b.example")))
        self.assertEqual((settings.origins, settings.max_body), (("https://a.example",), 2 << 20))

    def test_limits(self) -> None:
        """What the reader and the WebSockets are given are its numbers."""
        settings = HttpSettings(max_line=300, max_head=2000, max_headers=9, websocket_message=500, ping_interval=1, pong_timeout=2, close_timeout=3)
        self.assertEqual(settings.request_limits(), (300, 2000, 9))
        limits = settings.websocket_limits()
        self.assertEqual((limits.max_message, limits.ping_interval, limits.pong_timeout, limits.close_timeout), (500, 1, 2, 3))

    def test_hosts_and_origins(self) -> None:
        """What could match no request is a fault that says how to write it."""
        for key, value, words in (
            ("hosts", "https://a.example", "without scheme"),
            ("hosts", "a.example:443", "port"),
            ("hosts", "a.example, b/c", '"b/c"'),
            ("hosts", "*", "not a host name"),
            ("origins", "a.example", "https://chat.example.org"),
            ("origins", "https://a.example/", "not an origin"),
            ("origins", "*", "not an origin"),
        ):
            error = self.assertRaises(SettingsError, load, {"http": HttpSettings}, None, [f"http.{key}={value}"])
            self.assertIn(words, error.detail)
