"""Files that belong to netsvc itself: the chat page. Read once, kept in memory, revalidated by ETag."""

from hashlib import blake2b
from importlib.resources import files
from importlib.resources.abc import Traversable
from mimetypes import guess_type
from typing import NamedTuple

from netsvc.errors import NotFound
from netsvc.http.messages import Answer, Handler, Headers, Request, Response

__all__ = ["PackageFiles"]

_TEXT_TYPES = ("text/", "application/javascript", "application/json", "image/svg+xml")
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json"}
"""Types that some machines name differently."""


class _File(NamedTuple):
    body: bytes
    media_type: bytes
    etag: bytes


class PackageFiles:
    """The files of a package's folder and of those below it, as the handler of a pattern that ends in ``{path...}``.

    :param package: a package's name; its Python files are not served.
    :param headers: sent with each file, a Content-Security-Policy for one.
    """

    def __init__(self, package: str, headers: Headers = ()) -> None:
        self._headers = headers
        self._files: dict[str, _File] = {}
        self._read(files(package), "")

    def _read(self, folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.name.startswith((".", "__")) or entry.name.endswith((".py", ".pyc")):
                continue
            if entry.is_dir():
                self._read(entry, f"{prefix}{entry.name}/")
            else:
                body = entry.read_bytes()
                etag = b'"%b"' % blake2b(body, digest_size=12).hexdigest().encode()
                self._files[prefix + entry.name] = _File(body, _media_type(entry.name), etag)

    def __call__(self, request: Request) -> Answer:
        """The file named by the variable ``path``.

        :raises NotFound: there is none.
        """
        return self._serve(request.variables["path"], request)

    def serving(self, name: str) -> Handler:
        """A handler that gives one file, whatever the path.

        :raises KeyError: there is no such file, which is a programming error.
        """
        assert name in self._files, name

        def serve(request: Request) -> Answer:
            return self._serve(name, request)

        return serve

    def _serve(self, name: str, request: Request) -> Answer:
        file = self._files.get(name)
        if file is None:
            raise NotFound("there is no such file")
        headers = ((b"ETag", file.etag), (b"Cache-Control", b"no-cache"), *self._headers)
        if _matches(request.header(b"if-none-match"), file.etag):
            return Response(304, headers=headers)
        return Response(200, file.body, file.media_type, headers)


def _media_type(name: str) -> bytes:
    suffix = name[name.rfind(".") :]
    found = _TYPES.get(suffix) or guess_type(name)[0] or "application/octet-stream"
    return (f"{found}; charset=utf-8" if found.startswith(_TEXT_TYPES) else found).encode()


def _matches(condition: bytes | None, etag: bytes) -> bool:
    """If-None-Match (RFC 9110 section 13.1.2): a list of tags, compared weakly."""
    if condition is None:
        return False
    tags = [tag.strip().removeprefix(b"W/") for tag in condition.split(b",")]
    return etag in tags or b"*" in tags
