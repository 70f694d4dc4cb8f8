"""Certificates that the client trusts, by variable, with a server on loopback."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from sluice_client.connections import connect
from sluice_client.errors import SluiceError

from tests.receiver import Receiver, receiving
from tools.embedded_aws import certificates

BODY = {"file_name": "a.txt"}
# What OpenSSL names the authority by in a folder: `openssl x509 -hash`, made of its subject, which is always the same.
HASH = "291435a4"
OF_TRUST = ("SLUICE_CA_BUNDLE", "AWS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A server that only `ours` vouches for; `others` is a real authority too."""
    for name in OF_TRUST:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    authority, certificate, key = certificates.ensure(tmp_path / "server")
    (tmp_path / "ours").write_bytes(authority.read_bytes())
    (tmp_path / "others").write_bytes(certificates.ensure(tmp_path / "company")[0].read_bytes())
    with receiving(certificate, key) as found:
        yield found


@pytest.mark.parametrize(
    ("variables", "trusted"),
    [
        ({}, False),
        ({"SSL_CERT_FILE": "ours"}, True),
        ({"AWS_CA_BUNDLE": "ours"}, True),
        ({"SLUICE_CA_BUNDLE": "ours"}, True),
        ({"AWS_CA_BUNDLE": "ours", "SSL_CERT_FILE": "others", "SSL_CERT_DIR": "nowhere"}, True),
        ({"AWS_CA_BUNDLE": "others", "SSL_CERT_FILE": "ours"}, False),
        ({"SLUICE_CA_BUNDLE": "ours", "AWS_CA_BUNDLE": "others", "SSL_CERT_FILE": "nowhere"}, True),
        ({"SLUICE_CA_BUNDLE": "others", "AWS_CA_BUNDLE": "ours", "SSL_CERT_FILE": "ours"}, False),
        ({"SLUICE_CA_BUNDLE": "", "AWS_CA_BUNDLE": "ours"}, True),
    ],
)
def test_the_first_variable_that_is_set_is_the_only_one_that_counts(
    server: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], trusted: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value and str(tmp_path / value))
    with connect(parallel=1) as client:
        if trusted:
            assert client.ask("POST", server.url, json=BODY).status == 204
            return
        with pytest.raises(SluiceError, match="is not trusted") as said:
            client.ask("POST", server.url, json=BODY)
    first = next((name for name in OF_TRUST if variables.get(name)), None)
    assert (f"{first} names {tmp_path / 'others'}" in str(said.value)) is (first is not None)
    assert "SLUICE_CA_BUNDLE" in str(said.value)


def test_an_authority_of_the_system_is_trusted(
    server: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in a folder by its hash, as `update-ca-certificates` leaves it."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    (folder / f"{HASH}.0").write_bytes((tmp_path / "ours").read_bytes())
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    with connect(parallel=1) as client:
        assert client.ask("POST", server.url, json=BODY).status == 204


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ca.pem"
    file.touch()
    monkeypatch.setenv("SLUICE_CA_BUNDLE", str(file))

    def refuse(cafile: str) -> ssl.SSLContext:
        raise PermissionError(13, "Permission denied")

    # Root may read everything.
    monkeypatch.setattr(ssl, "create_default_context", refuse)
    with pytest.raises(SluiceError, match=f"SLUICE_CA_BUNDLE: {file} cannot be opened \\(Permission denied\\)"):
        connect(parallel=1)
