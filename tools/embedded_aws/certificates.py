"""A certificate authority, and a server certificate for loopback and for the host names of AWS behind the proxy."""

# mypy: disable-error-code="import-not-found"
import datetime
import importlib.resources
import ipaddress
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

VALID_FOR = datetime.timedelta(days=365)
AUTHORITY = "embedded AWS authority"
RENEW_WHEN_LEFT = datetime.timedelta(days=7)

_NAMES = ("localhost", "*.localhost", "*.execute-api.localhost")
_ADDRESSES = ("127.0.0.1", "::1")

# Names before REGION.amazonaws.com (AWS, "AWS service endpoints"). A wildcard stands for one label.
_IN_A_REGION = ("*", "*.s3", "*.s3.dualstack", "*.s3-control", "*.execute-api", "*.ddb", "*.dynamodb")
_IN_NO_REGION = ("*", "*.s3", "*.s3-control")
_PARTITIONS = ("aws", "aws-cn", "aws-us-gov")


def aws_names() -> list[str]:
    """Return the host names of AWS for the certificate, in all regions that botocore knows."""
    known = json.loads(importlib.resources.files("botocore").joinpath("data/partitions.json").read_text("utf-8"))
    names = ["*.cloudfront.net"]
    for partition in known["partitions"]:
        if partition["id"] in _PARTITIONS:
            domain = partition["outputs"]["dnsSuffix"]
            names += [f"{first}.{domain}" for first in _IN_NO_REGION]
            for region in partition["regions"]:
                names += [f"{first}.{region}.{domain}" for first in _IN_A_REGION]
                names.append(f"*.auth.{region}.amazoncognito.com")
    return list(dict.fromkeys(names))


def ensure(directory: Path) -> tuple[Path, Path, Path]:
    """Return the paths of the authority, the server certificate and its key; create new ones if they expire soon.

    The key of the authority is thrown away once it has signed, so that nothing else can be signed with it.
    """
    authority, certificate, key = directory / "ca.pem", directory / "server.pem", directory / "server.key"
    host_names = [*_NAMES, *aws_names()]
    if key.exists() and _lasts(authority) and _lasts(certificate) and _names(certificate) == set(host_names):
        return authority, certificate, key
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = (
        _builder(AUTHORITY, AUTHORITY, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    names: list[Any] = [x509.DNSName(name) for name in host_names]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES]
    server = (
        _builder("127.0.0.1", AUTHORITY, server_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    secret = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key.unlink(missing_ok=True)
    key.touch(mode=0o600)
    key.write_bytes(secret)
    certificate.write_bytes(server.public_bytes(serialization.Encoding.PEM))
    authority.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    return authority, certificate, key


def _builder(subject: str, issuer: str, key: Any) -> Any:  # noqa: ANN401 - the type is only installed in the server's environment
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(common: str) -> Any:  # noqa: ANN401 - the type is only installed in the server's environment
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def _usage(*, signs_certificates: bool) -> Any:  # noqa: ANN401 - the type is only installed in the server's environment
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _lasts(certificate: Path) -> bool:
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError):
        return False
    return bool(found.not_valid_after_utc - datetime.datetime.now(datetime.UTC) > RENEW_WHEN_LEFT)


def _names(certificate: Path) -> set[str]:
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(names.get_values_for_type(x509.DNSName))
