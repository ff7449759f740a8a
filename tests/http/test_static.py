"""Files of the package."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from netsvc.errors import NotFound
from netsvc.http.messages import Request, Response
from netsvc.http.static import PackageFiles

POLICY = ((b"Content-Security-Policy", b"default-src 'self'"),)


class PackageFilesTests(SynchronousTestCase):
    """The chat page's files."""

    def setUp(self) -> None:
        """Read them."""
        self.files = PackageFiles("netsvc.web", POLICY)

    def get(self, name: str, *headers: tuple[bytes, bytes]) -> Response:
        """Ask for a file by the variable of the route."""
        asked = Request("GET", b"/web/x", list(headers))
        asked.variables = {"path": name}
        answer: Any = self.files(asked)
        assert isinstance(answer, Response)
        return answer

    def test_file(self) -> None:
        """A file comes with its type, its tag, and the fields given."""
        answer = self.get("index.html")
        fields = dict(answer.headers)
        self.assertEqual((answer.status, answer.media_type), (200, b"text/html; charset=utf-8"))
        self.assertEqual((fields[b"Cache-Control"], fields[b"Content-Security-Policy"]), (b"no-cache", b"default-src 'self'"))
        self.assertIn(b"<html", answer.body)

    def test_types(self) -> None:
        """Modules, styles and pictures are what browsers take them for, on every machine."""
        for name, media_type in (
            ("app.js", b"text/javascript; charset=utf-8"),
            ("client/rpc.js", b"text/javascript; charset=utf-8"),
            ("base.css", b"text/css; charset=utf-8"),
            ("icon.svg", b"image/svg+xml; charset=utf-8"),
        ):
            self.assertEqual(self.get(name).media_type, media_type)

    def test_revalidated(self) -> None:
        """Who has the file already gets 304, by whatever form of the tag."""
        tag = dict(self.get("index.html").headers)[b"ETag"]
        for condition in (tag, b"W/" + tag, b'"other", ' + tag, b"*"):
            answer = self.get("index.html", (b"if-none-match", condition))
            self.assertEqual((answer.status, answer.body, dict(answer.headers)[b"ETag"]), (304, b"", tag))
        self.assertEqual(self.get("index.html", (b"if-none-match", b'"other"')).status, 200)

    def test_absent(self) -> None:
        """Nothing else can be had: no folder itself or outside, no Python file, no hidden one."""
        absent = ("", "nothing", "../__init__.py", "__init__.py", "/etc/passwd", "./index.html", "..", "index.html/", "client", "client/", "client/../app.js")
        for name in absent:
            self.assertRaises(NotFound, self.get, name)

    def test_one_file(self) -> None:
        """A file may be served under any path."""
        answer: Any = self.files.serving("index.html")(Request("GET", b"/", []))
        self.assertEqual(answer.body, self.get("index.html").body)
