"""A certificate authority and a server certificate for loopback, made with the openssl program."""

import subprocess
import tempfile
from pathlib import Path

DAYS_VALID = 365
RENEW_WHEN_LESS_THAN_SECONDS = 7 * 24 * 3600

_EXTENSIONS = """\
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName=IP:127.0.0.1,IP:0:0:0:0:0:0:0:1,DNS:localhost,DNS:*.localhost,DNS:*.execute-api.localhost
"""


class CertificateError(RuntimeError):
    """The certificate could not be made; the message says what to do."""


def ensure(directory: Path) -> tuple[Path, Path, Path]:
    """Return the paths of the authority, the server certificate and its key, made anew when they run out soon.

    The key of the authority is thrown away once it has signed, so that nothing else can be signed with it.

    Raises:
        CertificateError: when openssl is missing or fails.

    """
    authority, certificate, key = directory / "ca.pem", directory / "server.pem", directory / "server.key"
    if authority.exists() and key.exists() and _lasts(authority) and _lasts(certificate):
        return authority, certificate, key
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    with tempfile.TemporaryDirectory(dir=directory) as staging:
        made = Path(staging)
        (made / "extensions").write_text(_EXTENSIONS, encoding="ascii")
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        _openssl(
            *("req", "-x509", *curve, "-keyout", made / "ca.key", "-out", made / "ca.pem", "-days", DAYS_VALID),
            *("-subj", "/CN=Sluice embedded AWS authority", "-addext", "basicConstraints=critical,CA:TRUE,pathlen:0"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
        )
        _openssl("req", "-new", *curve, "-keyout", made / "key", "-out", made / "request", "-subj", "/CN=127.0.0.1")
        _openssl(
            *("x509", "-req", "-in", made / "request", "-CA", made / "ca.pem", "-CAkey", made / "ca.key"),
            *("-CAcreateserial", "-out", made / "certificate", "-days", DAYS_VALID, "-extfile", made / "extensions"),
        )
        (made / "key").chmod(0o600)
        (made / "key").replace(key)
        (made / "certificate").replace(certificate)
        (made / "ca.pem").replace(authority)
    return authority, certificate, key


def _lasts(certificate: Path) -> bool:
    try:
        _openssl("x509", "-in", certificate, "-noout", "-checkend", RENEW_WHEN_LESS_THAN_SECONDS)
    except CertificateError:
        return False
    return True


def _openssl(*arguments: object) -> None:
    try:
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CertificateError("openssl is not on PATH; install it, the embedded AWS serves over TLS") from None
    if done.returncode != 0:
        raise CertificateError(f"openssl {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
