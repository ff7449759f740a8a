"""Tests for netsvc.core.credentials."""

from hashlib import sha256

from hypothesis import given
from hypothesis.strategies import text
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from netsvc.core.credentials import (
    Guest,
    IGuest,
    IKnownUser,
    IPassword,
    ISession,
    IToken,
    KnownUser,
    Password,
    Session,
    Token,
    digest_of,
    new_session_secret,
    new_token_secret,
    recalled,
)


class Kinds(SynchronousTestCase):
    """What is kept of each kind."""

    def test_interfaces(self) -> None:
        """Each provides its interface, by which the portal finds its checker."""
        for interface, credentials in (
            (IPassword, Password("alice", "x")),
            (IKnownUser, KnownUser.of("alice", "$argon2id$")),
            (IToken, Token("x")),
            (ISession, Session("x")),
            (IGuest, Guest("bob")),
        ):
            self.assertTrue(verifyObject(interface, credentials))

    def test_digests_only(self) -> None:
        """Of a token or a session's cookie nothing but the SHA-256 digest is kept."""
        for made in (Token("nst_secret"), Session("nst_secret")):
            self.assertEqual(made.digest, sha256(b"nst_secret").digest())
            self.assertEqual(made.digest, digest_of("nst_secret"))
            self.assertNotIn("nst_secret", made.id)
        self.assertNotEqual(Token("nst_secret").id, Session("nst_secret").id)

    def test_names_are_folded(self) -> None:
        """A name is looked up in lower case; one that no user can have becomes an empty one."""
        self.assertEqual(Password("Alice", "x").name, "alice")
        self.assertEqual(Password("no such name", "x").name, "")

    def test_marks(self) -> None:
        """A mark tells name and password from others, with a key that it cannot be computed without."""
        mark = Password("alice", "secret").mark(b"k" * 32)
        self.assertEqual(Password("Alice", "secret").mark(b"k" * 32), mark)
        for other in (Password("alice", "Secret").mark(b"k" * 32), Password("bob", "secret").mark(b"k" * 32), Password("alice", "secret").mark(b"l" * 32)):
            self.assertNotEqual(other, mark)

    @given(text())
    def test_any_text(self, secret: str) -> None:
        """Whatever is given as a secret is a digest afterwards."""
        self.assertEqual(len(Token(secret).digest), 32)
        Password(secret, secret).mark(b"k")

    def test_lone_surrogates(self) -> None:
        """Half a surrogate pair is a wrong secret, not an error."""
        self.assertEqual(len(Token("\ud800").digest), 32)
        Password("alice", "\ud800").mark(b"k")

    def test_recalled(self) -> None:
        """The id of a credential is enough to prove it again."""
        for credentials in (KnownUser.of("alice", "$argon2id$"), Token("x"), Session("x"), Guest("bob")):
            again = recalled(credentials.id)
            self.assertEqual((type(again), again.id), (type(credentials), credentials.id))
        self.assertEqual(recalled(KnownUser("al.ice", "f00").id).name, "al.ice")
        self.assertEqual(recalled(KnownUser("alice", "f00").id).fingerprint, "f00")

    def test_new_secrets(self) -> None:
        """Secrets are 32 random bytes in base64url, a token's behind a prefix."""
        self.assertRegex(new_token_secret(), r"\Anst_[A-Za-z0-9_-]{43}\Z")
        self.assertRegex(new_session_secret(), r"\A[A-Za-z0-9_-]{43}\Z")
        self.assertEqual(len({new_token_secret() for _ in range(100)}), 100)
