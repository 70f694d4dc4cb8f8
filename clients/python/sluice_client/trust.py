"""Trusted certificate authorities: those in the file that the environment names, else those of the system."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import httpx

from sluice_client.errors import SluiceError

# From the client's own variable to the variable of all programs; only the first one that is set counts.
_TRUST = ("SLUICE_CA_BUNDLE", "AWS_CA_BUNDLE", "SSL_CERT_FILE")


def trusted() -> ssl.SSLContext:
    """Return the trusted certificate authorities.

    Raises:
        SluiceError: the file that the environment names cannot be read.
    """
    name = _named()
    if name is None:
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()
        return context
    file = os.environ[name]
    if not Path(file).is_file():
        raise SluiceError(f"{name} names {file}, and there is no such file")
    try:
        return ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:
        raise SluiceError(f"{name}: {file} holds no certificate authority ({error.reason})") from None
    except OSError as error:
        raise SluiceError(f"{name}: {error.filename or file} cannot be opened ({error.strerror})") from None


def _named() -> str | None:
    """Return the name of the variable that is used; None if none is set."""
    return next((name for name in _TRUST if os.environ.get(name)), None)


def advice(host: str) -> str:
    """Return advice about a certificate that is not trusted."""
    name = _named()
    what = f"{name} names {os.environ[name]}, which lacks its authority" if name else "its authority is not known"
    return (
        f"The certificate of {host} is not trusted: {what}. Name the file of its certificate authority in "
        "SLUICE_CA_BUNDLE, which counts before AWS_CA_BUNDLE and SSL_CERT_FILE."
    )
