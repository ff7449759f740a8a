"""The syntax check of endpoint strings."""

import os

from OpenSSL import SSL
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import TestCase

from netsvc.settings.endpoints import check_endpoint, parse_endpoint


class EndpointTests(TestCase):
    """What is let through, and what is said of the rest."""

    def fault(self, text: str) -> str:
        """What is said of a text, without the text itself."""
        return str(self.assertRaises(ValueError, check_endpoint, text)).removeprefix(f'not an endpoint: "{text}"').lstrip(":; ")

    def test_right(self) -> None:
        """Every type that Twisted documents, with arguments in either form, and types of plugins."""
        for text in (
            "tcp:8080",
            "tcp:8080:127.0.0.1",
            "tcp:port=0:interface=127.0.0.1:backlog=100",
            r"tcp:8080:interface=\:\:1",
            "tcp6:8080",
            "ssl:443:privateKey=/missing/key.pem:certKey=/missing/cert.pem",
            "tls:/etc/certificates:port=8443",
            "unix:/run/netsvc.sock:mode=660:lockfile=0",
            "systemd:domain=INET:index=0",
            "systemd:domain=UNIX:name=web",
            "haproxy:tcp:8080:interface=127.0.0.1",
            "stdio:",
        ):
            check_endpoint(text)

    def test_arguments(self) -> None:
        """They are given by name, without escapes; of what is behind a proxy, those of that; of a plugin's type, none."""
        self.assertEqual(parse_endpoint(r"tcp:80:interface=\:\:1"), ("tcp", {"port": "80", "interface": "::1"}))
        self.assertEqual(parse_endpoint("haproxy:unix:/run/x:mode=600"), ("unix", {"address": "/run/x", "mode": "600"}))
        self.assertEqual(parse_endpoint("stdio:"), ("stdio", {}))

    def test_agrees_with_twisted(self) -> None:
        """What is let through and needs no file or descriptor is taken by serverFromString; what it refuses is refused here."""
        reactor = MemoryReactorClock()
        for text in ("tcp:8080", r"tcp:1:interface=\:\:1:backlog=7", "tcp6:80:backlog=9", "unix:/tmp/x:mode=600", "haproxy:tcp:80"):
            check_endpoint(text)
            serverFromString(reactor, text)
        for text in ("tcp:", "tcp:x", "tcp:1:2:3:4:5", "tcp:1:iface=x", "unix:a:mode=9", "tpc:1", "ssl:1:privatekey=x", "tcp:1\\"):
            self.assertRaises((ValueError, TypeError, RuntimeError), serverFromString, reactor, text)
            self.fault(text)

    def test_methods_of_tls(self) -> None:
        """Those that pyOpenSSL has, without its being asked, and no others."""
        for name in ("TLS_METHOD", "TLS_SERVER_METHOD", "SSLv23_METHOD", "TLSv1_METHOD", "TLSv1_1_METHOD", "TLSv1_2_METHOD"):
            self.assertTrue(hasattr(SSL, name))
            check_endpoint(f"ssl:443:sslmethod={name}")
        self.assertFalse(hasattr(SSL, "TLSv1_9_METHOD"))
        self.assertIn("TLS_METHOD", self.fault("ssl:443:sslmethod=TLSv1_9_METHOD"))

    def test_opens_nothing(self) -> None:
        """Descriptors are not looked for and files not made."""
        check_endpoint("systemd:domain=INET:name=nobody-passed-this")
        path = self.mktemp()
        check_endpoint(f"unix:{path}")
        self.assertFalse(os.path.exists(path))

    def test_habits_of_other_servers(self) -> None:
        """Who writes an address as other servers take it is told the endpoint."""
        for text, endpoint in {
            "8080": "tcp:8080:interface=127.0.0.1",
            ":8080": "tcp:8080",
            "*:8080": "tcp:8080",
            "0.0.0.0:80": "tcp:80",
            "127.0.0.1:8080": "tcp:8080:interface=127.0.0.1",
            "tcp:192.168.1.5:8080": "tcp:8080:interface=192.168.1.5",
            "localhost:8080": "tcp:8080:interface=127.0.0.1",
            "http://localhost:8080/": "tcp:8080:interface=127.0.0.1",
            "[::1]:8080": r"tcp6:8080:interface=\:\:1",
            "/run/netsvc.sock": "unix:/run/netsvc.sock",
            "netsvc": "tcp:8080:interface=127.0.0.1",
            "99999": "tcp:8080:interface=127.0.0.1",
            "": "tcp:8080:interface=127.0.0.1",
        }.items():
            self.assertEqual(self.fault(text), f"write {endpoint}")
            check_endpoint(endpoint)

    def test_wrong_arguments(self) -> None:
        """Each mistake is named, with the nearest right word."""
        for text, problem in {
            "tpc:8080": 'no endpoint type "tpc" (did you mean "tcp"?)',
            ":": 'no endpoint type ""',
            "tcp:http": 'tcp: wants a number from 0 to 65535 as port, not "http"',
            "tcp:65536": 'tcp: wants a number from 0 to 65535 as port, not "65536"',
            "tcp:80:interfce=127.0.0.1": 'tcp: has no argument "interfce" (did you mean "interface"?)',
            "tcp:80:1.2.3.4:interface=1.2.3.4": "tcp: has interface twice",
            "tcp:interface=127.0.0.1": "tcp: needs port",
            "tcp:1:a:2:b": "tcp: takes at most 3 arguments",
            "tcp:80:interface=127.0.0.1 # LAN": 'tcp: wants an address like 127.0.0.1 as interface, not "127.0.0.1 # LAN"',
            "unix:/run/x:mode=rw": 'unix: wants octal digits like 660 as mode, not "rw"',
            "systemd:domain=INET": "systemd: needs either name= or index=",
            "systemd:domain=TCP:index=0": 'systemd: wants INET, INET6 or UNIX as domain, not "TCP"',
            "tls:8443": 'tls: wants a folder of PEM files as path, not "8443"',
            "haproxy:tpc:1": 'no endpoint type "tpc" (did you mean "tcp"?)',
            "tcp:80\\": "a backslash at the end, or a name that is not ASCII",
            "tcp:80:größe=1": "a backslash at the end, or a name that is not ASCII",
        }.items():
            self.assertEqual(self.fault(text), problem)

    def test_several_in_a_line(self) -> None:
        """Two endpoints in one line are told apart."""
        for text in ("tcp:80, tcp:81", "tcp:80 tcp:81", "tcp:80,tcp:81"):
            self.assertIn("write one endpoint per line", self.fault(text))
