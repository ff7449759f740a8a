"""Which handler answers which method and path."""

from collections.abc import Callable, Iterable
from typing import NoReturn
from urllib.parse import unquote_to_bytes

from netsvc.errors import InvalidRequest, NetsvcError
from netsvc.http.errors import HttpError
from netsvc.http.messages import NO_ROUTE, NO_VARIABLES, Handler, Request, Response, Route
from netsvc.wire.http1 import BadMessage

__all__ = ["Routes", "refusal"]


class _Node:
    """A place in the tree of patterns: what follows it, and the routes that end here by method."""

    __slots__ = ("literals", "routes", "tail", "variable")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.variable: tuple[str, _Node] | None = None
        self.tail: tuple[str, _Node] | None = None
        self.routes: dict[str, Route] = {}


class Routes:
    """The table of routes.

    A pattern is a path whose segments may be variables: ``/chat/{room}/``; the last may take the rest of the path: ``/web/{path...}``.
    Where several patterns match, the first segment in which they differ decides: a literal wins over a variable, and that over a rest.
    Patterns without variables cost one look-up.
    """

    def __init__(self) -> None:
        self._exact: dict[bytes, dict[str, Route]] = {}
        self._root = _Node()

    def add(
        self,
        method: str,
        pattern: str,
        handler: Handler,
        *,
        body_limit: int | None = None,
        public: bool = False,
        streaming: bool = False,
        waiting: bool = False,
        own_deadline: bool = False,
    ) -> None:
        """Answer `method` on `pattern` with `handler`. HEAD follows GET, and OPTIONS lists the methods, unless they are added themselves.

        :raises ValueError: the pattern is malformed, or method and pattern were added before.
        """
        route = Route(handler, body_limit, public, streaming, waiting, own_deadline)
        node = self._node(pattern)
        if method in node.routes and not (method == "HEAD" and node.routes["HEAD"] is node.routes.get("GET")):
            raise ValueError(f"{method} {pattern} is already registered")
        node.routes[method] = route
        if method == "GET":
            node.routes.setdefault("HEAD", route)
        if "{" not in pattern:
            self._exact[pattern.encode("ascii")] = node.routes

    def _node(self, pattern: str) -> _Node:
        if not pattern.startswith("/"):
            raise ValueError(f"a pattern starts with a slash, not {pattern!r}")
        node = self._root
        segments = pattern[1:].split("/")
        for position, segment in enumerate(segments):
            if not segment.startswith("{"):
                node = node.literals.setdefault(segment, _Node())
                continue
            name = segment.removeprefix("{").removesuffix("}")
            is_tail = name.endswith("...")
            name = name.removesuffix("...")
            if not segment.endswith("}") or not name.isidentifier() or (is_tail and position < len(segments) - 1):
                raise ValueError(f"{segment!r} in {pattern!r} is not a variable")
            known = node.tail if is_tail else node.variable
            if known is None:
                known = (name, _Node())
                if is_tail:
                    node.tail = known
                else:
                    node.variable = known
            elif known[0] != name:
                raise ValueError(f"{pattern!r} calls a variable {name} that another pattern calls {known[0]}")
            node = known[1]
        return node

    def find(self, method: str, target: bytes, *, redirects: bool = True) -> tuple[Route, dict[str, str]]:
        """The route and its variables for a request target in origin form or ``*``.

        There is always one: for an unknown path or method it is one that answers 404, 405, 308 (only a trailing slash is missing or
        superfluous) or, for OPTIONS, 204.

        :param redirects: False for a client that follows none, such as a browser that opens a WebSocket (WebSockets standard, section 2.1): if only
            the slash is wrong, it gets the right route at once.
        :raises BadMessage: the percent-decoded path is not UTF-8.
        """
        routes = self._exact.get(target)
        if routes is not None:
            route = routes.get(method)
            if route is not None:
                return route, NO_VARIABLES
        return self._find(method, target, redirects)

    def _find(self, method: str, target: bytes, redirects: bool) -> tuple[Route, dict[str, str]]:
        path, mark, query = target.partition(b"?")
        if path == b"*":
            return (_ALL_OPTIONS if method == "OPTIONS" else _BAD_TARGET), NO_VARIABLES
        segments = _decode(path)
        other = segments[:-1] if segments[-1] == "" else [*segments, ""]
        found = self._match(self._root, segments, 0)
        if found is None and not redirects:
            found = self._match(self._root, other, 0)
        if found is not None:
            routes, variables = found
            return routes.get(method) or _other_method(method, routes), variables
        # A Location that starts with two slashes (browsers take a backslash for one) would lead to another host.
        if path != b"/" and path[1:2] not in (b"/", b"\\") and self._match(self._root, other, 0) is not None:
            return _redirect((path[:-1] if path.endswith(b"/") else path + b"/") + mark + query), NO_VARIABLES
        return NO_ROUTE, NO_VARIABLES

    def _match(self, node: _Node, segments: list[str], position: int) -> tuple[dict[str, Route], dict[str, str]] | None:
        """The routes at the end of the path and the variables on the way, by the precedence of the class docstring."""
        if position == len(segments):
            return (node.routes, {}) if node.routes else None
        segment = segments[position]
        literal = node.literals.get(segment)
        if literal is not None:
            found = self._match(literal, segments, position + 1)
            if found is not None:
                return found
        if node.variable is not None and segment:
            name, follower = node.variable
            found = self._match(follower, segments, position + 1)
            if found is not None:
                found[1][name] = segment
                return found
        if node.tail is not None:
            name, follower = node.tail
            return follower.routes, {name: "/".join(segments[position:])}
        return None


def _decode(path: bytes) -> list[str]:
    """The segments of a path, each percent-decoded by itself, so that ``%2F`` separates nothing."""
    try:
        if b"%" not in path:
            return path[1:].decode("ascii").split("/")
        return [unquote_to_bytes(segment).decode() for segment in path[1:].split(b"/")]
    except UnicodeDecodeError:
        raise BadMessage("the path is not UTF-8") from None


def _allow(methods: Iterable[str]) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"Allow", ", ".join(sorted({*methods, "OPTIONS"})).encode()),)


def refusal(error: Callable[[], NetsvcError]) -> Route:
    """What a request goes to that is refused."""

    def refuse(request: Request) -> NoReturn:
        raise error()

    return Route(refuse, public=True)


def _other_method(method: str, routes: dict[str, Route]) -> Route:
    allow = _allow(routes)
    if method == "OPTIONS":
        return Route(lambda request: Response(204, headers=allow), public=True)
    return refusal(lambda: HttpError(405, f"{method} is not allowed for this URL; allowed are {allow[0][1].decode()}", allow))


def _redirect(target: bytes) -> Route:
    return Route(lambda request: Response(308, headers=((b"Location", target),)), public=True)


def _bad_target(request: Request) -> NoReturn:
    raise InvalidRequest("only OPTIONS may have the target *")


_BAD_TARGET = Route(_bad_target, public=True)
_ALL_OPTIONS = Route(lambda request: Response(204, headers=_allow(("GET", "HEAD", "POST"))), public=True)
