"""Tests for netsvc.client.errors."""

from socket import gaierror

from OpenSSL.SSL import Error as SslError
from service_identity.exceptions import VerificationError
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web._newclient import ParseError
from twisted.web.client import ResponseNeverReceived

from netsvc.client import errors
from netsvc.client.errors import answered_error, lost, refusal
from netsvc.wire.jsonrpc import CODES, INTERNAL_ERROR


class Answered(SynchronousTestCase):
    """Errors that the server answers with."""

    def test_codes(self) -> None:
        """Every error of the server has a class of its name here, with its code."""
        for kind, (code, _) in CODES.items():
            if kind.__name__ != "StoreUnavailable":
                self.assertEqual(getattr(errors, kind.__name__).code, code)
                self.assertIs(type(answered_error(code, "no", None)), getattr(errors, kind.__name__))
        self.assertIs(type(answered_error(INTERNAL_ERROR, "no", {})), errors.InternalError)

    def test_unknown_code(self) -> None:
        """A code of a later server is a CallFailed that tells it."""
        error = answered_error(-32050, "new", {"a": 1})
        self.assertEqual((type(error), error.code, error.data, str(error)), (errors.CallFailed, -32050, {"a": 1}, "new"))

    def test_members(self) -> None:
        """It carries code, message, detail, data and the time after which to try again."""
        error = answered_error(-32005, "rate limited", {"detail": "slow down", "retry_after": 1.5})
        self.assertEqual((error.code, error.message, error.detail, error.retry_after), (-32005, "rate limited", "slow down", 1.5))
        self.assertEqual(str(error), "rate limited: slow down")

    def test_strange_members(self) -> None:
        """What should be an object and is none is nothing; a time that is none is none."""
        self.assertEqual(answered_error(-32005, "no", "text").data, {})
        for hint in (True, "1", -1, float("inf"), None):
            self.assertIsNone(answered_error(-32005, "no", {"retry_after": hint}).retry_after)
        self.assertEqual(answered_error(-32005, "no", {}, 3.0).retry_after, 3.0)

    def test_refusals(self) -> None:
        """An HTTP answer that is no JSON-RPC has the class of its status, or is a BadAnswer."""
        error = refusal(503, "", 7.0)
        self.assertEqual((type(error), str(error), error.retry_after), (errors.Overloaded, "HTTP status 503", 7.0))  # type: ignore[attr-defined]
        bad = refusal(404, "no such page")
        self.assertEqual((type(bad), bad.status), (errors.BadAnswer, 404))  # type: ignore[attr-defined]
        self.assertIn("404: no such page", str(bad))


class Lost(SynchronousTestCase):
    """Connections that came to nothing."""

    def test_reasons(self) -> None:
        """The innermost reason is told, in one line; our own errors stay what they are."""
        refused = Failure(ConnectionRefusedError("connection\nrefused"))
        self.assertIn("connection refused", str(lost(Failure(ResponseNeverReceived([refused])))))
        self.assertEqual(str(lost(Failure(OSError(111, "Connect call failed")))), "Connection refused")
        self.assertEqual(str(lost(Failure(gaierror(-2, "Name or service not known")))), "Name or service not known")
        self.assertEqual(str(lost(Failure(ConnectionDone()))), "the connection was closed")
        self.assertEqual(str(lost(Failure(ValueError()))), "ValueError")
        self.assertIsInstance(lost(Failure(ResponseNeverReceived([Failure(ParseError("non-integer status code", b"x"))]))), errors.BadAnswer)
        own = errors.ConnectionLost("own")
        self.assertIs(lost(Failure(own)), own)

    def test_tls(self) -> None:
        """A certificate that cannot be trusted is Untrusted; any other trouble of TLS is not."""
        self.assertIsInstance(lost(Failure(VerificationError([]))), errors.Untrusted)
        self.assertIsInstance(lost(Failure(SslError([("ssl", "", "certificate verify failed")]))), errors.Untrusted)
        other = lost(Failure(SslError([("ssl", "", "wrong version number")])))
        self.assertEqual((type(other), str(other)), (errors.ConnectionLost, "TLS: wrong version number"))
        self.assertEqual(str(lost(Failure(SslError("x")))), "TLS: the handshake failed")
