"""Tests for netsvc.http.auth."""

import contextlib
from base64 import b64encode
from typing import Any

from hypothesis import given
from hypothesis.strategies import binary, text
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.credentials import Password, Session, Token
from netsvc.core.identity import Identity
from netsvc.core.limits import Budgets
from netsvc.core.logins import Logins
from netsvc.core.settings import LimitsSettings
from netsvc.errors import InvalidRequest, NotAuthenticated, RateLimited, StoreUnavailable
from netsvc.http.auth import Authenticator, SignIn, authorization_credentials, session_cookie
from netsvc.http.messages import Request, Response
from tests.core.accounts import CHEAP, ScriptedAccounts, cheap_passwords

PASSWORD = "correct horse"
PEER = "192.0.2.1"


def request(*headers: tuple[bytes, bytes], body: bytes = b"", secure: bool = False) -> Request:
    """A request with these header fields."""
    return Request("POST", b"/login", list(headers), peer=PEER, secure=secure, body=body)


def basic(text: str) -> tuple[bytes, bytes]:
    """The field for name:password."""
    return b"authorization", b"Basic " + b64encode(text.encode())


class AuthCase(SynchronousTestCase):
    """alice has a password and an open session, bot a token."""

    guests = True

    def setUp(self) -> None:
        """Logins on accounts in memory."""
        self.accounts = ScriptedAccounts()
        self.accounts.add("alice", PASSWORD)
        self.accounts.add("bot")
        self.accounts.issue("nst_bot", "bot")
        self.clock = Clock()
        self.logins = Logins(self.accounts, cheap_passwords(), self.clock, CHEAP, self.guests)
        alice = self.logins.login(Password("alice", PASSWORD), PEER)
        assert isinstance(alice, Identity)
        self.secret = self.successResultOf(self.logins.open_session(alice))
        self.cookie = (b"cookie", b"theme=dark; netsvc_session=" + self.secret.encode() + b"; x=y")
        self.budgets = Budgets(LimitsSettings(burst=10_000), self.clock.seconds)
        self.authenticate = Authenticator(self.logins, self.budgets)


class Fields(SynchronousTestCase):
    """What header fields say."""

    def test_bearer(self) -> None:
        """Bearer is a token; the scheme's case does not matter."""
        for value in (b"Bearer nst_x", b"bearer nst_x", b"BEARER  nst_x"):
            credentials = authorization_credentials(value)
            assert isinstance(credentials, Token)
            self.assertEqual(credentials.id, Token("nst_x").id)

    def test_basic(self) -> None:
        """Basic is a name and a password in UTF-8; the password may have colons."""
        credentials = authorization_credentials(basic("Alice:pä:ss")[1])
        assert isinstance(credentials, Password)
        self.assertEqual((credentials.name, credentials.password), ("alice", "pä:ss"))

    def test_malformed(self) -> None:
        """Anything else is refused with what is expected."""
        for value in (b"", b"Bearer", b"Bearer ", b"Bearer \xff", b"Basic", b"Basic !!!", b"Basic YQ", b"Basic /w==", b"Basic YQ==", b"Digest x", b"nst_x"):
            with self.assertRaises(NotAuthenticated) as caught:
                authorization_credentials(value)
            self.assertIn("Bearer", caught.exception.detail)

    @given(binary())
    def test_total(self, value: bytes) -> None:
        """Whatever the field is, it is credentials or NotAuthenticated."""
        for prefix in (b"", b"Basic ", b"Bearer "):
            with contextlib.suppress(NotAuthenticated):
                authorization_credentials(prefix + value)

    def test_cookies(self) -> None:
        """The session cookie is found among others, in any of the fields; over TLS only the one with the protected name counts."""
        for secure, headers, value in (
            (False, [(b"cookie", b"netsvc_session=a")], "a"),
            (False, [(b"cookie", b"x=1;netsvc_session=a ; y=2")], "a"),
            (False, [(b"cookie", b"x=netsvc_session"), (b"cookie", b"netsvc_session=b")], "b"),
            (False, [(b"cookie", b"netsvc_session=")], ""),
            (False, [(b"cookie", b"netsvc_session=\xff")], None),
            (False, [(b"cookie", b"xnetsvc_session=a; __Host-netsvc_session=b")], None),
            (False, [(b"x-cookie", b"netsvc_session=a")], None),
            (True, [(b"cookie", b"netsvc_session=a; __Host-netsvc_session=b")], "b"),
            (True, [(b"cookie", b"netsvc_session=a")], None),
        ):
            self.assertEqual(session_cookie(request(*headers, secure=secure)), value)


