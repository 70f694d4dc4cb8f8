"""The Lambda authorizer: whose tokens count, with keys made here and an issuer on loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import json
import logging
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from msgspec import ValidationError

from functions.authorizer import documents
from functions.authorizer.tokens import (
    KEYS_SECONDS,
    LOOK_AGAIN_SECONDS,
    InvalidTokenError,
    Issuer,
    subject_of,
)
from functions.common.contract import TOKEN_REFUSED, IssuerError
from tests.unit.fakes import FakeContext
from tools.embedded_aws import certificates

ISSUER = "https://issuer.example.com"
AUDIENCE = "sluice"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
SECRET = base64.urlsafe_b64encode(b"a secret of thirty-two bytes....").decode()

KEYS: list[dict[str, Any]] = [
    {**json.loads(RSAAlgorithm.to_jwk(RSA.public_key())), "kid": "rsa", "use": "sig", "alg": "RS256"},
    {**json.loads(ECAlgorithm.to_jwk(EC.public_key())), "kid": "ec", "use": "sig"},
    {**json.loads(RSAAlgorithm.to_jwk(OTHER_RSA.public_key())), "kid": "for-encryption", "use": "enc"},
    {"kty": "oct", "k": SECRET, "kid": "shared", "alg": "HS256", "use": "sig"},
]


def token(
    key: Any = RSA,  # noqa: ANN401 - whatever PyJWT signs with
    *,
    alg: str | None = "RS256",
    kid: str | None = "rsa",
    without: str = "",
    **changed: Any,  # noqa: ANN401
) -> str:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": int(time.time()) + 3600, **changed}
    claims.pop(without, None)
    return jwt.encode(claims, key, algorithm=alg, headers={"kid": kid} if kid else None)


class Published:
    """An issuer's documents, and how often each was fetched."""

    def __init__(self, keys: list[dict[str, Any]] = KEYS, issuer: str = ISSUER) -> None:
        self.keys = keys
        self.documents: dict[str, Mapping[str, Any]] = {
            f"{ISSUER}/.well-known/openid-configuration": {"issuer": issuer, "jwks_uri": f"{ISSUER}/keys"}
        }
        self.fetched: list[str] = []
        self.down = False

    def fetch(self, url: str) -> Mapping[str, Any]:
        self.fetched.append(url)
        if self.down:
            raise OSError("timed out")
        return self.documents.get(url) or {"keys": self.keys}


def check(raw: str, published: Published | None = None) -> str:
    return subject_of(raw, issuer=Issuer(ISSUER, (published or Published()).fetch), audience=AUDIENCE)


def test_a_token_of_the_issuer_for_this_api_counts() -> None:
    assert check(token()) == "ann"
    assert check(token(EC, alg="ES256", kid="ec")) == "ann"
    assert check(token(aud=["other", AUDIENCE])) == "ann"


def test_clocks_may_differ_by_a_few_seconds() -> None:
    assert check(token(exp=time.time() - 5)) == "ann"


def unsigned() -> str:
    return token(None, alg=None)


def hmac_signed(secret: bytes, **header: str) -> str:
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=")
    payload = token().split(".")[1].encode()
    signature = hmac.new(secret, head + b"." + payload, hashlib.sha256).digest()
    return b".".join((head, payload, base64.urlsafe_b64encode(signature).rstrip(b"="))).decode()


