"""The files of the chat page."""

from twisted.trial.unittest import TestCase

from netsvc.errors import NotFound
from netsvc.http.messages import Request, Response
from netsvc.http.static import PackageFiles

HEADERS = ((b"X-Test", b"1"),)


class PackageFilesTests(TestCase):
    """Served from memory."""

    def setUp(self) -> None:
        """The files of the page."""
        self.files = PackageFiles("netsvc.web", HEADERS)

    def get(self, path: str, *headers: tuple[bytes, bytes]) -> Response:
        """GET a file."""
        request = Request("GET", b"/web/" + path.encode(), list(headers))
        request.variables = {"path": path}
        answer = self.files(request)
        assert isinstance(answer, Response)
        return answer

    def test_media_types(self) -> None:
        """Modules run only under their right type."""
        self.assertEqual(self.get("index.html").media_type, b"text/html; charset=utf-8")
        self.assertEqual(self.get("app.js").media_type, b"text/javascript; charset=utf-8")
        self.assertEqual(self.get("base.css").media_type, b"text/css; charset=utf-8")
        self.assertEqual(self.get("icon.svg").media_type, b"image/svg+xml; charset=utf-8")

    def test_headers(self) -> None:
        """The given ones, a tag, and that it be asked for anew."""
        headers = dict(self.get("app.js").headers)
        self.assertEqual((headers[b"X-Test"], headers[b"Cache-Control"]), (b"1", b"no-cache"))
        self.assertNotEqual(headers[b"ETag"], dict(self.get("index.html").headers)[b"ETag"])

    def test_not_modified(self) -> None:
        """Whoever has it is told so."""
        tag = dict(self.get("app.js").headers)[b"ETag"]
        for condition in (tag, b"W/" + tag, b'"x", ' + tag, b"*"):
            answer = self.get("app.js", (b"if-none-match", condition))
            self.assertEqual((answer.status, answer.body), (304, b""), condition)
        self.assertEqual(self.get("app.js", (b"if-none-match", b'"x"')).status, 200)

    def test_absent(self) -> None:
        """Nothing but the files themselves."""
        for path in ("nothing.js", "../tap.py", "", "__pycache__", "sub/app.js"):
            self.assertRaises(NotFound, self.get, path)

    def test_one_file(self) -> None:
        """A handler for one file, whatever the path."""
        answer = self.files.serving("index.html")(Request("GET", b"/", []))
        assert isinstance(answer, Response)
        self.assertIn(b"<!doctype html>", answer.body.lower())
