"""Who sends a request: credentials from its head; and the two URLs at which a browser starts and ends a session."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from netsvc.core.credentials import Credentials, Guest, Password, Session, Token
from netsvc.core.identity import Identity
from netsvc.core.limits import Budgets
from netsvc.core.logins import Logins
from netsvc.core.settings import AuthSettings
from netsvc.errors import InvalidRequest, NotAuthenticated
from netsvc.http.messages import Headers, Request, Response

__all__ = ["Authenticator", "SignIn", "authorization_credentials", "session_cookie"]

LOGIN_COST = 5.0
"""What a login, or refused credentials, cost from the address's rate budget; the same as auth.login."""

REFUSAL_COST = 1.0
"""What a request that is refused because it has no credentials costs."""

_COOKIE = b"netsvc_session"
_SECURE_COOKIE = b"__Host-netsvc_session"
"""Browsers accept a cookie with this prefix only over TLS, for this very host and its root path, so no neighbouring host can plant one."""


def _cookie_name(request: Request) -> bytes:
    return _SECURE_COOKIE if request.secure else _COOKIE


def authorization_credentials(value: bytes) -> Credentials:
    """The credentials of an Authorization field: ``Bearer`` (RFC 6750 section 2.1) or ``Basic`` (RFC 7617, in UTF-8).

    :raises NotAuthenticated: it is neither.
    """
    scheme, _, rest = value.partition(b" ")
    rest = rest.strip()
    kind = scheme.lower()
    try:
        if kind == b"bearer" and rest:
            return Token(rest.decode("ascii"))
        if kind == b"basic":
            name, colon, password = b64decode(rest, validate=True).decode().partition(":")
            if colon:
                return Password(name, password)
    except (UnicodeDecodeError, Base64Error):
        pass
    raise NotAuthenticated("Authorization: expected Bearer and a token, or Basic and name:password in base64 of UTF-8")


def session_cookie(request: Request) -> str | None:
    """The value of the session cookie, None if the request has none."""
    name = _cookie_name(request)
    for field, value in request.headers:
        if field == b"cookie" and name in value:
            for pair in value.split(b";"):
                key, _, secret = pair.strip().partition(b"=")
                if key == name and secret.isascii():
                    return secret.decode("ascii")
    return None


class Authenticator:
    """Called with a request, gives who sends it: by its Authorization field, else by its session cookie, else as a guest.

    A request without credentials has one guest name for each address; a WebSocket has a name of its own, since it belongs to a person. A
    cookie whose session has ended counts as none where guests are allowed: a browser that opens a WebSocket cannot be told in any other way.

    Refusals cost: guessing uses up the rate budget of the address.

    :param logins: proves the credentials.
    :param budgets: the rate budgets.
    """

    def __init__(self, logins: Logins, budgets: Budgets) -> None:
        self._logins = logins
        self._budgets = budgets

    def __call__(self, request: Request) -> "Identity | Deferred[Identity]":
        """The identity, at once if it is known.

        :raises NotAuthenticated: at once or through the Deferred, like everything that Logins.login raises.
        :raises RateLimited: in the same ways: it is refused, and the address's budget is spent.
        """
        try:
            found = self._identity(request)
        except NotAuthenticated:
            self._refused(request)
            raise
        if isinstance(found, Deferred):
            found.addErrback(self._refused_later, request)
        return found

    def _refused_later(self, failure: Failure, request: Request) -> Failure:
        if failure.check(NotAuthenticated):
            self._refused(request)
        return failure

    def _refused(self, request: Request) -> None:
        """Charge the address for a refusal.

        :raises RateLimited: there have been too many.
        """
        budget = self._budgets.of(None, request.peer)
        request.charged(budget)
        bare = request.header(b"authorization") is None and session_cookie(request) is None
        budget.charge(REFUSAL_COST if bare else LOGIN_COST)

    def _identity(self, request: Request) -> "Identity | Deferred[Identity]":
        authorization: bytes | None = None
        cookies = websocket = False
        for name, value in request.headers:
            if name == b"authorization":
                if authorization is not None:
                    raise NotAuthenticated("Authorization: given twice")
                authorization = value
            elif name == b"cookie":
                cookies = True
            elif name == b"upgrade":
                # curl offers h2c here.
                websocket = value.lower() == b"websocket"
        if authorization is not None:
            return self._logins.login(authorization_credentials(authorization), request.peer)
        cookie = session_cookie(request) if cookies else None
        if cookie is not None:
            return self._by_session(cookie, request.peer, websocket)
        return self._as_guest(request.peer, websocket)

    def _by_session(self, cookie: str, peer: str, websocket: bool) -> "Identity | Deferred[Identity]":
        try:
            found = self._logins.login(Session(cookie), peer)
        except NotAuthenticated:
            if not self._logins.guests:
                raise
            return self._as_guest(peer, websocket)
        if isinstance(found, Deferred):
            found.addErrback(self._ended, peer, websocket)
        return found

    def _ended(self, failure: Failure, peer: str, websocket: bool) -> "Failure | Identity | Deferred[Identity]":
        if not self._logins.guests or not failure.check(NotAuthenticated):
            return failure
        return self._as_guest(peer, websocket)

    def _as_guest(self, peer: str, websocket: bool) -> "Identity | Deferred[Identity]":
        return self._logins.login(Guest(), peer) if websocket else self._logins.visitor(peer)


