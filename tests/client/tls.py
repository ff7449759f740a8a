"""The server's end of TLS in memory."""

from OpenSSL.SSL import TLS_METHOD, Connection, Context, Error, WantReadError

from tests.certificates import Certificate

__all__ = ["TlsServer"]


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
