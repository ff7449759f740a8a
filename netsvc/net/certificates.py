"""What is in the files of ``ssl:`` and ``tls:`` endpoints, read as Twisted reads them at the start, so that each fault gets its own message."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.x509 import DNSName, ExtensionNotFound, SubjectAlternativeName
from OpenSSL import SSL, crypto
from twisted.internet.error import VerifyError
from twisted.internet.ssl import Certificate, CertificateOptions, DiffieHellmanParameters, KeyPair, PrivateCertificate
from twisted.python.filepath import FilePath

__all__ = ["certificate_problem", "folder_problem"]

_CHAINED = re.compile(rb"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----", re.DOTALL)  # as Twisted finds them
_BLOCK = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----.*?(?=^-----BEGIN|\Z)", re.DOTALL | re.MULTILINE)
_PROTECTED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)


def certificate_problem(files: Mapping[str, str]) -> str | None:
    """What is wrong with the key and the certificates of an endpoint; None if nothing is.

    :param files: paths by the parameter names of Twisted's ``ssl:`` endpoint: ``privateKey``, and if given ``certKey``, ``extraCertChain`` and
        ``dhParameters``. All of them are ordinary files.
    :raises OSError: one cannot be read.
    """
    key_path = files["privateKey"]
    certificate_path = files.get("certKey", key_path)
    data = Path(certificate_path).read_bytes() + b"\n" + Path(key_path).read_bytes()
    try:
        certificate = Certificate.loadPEM(data)
    except crypto.Error:
        return f"there is no certificate in PEM form in {certificate_path}"
    if _PROTECTED.search(data):
        return _passphrase(key_path)
    try:
        key = KeyPair.load(data, crypto.FILETYPE_PEM)
    except crypto.Error:
        return f"there is no private key in PEM form in {key_path}"
    try:
        pair = PrivateCertificate.fromCertificateAndKeyPair(certificate, key)
    except VerifyError:
        return f"the certificate in {certificate_path} does not belong to the private key in {key_path}"
    return _chain_problem(files, pair)


def _chain_problem(files: Mapping[str, str], pair: Any) -> str | None:
    """Build what a handshake uses: some faults, such as a key that is too short, OpenSSL reports only then."""
    chain = None
    if "extraCertChain" in files:
        chain = _CHAINED.findall(Path(files["extraCertChain"]).read_bytes())
        if not chain:
            return f"there is no certificate in PEM form in {files['extraCertChain']}"
    parameters = None
    if "dhParameters" in files:
        parameters = DiffieHellmanParameters.fromFile(FilePath(files["dhParameters"]))
        if b"-----BEGIN DH PARAMETERS-----" not in Path(files["dhParameters"]).read_bytes():
            return f"there are no Diffie-Hellman parameters in PEM form in {files['dhParameters']}"
    try:
        certificates = [Certificate.loadPEM(each).original for each in chain] if chain else None
        CertificateOptions(privateKey=pair.privateKey.original, certificate=pair.original, extraCertChain=certificates, dhParameters=parameters).getContext()
    except (crypto.Error, SSL.Error) as error:
        return f"OpenSSL rejects {', '.join(dict.fromkeys(files.values()))}: {_reason(error)}"
    return None


def folder_problem(folder: str) -> str | None:
    """What is wrong with the folder of a ``tls:`` endpoint, in which each certificate is found by the host names it is for; None if nothing is.

    :raises OSError: it, or a file in it, cannot be read.
    """
    certificates: dict[str, Certificate] = {}
    keys: set[str] = set()
    for path in _pem_files(folder):
        data = path.read_bytes()
        if _PROTECTED.search(data):
            return _passphrase(str(path))
        for kind, block in ((found[1], found[0]) for found in _BLOCK.finditer(data)):
            try:
                if b"CERTIFICATE" in kind:
                    certificate = Certificate.loadPEM(block)
                    certificates[certificate.getPublicKey().keyHash()] = certificate
                else:
                    keys.add(KeyPair.load(block, crypto.FILETYPE_PEM).keyHash())
            except crypto.Error as error:
                return f"OpenSSL rejects the {kind.decode()} in {path}: {_reason(error)}"
    usable = [certificates[key] for key in certificates.keys() & keys]
    if not usable:
        return f"no file in {folder} that ends in .pem holds a certificate with its private key"
    if not any(_host_names(certificate) for certificate in usable):
        return f"no certificate in {folder} names a host (subjectAltName), by which it would be chosen"
    return None


def _pem_files(folder: str) -> list[Path]:
    """Subfolders included."""
    return sorted(path for path in Path(folder).rglob("*.pem") if path.is_file())


def _host_names(certificate: Certificate) -> list[str]:
    extensions = certificate.original.to_cryptography().extensions
    try:
        return list(extensions.get_extension_for_class(SubjectAlternativeName).value.get_values_for_type(DNSName))
    except ExtensionNotFound:
        return []


def _passphrase(path: str) -> str:
    return f"the private key in {path} has a passphrase, which the server cannot ask for; `openssl pkey -in {path} -out FILE` writes the key without it"


def _reason(error: Exception) -> str:
    """OpenSSL's words for an error, without numbers and source positions."""
    (entries,) = error.args
    return str(entries[-1][-1]) if entries else "no reason given"