# The forgery that a list with both RS256 and HS256 lets in: HMAC with what everyone knows.
PUBLIC = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def tampered() -> str:
    header, _, signature = token().split(".")
    payload = token(sub="bob").split(".")[1]
    return f"{header}.{payload}.{signature}"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param("", id="empty"),
        pytest.param("a.b.c", id="not a token"),
        pytest.param(unsigned(), id="alg none"),
        pytest.param(hmac_signed(PUBLIC, alg="HS256", kid="rsa"), id="HS256 with the public key"),
        pytest.param(hmac_signed(base64.urlsafe_b64decode(SECRET), alg="RS256", kid="shared"), id="HS256 as RS256"),
        pytest.param(token(base64.urlsafe_b64decode(SECRET), alg="HS256", kid="shared"), id="HS256 with a shared key"),
        pytest.param(token(alg="RS384"), id="algorithm that is not on the list"),
        pytest.param(token(OTHER_RSA), id="signed by someone else"),
        pytest.param(token(OTHER_RSA, kid="for-encryption"), id="signed with a key for encryption"),
        pytest.param(token(kid="unknown"), id="unknown key"),
        pytest.param(token(kid=None), id="no key id"),
        pytest.param(token(EC, alg="ES256", kid="rsa"), id="key of another kind"),
        pytest.param(tampered(), id="tampered"),
        pytest.param(token(exp=int(time.time()) - 60), id="expired"),
        pytest.param(token(nbf=int(time.time()) + 3600), id="not yet valid"),
        pytest.param(token(iss="https://issuer.example.com.evil.example"), id="other issuer"),
        pytest.param(token(aud="other"), id="other audience"),
        pytest.param(token(sub=""), id="nobody"),
        *(pytest.param(token(without=claim), id=f"without {claim}") for claim in ("exp", "iss", "aud", "sub")),
    ],
)
def test_every_other_token_does_not(raw: str) -> None:
    with pytest.raises(InvalidTokenError):
        check(raw)


def test_keys_are_fetched_once_and_again_when_they_are_old() -> None:
    published, clock = Published(), [0.0]
    issuer = Issuer(ISSUER, published.fetch, now=lambda: clock[0])
    for _ in range(3):
        issuer.key("rsa")
    assert published.fetched == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/keys"]
    clock[0] = KEYS_SECONDS + 1
    issuer.key("rsa")
    assert len(published.fetched) == 4


def test_a_new_key_is_found_and_made_up_ones_do_not_bother_the_issuer() -> None:
    published, clock = Published(KEYS[:1]), [0.0]
    issuer = Issuer(ISSUER, published.fetch, now=lambda: clock[0])
    issuer.key("rsa")
    published.keys = KEYS
    for number in range(20):
        with pytest.raises(InvalidTokenError):
            issuer.key(f"made-up-{number}")
    assert len(published.fetched) == 2
    clock[0] = LOOK_AGAIN_SECONDS + 1
    assert issuer.key("ec").key_id == "ec"
    assert len(published.fetched) == 4


def test_an_issuer_that_is_down_lets_nobody_in_and_is_asked_again() -> None:
    published = Published()
    published.down = True
    issuer = Issuer(ISSUER, published.fetch)
    with pytest.raises(IssuerError, match="timed out"):
        subject_of(token(), issuer=issuer, audience=AUDIENCE)
    published.down = False
    assert subject_of(token(), issuer=issuer, audience=AUDIENCE) == "ann"


@pytest.mark.parametrize("published", [Published(issuer="https://other.example.com"), Published(keys=[])])
def test_documents_that_are_not_the_issuers_are_refused(published: Published) -> None:
    with pytest.raises(IssuerError):
        check(token(), published)


# the handler

METHOD = "arn:aws:execute-api:us-east-1:111111111111:abc123/v1/GET/files/1/content"


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_ISSUER", ISSUER)
    monkeypatch.setenv("JWT_AUDIENCE", AUDIENCE)