# No scheme, no //host, no backslash (browsers read it as /), no control character (browsers drop some, others split the head).
_LOCAL_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


def _local(target: str) -> bytes:
    """Where to go after a login: a path on this host, ``/`` if it is anything else."""
    if not _LOCAL_PATH.fullmatch(target):
        return b"/"
    return quote(target, safe="!#$%&'()*+,/:;=?@[]~").encode("ascii")


class SignIn:
    """The handlers of ``POST /login`` and ``POST /logout``. Both routes are public.

    They answer browsers' forms with 303, and clients that accept ``application/json`` with JSON. The session cookie is out of reach of
    scripts (HttpOnly) and is not sent with other sites' posts (SameSite=Lax).

    :param logins: proves the password, keeps the sessions.
    :param settings: [auth].
    :param budgets: the rate budgets; a login costs that of the address.
    """

    def __init__(self, logins: Logins, settings: AuthSettings, budgets: Budgets) -> None:
        self._logins = logins
        self._budgets = budgets
        self._lifetime = int(settings.session)

    async def login(self, request: Request) -> Response:
        """Form fields ``name``, ``password`` and, if wanted, ``next``, a path on this host. JSON: ``{name, roles}``.

        :raises InvalidRequest: not a form, or not these fields.
        :raises NotAuthenticated: wrong name or password.
        :raises RateLimited: too many of these, or the address's budget is spent.
        """
        budget = self._budgets.of(None, request.peer)
        request.charged(budget)
        budget.charge(LOGIN_COST)
        form = request.form()
        name, password = form.get("name"), form.get("password")
        if not name or not password:
            raise InvalidRequest("the form needs name and password")
        found = self._logins.login(Password(name, password), request.peer)
        identity = await found if isinstance(found, Deferred) else found
        secret = await self._logins.open_session(identity)
        await self._end_session(request)
        headers = self._headers(request, secret, self._lifetime)
        if _accepts_json(request):
            return Response.json({"name": identity.name, "roles": identity.roles}, headers=headers)
        return _see_other(_local(form.get("next", "/")), headers)

    async def logout(self, request: Request) -> Response:
        """End the cookie's session, if there is one, and delete the cookie. JSON: ``{}``."""
        await self._end_session(request)
        headers = self._headers(request, "", 0)
        return Response.json({}, headers=headers) if _accepts_json(request) else _see_other(b"/", headers)

    async def _end_session(self, request: Request) -> None:
        cookie = session_cookie(request)
        if cookie is None:
            return
        # Only a real session costs the store a write.
        try:
            found = self._logins.login(Session(cookie), request.peer)
            if isinstance(found, Deferred):
                await found
        except NotAuthenticated:
            return
        await self._logins.close_session(cookie)

    def _headers(self, request: Request, secret: str, seconds: int) -> Headers:
        cookie = b"%s=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax" % (_cookie_name(request), secret.encode("ascii"), seconds)
        if request.secure:
            cookie += b"; Secure"
        return (b"Set-Cookie", cookie), (b"Cache-Control", b"no-store")


def _accepts_json(request: Request) -> bool:
    return b"application/json" in (request.header(b"accept") or b"")


def _see_other(target: bytes, headers: Headers) -> Response:
    return Response(303, headers=((b"Location", target), *headers))
