"""What is in the files of an ``ssl:`` endpoint."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from netsvc.net.certificates import certificate_problem, folder_problem
from tests.certificates import make_certificate


class CertificateTests(SynchronousTestCase):
    """Each fault has its own words, and only what Twisted would not take is one."""

    def setUp(self) -> None:
        """A key with its certificate, and other files."""
        self.certificate, self.key = make_certificate(self.folder())
        self.junk = self.folder() / "junk.pem"
        self.junk.write_text("-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n")

    def folder(self) -> Path:
        """A new one."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        return folder

    def check(self, problem: str | None, *, cannot_start: bool = True, **files: Path) -> None:
        """What is said of the files. Twisted's endpoint fails for them too, but for what shows only in a handshake."""
        self.assertEqual(certificate_problem({name: str(path) for name, path in files.items()}), problem)
        arguments = ":".join(f"{name}={path}" for name, path in files.items())
        try:
            serverFromString(MemoryReactorClock(), f"ssl:443:{arguments}")
        except Exception:
            self.assertTrue(cannot_start and problem)
        else:
            self.assertFalse(cannot_start and problem)

    def test_right(self) -> None:
        """In two files or one, with a chain."""
        self.check(None, privateKey=self.key, certKey=self.certificate)
        self.check(None, privateKey=self.key, certKey=self.certificate, extraCertChain=self.certificate)
        both = self.folder() / "both.pem"
        both.write_bytes(self.key.read_bytes() + self.certificate.read_bytes())
        self.check(None, privateKey=both)

    def test_not_there(self) -> None:
        """A file without what it is named for."""
        self.check(f"there is no certificate in PEM form in {self.key}", privateKey=self.key)
        self.check(f"there is no certificate in PEM form in {self.junk}", privateKey=self.key, certKey=self.junk)
        self.check(f"there is no private key in PEM form in {self.certificate}", privateKey=self.certificate)
        self.check(f"there is no certificate in PEM form in {self.key}", privateKey=self.key, certKey=self.certificate, extraCertChain=self.key)
        self.check(
            f"there are no Diffie-Hellman parameters in PEM form in {self.key}",
            privateKey=self.key,
            certKey=self.certificate,
            dhParameters=self.key,
            cannot_start=False,
        )

    def test_of_another_key(self) -> None:
        """A certificate that was renewed with a new key, say."""
        other = make_certificate(self.folder()).file
        self.check(f"the certificate in {other} does not belong to the private key in {self.key}", privateKey=self.key, certKey=other)

    def test_passphrase(self) -> None:
        """A daemon cannot ask for it; OpenSSL would ask on the terminal."""
        certificate, key = make_certificate(self.folder(), passphrase=b"secret")
        problem = certificate_problem({"privateKey": str(key), "certKey": str(certificate)})
        self.assertEqual(
            problem, f"the private key in {key} has a passphrase, which the server cannot ask for; `openssl pkey -in {key} -out FILE` writes the key without it"
        )

    def test_openssl_refuses(self) -> None:
        """What would show only when the first client comes."""
        certificate, key = make_certificate(self.folder(), key=generate_private_key(65537, 1024))
        problem = f"OpenSSL rejects {key}, {certificate}: ee key too small"
        self.check(problem, privateKey=key, certKey=certificate, cannot_start=False)
        problem = f"OpenSSL rejects {self.key}, {self.certificate}, {self.junk}: "
        self.assertIn(problem, str(certificate_problem({"privateKey": str(self.key), "certKey": str(self.certificate), "extraCertChain": str(self.junk)})))


class FolderTests(SynchronousTestCase):
    """The folder of a ``tls:`` endpoint."""

    def setUp(self) -> None:
        """An empty one."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def test_right(self) -> None:
        """Key and certificate in two files or one, also below; what does not end in .pem is not looked at."""
        below = self.folder / "below"
        below.mkdir()
        made = make_certificate(below)
        self.assertIsNone(folder_problem(str(self.folder)))
        (self.folder / "both.pem").write_bytes(made.file.read_bytes() + made.key_file.read_bytes())
        (self.folder / "notes.txt").write_text("-----BEGIN CERTIFICATE-----\n")
        made.key_file.unlink()
        self.assertIsNone(folder_problem(str(self.folder)))

    def test_nothing_of_use(self) -> None:
        """No file, or none with both halves of a pair: nobody could be served."""
        problem = f"no file in {self.folder} that ends in .pem holds a certificate with its private key"
        self.assertEqual(folder_problem(str(self.folder)), problem)
        made = make_certificate(self.folder)
        made.key_file.unlink()
        self.assertEqual(folder_problem(str(self.folder)), problem)

    def test_no_names(self) -> None:
        """A certificate is found by its host names, not by addresses or its subject."""
        problem = f"no certificate in {self.folder} names a host (subjectAltName), by which it would be chosen"
        make_certificate(self.folder, "192.0.2.1")
        self.assertEqual(folder_problem(str(self.folder)), problem)
        make_certificate(self.folder, extensions=False)
        self.assertEqual(folder_problem(str(self.folder)), problem)

    def test_broken(self) -> None:
        """The file is named."""
        make_certificate(self.folder)
        broken = self.folder / "broken.pem"
        broken.write_text("-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n")
        self.assertIn(f"OpenSSL rejects the CERTIFICATE in {broken}: ", str(folder_problem(str(self.folder))))
        broken.unlink()
        key = make_certificate(self.folder, passphrase=b"secret").key_file
        self.assertIn(f"the private key in {key} has a passphrase", str(folder_problem(str(self.folder))))