def answer(authorization: str, published: Published | None = None) -> dict[str, Any]:
    """Start the handler again, and return its answer to API Gateway."""
    sys.modules.pop("functions.authorizer.handler", None)
    # A logger outlives its module, and would write to the output of an earlier test.
    logging.root.manager.loggerDict.pop("authorizer", None)
    module = importlib.import_module("functions.authorizer.handler")
    module.issuer = Issuer(ISSUER, (published or Published()).fetch)  # type: ignore[attr-defined]
    event = {"type": "TOKEN", "authorizationToken": authorization, "methodArn": METHOD}
    answered: dict[str, Any] = module.handler(event, FakeContext())
    return answered


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_the_answer_names_the_subject_and_allows_only_the_stage(scheme: str) -> None:
    assert answer(f"{scheme} {token()}") == {
        "principalId": "ann",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Action": "execute-api:Invoke",
                    "Effect": "Allow",
                    # Used again for other methods of the stage while API Gateway remembers it.
                    "Resource": "arn:aws:execute-api:us-east-1:111111111111:abc123/v1/*/*",
                }
            ],
        },
    }


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer x", f"Basic {token()}", token(), f"Bearer {unsigned()}"]
)
def test_a_token_that_does_not_count_is_the_word_for_401_and_not_in_the_log(
    authorization: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exception, match=r"^Unauthorized$"):
        answer(authorization)
    logged = capsys.readouterr().out
    # What the metric filter on its log counts: one line for each.
    assert [json.loads(line)["message"] for line in logged.splitlines()] == [TOKEN_REFUSED]
    assert len(authorization) < 10 or authorization not in logged


def signed(header: bytes, payload: bytes) -> str:
    """Return a token with any header and claims, with a valid signature of the issuer."""
    encoded = [base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload)]
    signature = RSA.sign(b".".join(encoded), padding.PKCS1v15(), hashes.SHA256())
    return b".".join([*encoded, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


HEADER = b'{"alg":"RS256","kid":"rsa"}'
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": 2**33}
# As JSON writes them, and what PyJWT stumbles over in its own ways: each was signed, or says so in its header.
VALUES = [r'"\ud800"', r'"a\ud800"', "1e400", "-1e400", "NaN", "Infinity", "null", "[]", "{}", "true", "1" * 400]
VALUES += ['""', '"a\\nb"', r'"\u009b"', '"' + "a" * 256 + '"', "[" * 2000 + "]" * 2000, '[["sluice"]]', "-1", "0.5"]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:12])
@pytest.mark.parametrize("claim", ["sub", "exp", "nbf", "iat", "aud", "iss", "jti"])
def test_claims_of_any_kind_are_a_subject_or_a_401(claim: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    others = "".join(f",{json.dumps(name)}:{json.dumps(each)}" for name, each in CLAIMS.items() if name != claim)
    decides(f"Bearer {signed(HEADER, f'{{{json.dumps(claim)}:{value}{others}}}'.encode())}", capsys)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:12])