class Authenticating(AuthCase):
    """Who sends a request."""

    def test_token_and_password(self) -> None:
        """An Authorization field is proved, and goes before a cookie."""
        self.assertEqual(self.authenticate(request((b"authorization", b"Bearer nst_bot"), self.cookie)).name, "bot")
        self.assertEqual(self.authenticate(request(basic(f"alice:{PASSWORD}"))).name, "alice")

    def test_refused(self) -> None:
        """Wrong, malformed or doubled, an Authorization field is refused, not overlooked."""
        bad = (b"authorization", b"Bearer nst_no")
        for headers in ([bad], [basic("alice:wrong")], [(b"authorization", b"?")], [(b"authorization", b"Bearer nst_bot")] * 2, [bad, self.cookie]):
            self.assertRaises(NotAuthenticated, self.authenticate, request(*headers))

    def test_guessing_costs(self) -> None:
        """Credentials that are refused cost the address's budget, at once or later, and are refused as too many when it is spent."""
        budget = self.budgets.of(None, PEER)
        bad = request((b"authorization", b"Bearer nst_no"))
        self.assertRaises(NotAuthenticated, self.authenticate, bad)
        self.assertEqual((budget.remaining, bad.budget), (9995, budget))
        self.accounts.held = []
        found = self.authenticate(request((b"authorization", b"Bearer nst_nor")))
        self.accounts.give()
        self.failureResultOf(found, NotAuthenticated)
        self.assertEqual(budget.remaining, 9990)
        budget.charge(9990)
        self.assertRaises(RateLimited, self.authenticate, request((b"authorization", b"Bearer nst_another")))
        self.assertEqual(self.authenticate(request((b"authorization", b"Bearer nst_bot"))).name, "bot")

    def test_session(self) -> None:
        """A session's cookie is its user, at once after the first time."""
        self.assertEqual(self.authenticate(request(self.cookie)).name, "alice")
        self.accounts.asked.clear()
        self.assertEqual(self.authenticate(request(self.cookie)).name, "alice")
        self.assertEqual(self.accounts.asked, [])

    def test_visitor(self) -> None:
        """Without credentials a request is the guest of its address, always the same."""
        first = self.authenticate(request((b"host", b"localhost"), (b"cookie", b"theme=dark")))
        self.assertTrue(first.guest)
        self.assertIs(self.authenticate(request()), first)

    def test_websocket_guest(self) -> None:
        """Each WebSocket without credentials is a guest of its own."""
        upgrade = (b"upgrade", b"websocket")
        first, second = self.authenticate(request(upgrade)), self.authenticate(request(upgrade))
        self.assertTrue(first.guest)
        self.assertNotEqual(first.name, second.name)
        self.assertEqual(self.authenticate(request(upgrade, self.cookie)).name, "alice")
        self.assertIs(self.authenticate(request((b"upgrade", b"h2c"))), self.authenticate(request()))

    def test_ended_session(self) -> None:
        """A cookie whose session is over counts for nothing: its browser is a guest, at once or later."""
        self.accounts.local.remove_session(Session(self.secret).digest)
        self.assertTrue(self.authenticate(request(self.cookie)).guest)
        self.accounts.held = []
        found = self.authenticate(request(self.cookie))
        self.accounts.give()
        self.assertTrue(self.successResultOf(found).guest)

    def test_failing_store(self) -> None:
        """A session that cannot be looked up is an error: nobody acts as a guest for it."""
        self.accounts.held = []
        found = self.authenticate(request(self.cookie))
        held, self.accounts.held = self.accounts.held, None
        held[0][0].errback(StoreUnavailable("disk"))
        self.failureResultOf(found, StoreUnavailable)
        self.accounts.error = StoreUnavailable("disk")
        self.assertRaises(StoreUnavailable, self.authenticate, request(self.cookie))


