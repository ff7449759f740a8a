"""Tests for netsvc.core.passwords."""

from unittest.mock import patch

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from netsvc.core.passwords import PasswordHashes, Passwords, Verdict
from netsvc.core.settings import AuthSettings
from netsvc.errors import InvalidParams
from tests.core.accounts import CHEAP, AtOnce


class Hashes(SynchronousTestCase):
    """argon2id strings."""

    def setUp(self) -> None:
        """Cheap ones."""
        self.hashes = PasswordHashes(CHEAP)

    def test_right_and_wrong(self) -> None:
        """The password is found right, and no other; two strings of one password differ."""
        kept = self.hashes.make("correct horse")
        self.assertTrue(kept.startswith("$argon2id$v=19$m=64,t=1,p=1$"))
        self.assertEqual(self.hashes.compare(kept, "correct horse"), Verdict(True, ""))
        self.assertEqual(self.hashes.compare(kept, "Correct horse"), Verdict(False, ""))
        self.assertNotEqual(self.hashes.make("correct horse"), kept)

    def test_costs_of_the_settings(self) -> None:
        """By default a hash costs what RFC 9106 section 4 recommends: 64 MiB, three passes."""
        with patch.object(PasswordHasher, "hash", lambda hasher, data: f"{hasher.memory_cost} {hasher.time_cost} {hasher.parallelism}"):
            self.assertEqual(PasswordHashes(AuthSettings()).make("correct horse"), "65536 3 1")

    def test_length(self) -> None:
        """Too short (in characters) and too long (in bytes) ones are refused with the bound."""
        for password, bound in (("seven77", "8 characters"), ("ä" * 513, "1024 bytes")):
            with self.assertRaises(InvalidParams) as caught:
                self.hashes.make(password)
            self.assertIn(bound, caught.exception.detail)
        self.assertTrue(self.hashes.compare(self.hashes.make("ä" * 512), "ä" * 512).right)

    def test_composition(self) -> None:
        """How a keyboard composes a letter makes no difference (NFC)."""
        self.assertTrue(self.hashes.compare(self.hashes.make("caf\u00e9 au lait"), "cafe\u0301 au lait").right)

    def test_too_long_is_not_hashed(self) -> None:
        """A password of a megabyte is wrong, before it costs anything."""
        with patch.object(PasswordHasher, "verify", side_effect=AssertionError):
            self.assertFalse(self.hashes.compare("", "x" * 1_000_000).right)

    def test_lone_surrogate(self) -> None:
        """Half a surrogate pair is wrong, not an error."""
        self.assertFalse(self.hashes.compare(self.hashes.make("correct horse"), "\ud800").right)

    def test_nobody(self) -> None:
        """For a user without password, or no user, a hash of the same cost is compared, and found wrong."""
        compared: list[str] = []
        verify = PasswordHasher.verify

        def spy(hasher: PasswordHasher, kept: str, data: bytes) -> bool:
            compared.append(kept)
            return verify(hasher, kept, data)

        with patch.object(PasswordHasher, "verify", spy):
            self.assertEqual(self.hashes.compare("", "correct horse"), Verdict(False))
        real = extract_parameters(self.hashes.make("correct horse"))
        self.assertEqual([extract_parameters(kept) for kept in compared], [real])

    def test_renewed(self) -> None:
        """A right password whose string was made at other costs gets a new one; a wrong one does not."""
        old = self.hashes.make("correct horse")
        dearer = PasswordHashes(replace(CHEAP, hash_passes=2))
        self.assertEqual(dearer.compare(old, "wrong horse"), Verdict(False))
        verdict = dearer.compare(old, "correct horse")
        self.assertTrue(verdict.right)
        self.assertEqual(extract_parameters(verdict.renewed).time_cost, 2)
        self.assertEqual(dearer.compare(verdict.renewed, "correct horse"), Verdict(True, ""))

    def test_spoilt(self) -> None:
        """A kept string that is no argon2 string matches nothing, and the log tells the operator."""
        self.assertEqual(self.hashes.compare("plain", "plain"), Verdict(False))

    def test_other_failures(self) -> None:
        """A mismatch is the only thing that argon2 calls wrong."""
        with patch.object(PasswordHasher, "verify", side_effect=VerifyMismatchError):
            self.assertFalse(self.hashes.compare("", "x").right)


class InThreads(SynchronousTestCase):
    """The same without blocking."""

    def test_runs_there(self) -> None:
        """Both operations are done by the threads they were given."""
        threads = AtOnce()
        passwords = Passwords(PasswordHashes(CHEAP), threads)
        kept = self.successResultOf(passwords.make("correct horse"))
        self.assertTrue(self.successResultOf(passwords.compare(kept, "correct horse")).right)
        self.assertEqual(threads.calls, 2)
