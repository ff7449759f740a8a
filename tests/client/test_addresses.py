"""Tests for netsvc.client.addresses."""

import os
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from netsvc.client.addresses import Address, Credentials, Proxy, proxy_for


class Addresses(SynchronousTestCase):
    """Where a server is."""

    def test_urls(self) -> None:
        """Every scheme, default ports, IPv6, a path below which the server is."""
        for url, expected in (
            ("http://127.0.0.1:8080", (False, "127.0.0.1", 8080, "", False)),
            ("https://Chat.example/netsvc/", (True, "chat.example", 443, "/netsvc", False)),
            ("ws://h", (False, "h", 80, "", True)),
            ("wss://[::1]:1", (True, "::1", 1, "", True)),
        ):
            self.assertEqual(tuple(Address.parse(url)), expected)

    def test_paths(self) -> None:
        """A path's URL for either way of speaking."""
        address = Address.parse("https://[::1]/x")
        self.assertEqual(address.url("/rpc"), "https://[::1]:443/x/rpc")
        self.assertEqual(address.url("/ws", websocket=True), "wss://[::1]:443/x/ws")
        self.assertEqual(Address.parse("ws://h:1").url("/rpc"), "http://h:1/rpc")
        self.assertEqual(Address.parse("ws://h:1").url("/ws", websocket=True), "ws://h:1/ws")

    def test_wrong(self) -> None:
        """Anything else is said to be wrong."""
        for url in (
            "",
            "ftp://x",
            "127.0.0.1:8080",
            "http://",
            "http://x:99999",
            "http://x:0",
            "http://x?y",
            "http://u@x",
            "http://[::1",
            "http://ä",
            "http://a b",
        ):
            self.assertRaises(ValueError, Address.parse, url)


class WhoCalls(SynchronousTestCase):
    """Credentials."""

    def test_kinds(self) -> None:
        """A token, a user with a password, a guest, nobody."""
        self.assertEqual(Credentials("nst_x").authorization, "Bearer nst_x")
        self.assertEqual(Credentials(None, "ann", "secret").authorization, "Basic YW5uOnNlY3JldA==")
        guest = Credentials(None, "walter")
        self.assertEqual((guest.authorization, guest.guest), (None, "walter"))
        self.assertEqual((Credentials().authorization, Credentials().guest), (None, None))

    def test_secrets_are_not_shown(self) -> None:
        """No traceback has them."""
        shown = repr([Credentials("nst_x"), Credentials(None, "ann", "secret"), Credentials(None, "walter"), Credentials(), Proxy.parse("http://u:secret@h")])
        self.assertNotIn("nst_x", shown)
        self.assertNotIn("secret", shown)
        self.assertIn("walter", shown)

    def test_wrong(self) -> None:
        """Two kinds at once, and what no header can carry."""
        for token, name, password in (("t", "n", None), ("t", None, "p"), ("", None, None), ("a b", None, None), ("ä", None, None), ("a\n", None, None)):
            self.assertRaises(ValueError, Credentials, token, name, password)
        for name, password in (("a:b", "p"), ("", "p"), (None, "p")):
            self.assertRaises(ValueError, Credentials, None, name, password)


class Proxies(SynchronousTestCase):
    """Which proxy is asked."""

    def test_urls(self) -> None:
        """With and without scheme and credentials."""
        self.assertEqual(tuple(Proxy.parse("proxy:3128")), (False, "proxy", 3128, None))
        self.assertEqual(tuple(Proxy.parse("https://u:a%20b@proxy")), (True, "proxy", 443, "Basic dTphIGI="))
        self.assertEqual(Proxy.parse("http://u@proxy").authorization, "Basic dTo=")
        for url in ("socks5://proxy", "", "http://", "http://a b"):
            self.assertRaises(ValueError, Proxy.parse, url)

    def test_environment(self) -> None:
        """That of the scheme, else that of all; not for hosts in no_proxy."""
        with patch.dict(os.environ, {"https_proxy": "http://s:1", "all_proxy": "http://a:2", "no_proxy": "inside.example"}, clear=True):
            self.assertEqual(proxy_for(Address.parse("wss://outside.example")), Proxy(False, "s", 1))
            self.assertEqual(proxy_for(Address.parse("http://outside.example")), Proxy(False, "a", 2))
            self.assertIsNone(proxy_for(Address.parse("https://x.inside.example")))
        with patch.dict(os.environ, {}, clear=True):
            self.assertIsNone(proxy_for(Address.parse("https://outside.example")))

    def test_this_computer(self) -> None:
        """No proxy is asked for it: what it reaches there would be another one."""
        found = {"all": "http://a:2"}
        for host in ("127.0.0.1", "127.1.2.3", "[::1]", "localhost", "x.localhost"):
            self.assertIsNone(proxy_for(Address.parse(f"http://{host}"), found))
        self.assertEqual(proxy_for(Address.parse("http://10.0.0.1"), found), Proxy(False, "a", 2))
