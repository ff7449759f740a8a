"""The server's end of TLS in memory."""

import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from OpenSSL.SSL import TLS_METHOD, Connection, Context, Error, WantReadError

__all__ = ["Certificate", "TlsServer", "make_certificate"]


class Certificate(NamedTuple):
    """A certificate that it signs itself.

    :ivar file: in PEM, without its key.
    """

    file: Path
    key_file: Path


def make_certificate(folder: Path, name: str) -> Certificate:
    """One for a name or an address."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "netsvc tests")])
    now = datetime.datetime.now(datetime.UTC)
    try:
        names: x509.GeneralName = x509.IPAddress(ip_address(name))
    except ValueError:
        names = x509.DNSName(name)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    made.file.write_bytes(b"# for tests\n" + certificate.public_bytes(Encoding.PEM))
    made.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


class TlsServer:
    """Speaks TLS with bytes that are passed to and fro.

    :ivar data: what the client has said inside.
    """

    def __init__(self, certificate: Certificate) -> None:
        context = Context(TLS_METHOD)
        context.use_certificate_file(str(certificate.file))
        context.use_privatekey_file(str(certificate.key_file))
        self._connection = Connection(context, None)
        self._connection.set_accept_state()
        self.data = b""

    def receive(self, data: bytes) -> bytes:
        """Take bytes of the client; gives those to be sent to it."""
        if data:
            self._connection.bio_write(data)
        try:
            self._connection.do_handshake()
            self.data += self._connection.recv(1 << 16)
        except Error:
            pass  # not enough yet, or the client does not want to go on: both show in what it gets and does
        try:
            return self._connection.bio_read(1 << 16)
        except WantReadError:
            return b""