@pytest.mark.parametrize("field", ["alg", "kid", "typ", "crit", "b64", "jwk"])
def test_headers_of_any_kind_are_a_subject_or_a_401(field: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    others = "".join(f',"{name}":"{each}"' for name, each in (("alg", "RS256"), ("kid", "rsa")) if name != field)
    header = f'{{"{field}":{value}{others}}}'.encode()
    decides(f"Bearer {signed(header, json.dumps(CLAIMS).encode())}", capsys)


def decides(authorization: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The handler names a subject, or says the word for 401 and logs one line that counts as a refusal."""
    capsys.readouterr()
    try:
        subject = answer(authorization)["principalId"]
    except Exception as error:  # noqa: BLE001 - which one is what the test is about
        assert (type(error).__name__, str(error)) == ("Unauthorized", "Unauthorized")
        assert [json.loads(line)["message"] for line in capsys.readouterr().out.splitlines()] == [TOKEN_REFUSED]
    else:
        assert subject == "ann"


@given(
    st.text(st.characters(exclude_categories=[]))
    | st.lists(st.binary().map(lambda part: base64.urlsafe_b64encode(part).decode().rstrip("=")), min_size=3).map(
        ".".join
    )
)
@example("\ud800")
@example("a.\ud800.c")
@example(signed(b'{"alg":"\\ud800","kid":"rsa"}', b"{}"))
@example(signed(b"[]", b"[]"))
@example(signed(b'"alg"', b"1"))
def test_whatever_the_token_is_it_does_not_count(raw: str) -> None:
    with pytest.raises(InvalidTokenError):
        check(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "typ"]), JSON),
    st.dictionaries(st.sampled_from([*CLAIMS, "nbf", "iat"]), JSON),
)
def test_whatever_an_issuer_signs_is_a_subject_or_no_token(header: dict[str, Any], claims: dict[str, Any]) -> None:
    raw = signed(json.dumps(json.loads(HEADER) | header).encode(), json.dumps(CLAIMS | claims).encode())
    try:
        subject = check(raw)
    except InvalidTokenError:
        return
    assert subject.isprintable()
    assert 1 <= len(subject.encode()) <= 255 * 4


def test_trouble_with_the_issuer_is_not_the_callers_fault(capsys: pytest.CaptureFixture[str]) -> None:
    published = Published()
    published.down = True
    with pytest.raises(IssuerError):
        answer(f"Bearer {token()}", published)
    assert TOKEN_REFUSED not in capsys.readouterr().out


@pytest.mark.parametrize(("name", "value"), [("JWT_ISSUER", "http://issuer.example.com"), ("JWT_AUDIENCE", "")])
def test_wrong_variables_end_the_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    sys.modules.pop("functions.authorizer.handler", None)
    with pytest.raises(ValidationError, match=name):
        importlib.import_module("functions.authorizer.handler")


# over HTTPS


class Documents(BaseHTTPRequestHandler):
    """`/json`, and the ways in which a server disappoints."""

    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(1)
        self.send_response({"/redirect": 302, "/broken": 500}.get(self.path, 200))
        if self.path == "/redirect":
            self.send_header("Location", "/json")
        self.end_headers()
        bodies = {"/large": b"[" + b" " * documents.MAX_BYTES + b"]", "/list": b"[]", "/html": b"<html>"}
        self.wfile.write(bodies.get(self.path, b'{"keys": []}'))

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name in http.server
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An HTTPS server on loopback whose authority AWS_CA_BUNDLE names."""
    authority, certificate, key = certificates.ensure(tmp_path)
    listening = HTTPServer(("127.0.0.1", 0), Documents)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listening.socket = context.wrap_socket(listening.socket, server_side=True)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    monkeypatch.setattr(documents, "TIMEOUT_SECONDS", 0.3)
    yield f"https://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    thread.join()
    listening.server_close()


def test_a_document_is_fetched_from_a_server_that_is_trusted(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert documents.fetch_json(f"{server}/json") == {"keys": []}
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        documents.fetch_json(f"{server}/json")


@pytest.mark.parametrize("path", ["/redirect", "/broken", "/slow"])
def test_what_is_not_to_be_had_in_time_is_an_error(server: str, path: str) -> None:
    with pytest.raises(OSError, match=r"answered 302|answered 500|timed out"):
        documents.fetch_json(server + path)


@pytest.mark.parametrize(
    ("path", "words"), [("/large", "larger than"), ("/list", "not a JSON object"), ("/html", "Expecting value")]
)
def test_what_is_no_small_json_object_is_an_error(server: str, path: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        documents.fetch_json(server + path)


def test_plain_http_is_never_asked() -> None:
    for url in ("http://127.0.0.1:1/json", "file:///etc/hostname"):
        with pytest.raises(ValueError, match="is not HTTPS"):
            documents.fetch_json(url)


class Tunnels(BaseHTTPRequestHandler):
    """A proxy that refuses every tunnel, and remembers where it should lead."""

    asked: list[str]

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        self.send_error(403)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name in http.server
        pass


def test_an_issuer_is_reached_through_the_proxy_of_the_environment(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    with HTTPServer(("127.0.0.1", 0), type("Recording", (Tunnels,), {"asked": asked})) as proxy:
        thread = threading.Thread(target=proxy.handle_request)
        thread.start()
        for name, value in (("https_proxy", f"http://127.0.0.1:{proxy.server_port}"), ("no_proxy", "127.0.0.1")):
            monkeypatch.setenv(name, value)
        with pytest.raises(OSError, match="Tunnel connection failed: 403"):
            documents.fetch_json("https://issuer.example.com/keys")
        thread.join()
    assert asked == ["issuer.example.com:443"]
    assert documents.fetch_json(f"{server}/json") == {"keys": []}
