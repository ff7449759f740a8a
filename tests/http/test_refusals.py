"""What an HTTP connection refuses, and how: each fault has its status, and the connection its end."""

from netsvc.http.messages import HTML, JSON, Response
from netsvc.http.settings import HttpSettings
from tests.http.channels import ChannelCase, echo, request


class RefusalTests(ChannelCase):
    """What ends a connection."""

    settings = HttpSettings(max_body=10, max_line=300, max_head=1024, max_headers=8)

    def setUp(self) -> None:
        """A route that takes bodies of different sizes."""
        super().setUp()
        self.routes.add("POST", "/small", echo, public=True)
        self.routes.add("POST", "/larger", echo, public=True, body_limit=20)

    def refused(self, *pieces: bytes) -> int:
        """Send pieces; assert that the connection ends with one answer, and give its status."""
        self.client.send(*pieces)
        answer = self.client.answer()
        self.assertEqual((answer.fields["connection"], self.client.ended), ("close", "half closed"))
        return answer.status

    def test_malformed(self) -> None:
        """Malformed requests get 400."""
        self.assertEqual(self.refused(b"GET / HTTP/1.1\r\n\r\n"), 400)

    def test_malformed_host(self) -> None:
        """So does a Host that is none."""
        self.assertEqual(self.refused(request("/small", host="a b")), 400)

    def test_malformed_path(self) -> None:
        """So does a path that is not UTF-8."""
        self.assertEqual(self.refused(request("/%ff")), 400)

    def test_sizes(self) -> None:
        """Long lines get 414, large heads 431."""
        self.assertEqual(self.refused(request("/" + "a" * 300)), 414)

    def test_large_head(self) -> None:
        """Large heads get 431."""
        self.assertEqual(self.refused(request("/", "X: " + "a" * 1100)), 431)

    def test_large_body(self) -> None:
        """A body beyond the limit of the server gets 413 before it is read."""
        self.assertEqual(self.refused(request("/small", "Content-Length: 11", method="POST")), 413)

    def test_route_limit(self) -> None:
        """A route's own limit goes before that."""
        self.client.send(request("/larger", method="POST", body=b"x" * 20))
        self.assertEqual(self.client.answer().status, 200)
        self.assertEqual(self.refused(request("/larger", method="POST", body=b"x" * 21)), 413)

    def test_expectation(self) -> None:
        """What cannot be expected gets 417."""
        self.assertEqual(self.refused(request("/small", "Expect: miracles", method="POST", body=b"x")), 417)

    def test_lingers(self) -> None:
        """What a refused client goes on sending is thrown away for a while, so that it sees the answer; then the connection is cut."""
        self.refused(b"rubbish\r\n\r\n")
        self.client.send(request("/small") * 3)
        self.assertEqual((self.client.sent(), self.client.reading), (b"", True))
        self.advance(6)
        self.assertEqual(self.client.ended, "aborted")

    def test_lingering_client_closes(self) -> None:
        """It ends earlier when the client closes."""
        self.refused(b"rubbish\r\n\r\n")
        self.client.channel.readConnectionLost()
        self.assertEqual(self.client.ended, "closed")

    def test_page(self) -> None:
        """A request whose head is known is refused in the form that it asked for."""
        self.client.send(request("/small", "Content-Length: 11", "Accept: text/html", method="POST"))
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.fields["content-type"]), (413, HTML.decode()))

    def test_html(self) -> None:
        """Errors before a request is known are JSON, whoever asked."""
        self.client.send(b"GET / HTTP/1.1\r\nAccept: text/html\r\n\r\n")
        self.assertEqual(self.client.answer().fields["content-type"], JSON.decode())


class ContinueTests(ChannelCase):
    """Expect: 100-continue."""

    def setUp(self) -> None:
        """A route with a body, and a slow one."""
        super().setUp()
        self.routes.add("POST", "/echo", echo, public=True)
        self.routes.add("GET", "/slow", self.ask, public=True)
        self.head = request("/echo", "Expect: 100-continue", "Content-Length: 2", method="POST")

    def test_invited(self) -> None:
        """A client that waits is told to send its body."""
        self.client.send(self.head)
        self.assertEqual(self.client.sent(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.client.send(b"h", b"i")
        self.assertEqual(self.client.answer().json()["body"], "hi")

    def test_not_needed(self) -> None:
        """A client that did not wait is not."""
        self.client.send(self.head + b"hi")
        self.assertEqual(self.client.answer().status, 200)

    def test_in_turn(self) -> None:
        """The invitation comes after the answers to earlier requests."""
        self.client.send(request("/slow") + self.head)
        self.assertEqual(self.client.sent(), b"")
        self.asked[0][1].callback(Response(204))
        self.assertEqual([answer.status for answer in self.client.answers()], [204, 100])
        self.client.send(b"hi")
        self.assertEqual(self.client.answer().status, 200)

    def test_too_large(self) -> None:
        """A body that would be refused is not asked for."""
        self.client.send(request("/echo", "Expect: 100-continue", "Content-Length: 99999999", method="POST"))
        self.assertEqual(self.client.answer().status, 413)