class WithoutGuests(AuthCase):
    """Where guests are not allowed."""

    guests = False

    def test_credentials_are_needed(self) -> None:
        """Nobody, and an ended session, are refused, at once or later."""
        self.assertRaises(NotAuthenticated, self.authenticate, request())
        self.assertRaises(NotAuthenticated, self.authenticate, request((b"upgrade", b"websocket")))
        self.assertEqual(self.budgets.of(None, PEER).remaining, 9998)
        self.accounts.local.remove_session(Session(self.secret).digest)
        self.assertRaises(NotAuthenticated, self.authenticate, request(self.cookie))
        self.accounts.held = []
        found = self.authenticate(request(self.cookie))
        self.accounts.give()
        self.failureResultOf(found, NotAuthenticated)

    def test_session(self) -> None:
        """A session is let in."""
        self.assertEqual(self.authenticate(request(self.cookie)).name, "alice")


FORM = (b"content-type", b"application/x-www-form-urlencoded")
ACCEPT_JSON = (b"accept", b"application/json")
GOOD = b"name=Alice&password=correct+horse"


class SigningIn(AuthCase):
    """POST /login and /logout."""

    def setUp(self) -> None:
        """The two handlers."""
        super().setUp()
        self.sign_in = SignIn(self.logins, CHEAP, self.budgets)

    def answer(self, coroutine: Any) -> Response:
        """What a handler answers at once."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def set_cookie(self, response: Response) -> str:
        """The Set-Cookie field of an answer that must not be stored."""
        headers = dict(response.headers)
        self.assertEqual(headers[b"Cache-Control"], b"no-store")
        return headers[b"Set-Cookie"].decode()

    def test_json(self) -> None:
        """A program gets the name and roles, and a cookie that logs in."""
        response = self.answer(self.sign_in.login(request(FORM, ACCEPT_JSON, body=GOOD)))
        self.assertEqual((response.status, response.body), (200, b'{"name":"alice","roles":["member"]}'))
        pair, _, attributes = self.set_cookie(response).partition("; ")
        self.assertEqual(attributes, "Path=/; Max-Age=1209600; HttpOnly; SameSite=Lax")
        self.assertEqual(self.authenticate(request((b"cookie", pair.encode()))).name, "alice")

    def test_tls(self) -> None:
        """Over TLS the cookie is Secure and has the name that browsers protect."""
        cookie = self.set_cookie(self.answer(self.sign_in.login(request(FORM, body=GOOD, secure=True))))
        self.assertTrue(cookie.startswith("__Host-netsvc_session="))
        self.assertTrue(cookie.endswith("; HttpOnly; SameSite=Lax; Secure"))
        self.assertIn("; Path=/;", cookie)

    def test_browser(self) -> None:
        """A browser's form is answered by 303 to the page it asked for, on this host."""
        for target, location in (
            (b"", b"/"),
            (b"&next=/chat/lobby/%3Fname%3Dx", b"/chat/lobby/?name=x"),
            (b"&next=/r%C3%A4ume", b"/r%C3%A4ume"),
            (b"&next=/%2541", b"/%41"),
        ):
            response = self.answer(self.sign_in.login(request(FORM, body=GOOD + target)))
            self.assertEqual((response.status, dict(response.headers)[b"Location"]), (303, location))

    def test_no_open_redirect(self) -> None:
        """Another host, another scheme, and what splits or fools a browser, lead to the front page."""
        for target in ("https://evil", "//evil", "/%5Cevil", "%5C%5Cevil", "/%09/evil", "%0A//evil", "evil", "/x%0D%0ASet-Cookie:a=b", "", "/a%20b", "/%00"):
            response = self.answer(self.sign_in.login(request(FORM, body=GOOD + b"&next=" + target.encode())))
            self.assertEqual(dict(response.headers)[b"Location"], b"/", target)

    @given(text())
    def test_location_is_local(self, target: str) -> None:
        """Whatever is asked for, the Location is a path on this host in printable ASCII."""
        body = GOOD + b"&next=" + "".join(f"%{byte:02x}" for byte in target.encode()).encode()
        location = dict(self.answer(self.sign_in.login(request(FORM, body=body))).headers)[b"Location"]
        self.assertRegex(location.decode("ascii"), r"\A/(?![/\\])[!-\[\]-~]*\Z")

    def test_wrong(self) -> None:
        """A wrong password is NotAuthenticated, a form without name or password, or no form, InvalidRequest; no session is opened."""
        sessions = self.accounts.sessions()
        for body, error in ((b"name=alice&password=x", NotAuthenticated), (b"name=alice", InvalidRequest), (b"password=x&name=", InvalidRequest)):
            self.failureResultOf(Deferred.fromCoroutine(self.sign_in.login(request(FORM, body=body))), error)
        self.failureResultOf(Deferred.fromCoroutine(self.sign_in.login(request(ACCEPT_JSON, body=GOOD))), InvalidRequest)
        self.assertEqual(self.accounts.sessions(), sessions)

    def test_attempts_cost(self) -> None:
        """Each attempt costs the address's budget; nothing is looked at when that is spent."""
        budget = self.budgets.of(None, PEER)
        self.answer(self.sign_in.login(request(FORM, body=GOOD)))
        self.assertEqual(budget.remaining, 9995)
        budget.charge(9995)
        self.accounts.asked.clear()
        self.failureResultOf(Deferred.fromCoroutine(self.sign_in.login(request(FORM, body=GOOD))), RateLimited)
        self.assertEqual(self.accounts.asked, [])

    def test_later(self) -> None:
        """A login that takes a while is waited for."""
        self.accounts.held = []
        answer = Deferred.fromCoroutine(self.sign_in.login(request(FORM, ACCEPT_JSON, body=b"name=alice&password=wrong+horse")))
        self.assertNoResult(answer)
        self.accounts.give()
        self.failureResultOf(answer, NotAuthenticated)

    def test_one_session_at_a_time(self) -> None:
        """Who logs in again gives up the session of the cookie sent along."""
        self.answer(self.sign_in.login(request(FORM, self.cookie, body=GOOD)))
        self.assertEqual(len(self.accounts.sessions()), 1)
        self.assertNotIn(Session(self.secret).digest, self.accounts.sessions())

    def test_logout(self) -> None:
        """The session is over, at once and in the store, and the browser is told to drop the cookie."""
        self.authenticate(request(self.cookie))
        response = self.answer(self.sign_in.logout(request(self.cookie)))
        self.assertEqual((response.status, dict(response.headers)[b"Location"]), (303, b"/"))
        self.assertEqual(self.set_cookie(response), "netsvc_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
        self.assertEqual(self.accounts.sessions(), [])
        self.assertTrue(self.authenticate(request(self.cookie)).guest)

    def test_logout_of_nothing(self) -> None:
        """Without a session, or with one that is over, logging out is well and costs the store no write."""
        self.accounts.asked.clear()
        for headers in ([ACCEPT_JSON], [ACCEPT_JSON, (b"cookie", b"netsvc_session=no")]):
            response = self.answer(self.sign_in.logout(request(*headers)))
            self.assertEqual((response.status, response.body), (200, b"{}"))
        self.assertEqual(self.accounts.asked, ["find_session"])

    def test_logout_later(self) -> None:
        """A session that has to be looked up first is waited for."""
        self.accounts.held = []
        answer = Deferred.fromCoroutine(self.sign_in.logout(request(self.cookie)))
        self.accounts.give()
        self.successResultOf(answer)
        self.assertEqual(self.accounts.sessions(), [])
