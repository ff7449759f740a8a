"""`twisted.web` with one resource and no access log: python -m benchmarks.peers.twisted_web PORT."""

# mypy: disable-error-code="no-untyped-call, arg-type"
# twisted.web has no types.

import sys

from twisted.internet import reactor
from twisted.internet.interfaces import IReactorTCP
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

BODY = b'{"status":"ok"}'


class Health(Resource):
    """Answers every GET with the same body."""

    isLeaf = True  # noqa: N815 - twisted.web's name

    def render_GET(self, request: Request) -> bytes:  # noqa: N802 - likewise
        """Render the answer."""
        request.setHeader(b"content-type", b"application/json")
        return BODY


class QuietSite(Site):
    """A site without an access log."""

    def log(self, request: Request) -> None:
        """Write nothing."""


if __name__ == "__main__":
    tcp = IReactorTCP(reactor)
    tcp.listenTCP(int(sys.argv[1]), QuietSite(Health()), interface="127.0.0.1", backlog=1024)
    reactor.run()
