"""Keys and certificates for tests."""

import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_elliptic_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

__all__ = ["Certificate", "make_certificate"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Certificate(NamedTuple):
    """A certificate that it signs itself, and its key.

    :ivar file: in PEM, without the key.
    """

    file: Path
    key_file: Path


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def make_certificate(
    folder: Path, *names: str, key: EllipticCurvePrivateKey | RSAPrivateKey | None = None, passphrase: bytes = b"", extensions: bool = True
) -> Certificate:
    """Make one for names and addresses, by default those of the loopback, as ``cert.pem`` and ``key.pem`` of the folder.

    :param extensions: False: it names nothing but its subject.
    """
    key = key or generate_elliptic_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "netsvc tests")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    if extensions:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names or LOOPBACK]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, SHA256())
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    made.file.write_bytes(b"# for tests\n" + certificate.public_bytes(Encoding.PEM))
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    made.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
    return made
