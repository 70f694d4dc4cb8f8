"""The page as Terraform: a private bucket behind CloudFront, its headers, and what API and user pool know of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cdktf import App

from modules.deployer import total
from modules.packaging import PackagingError
from modules.policy_documents import Statement
from modules.settings import Settings
from stacks.uploads import UploadsStack
from tests.synth.conftest import ENDPOINT, PAGE, Synthesized, settings_of, sources_for, synthesize
from tests.synth.test_stacks import SERVICE_OF, validate
from tools.develop.diagram import Picture
from tools.operate import policies
from tools.operate.terraform import find_program

ORIGIN = "https://${aws_cloudfront_distribution.website.domain_name}"
JWT = {
    "api_authorization": "jwt",
    "jwt_issuer": "https://issuer.example.com/tenant",
    "jwt_audience": "sluice",
}
CERTIFICATE = "arn:aws:acm:us-east-1:111111111111:certificate/12345678-90ab-4def-8234-567890abcdef"

Make = Callable[..., Synthesized]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Synthesizes an environment with further settings, once for each of them."""
    made: dict[str, Synthesized] = {}

    def synthesized(name: str = "prod", **changed: object) -> Synthesized:
        key = repr((name, changed))
        if key not in made:
            folder = tmp_path_factory.mktemp("website")
            synthesize(folder, settings_of(name, **changed))
            made[key] = Synthesized(folder / "stacks" / f"sluice-{name}")
        return made[key]

    return synthesized


def config_of(stack: Synthesized) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(stack.resources()["aws_s3_object.website_config_json"]["content"])
    return content


def policy_of(stack: Synthesized) -> dict[str, list[str]]:
    """The Content-Security-Policy by directive."""
    headers = stack.resources()["aws_cloudfront_response_headers_policy.website_headers"]
    text = headers["security_headers_config"]["content_security_policy"]["content_security_policy"]
    return {name: values for name, *values in (directive.split() for directive in text.split("; "))}


def statements(stack: Synthesized, address: str) -> dict[str, dict[str, Any]]:
    return {each["Sid"]: each for each in json.loads(stack.resources()[address]["policy"])["Statement"]}


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("prod", {}),
        ("local", {}),
        ("dev", {**JWT, "website_domain": "files.example.com", "website_certificate_arn": CERTIFICATE}),
    ],
)
def test_terraform_validates_it(make: Make, name: str, changed: dict[str, object]) -> None:
    """This finds cycles, too: the page names API and sign-in, and they name the page."""
    validate(make(name, **changed), find_program())


def test_without_the_setting_there_is_nothing_of_it(make: Make) -> None:
    without = make("prod", enable_website=False)
    assert not [address for address in without.resources() if "website" in address or "cloudfront" in address]


def test_the_bucket_admits_the_distribution_and_no_other(make: Make) -> None:
    stack = make()
    source = {"StringEquals": {"aws:SourceArn": "${aws_cloudfront_distribution.website.arn}"}}
    admitted = [
        each
        for each in statements(stack, "aws_s3_bucket_policy.website_bucket_policy").values()
        if each["Effect"] == "Allow"
    ]
    assert admitted == [
        {
            "Sid": "AdmitDistribution",
            "Effect": "Allow",
            "Principal": {"Service": "cloudfront.amazonaws.com"},
            "Action": "s3:GetObject",
            "Resource": "${aws_s3_bucket.website_bucket.arn}/*",
            "Condition": source,
        }
    ]
    decrypts = statements(stack, "aws_kms_key.website_key")["DistributionDecrypts"]
    assert (decrypts["Action"], decrypts["Condition"]) == ("kms:Decrypt", source)


def test_the_distribution_signs_its_requests_and_answers_by_https(make: Make) -> None:
    body = make().resources()["aws_cloudfront_distribution.website"]
    (origin,) = body["origin"]
    assert origin["origin_access_control_id"] == "${aws_cloudfront_origin_access_control.website_access.id}"
    behavior = body["default_cache_behavior"]
    assert behavior["viewer_protocol_policy"] == "redirect-to-https"
    assert behavior["allowed_methods"] == ["GET", "HEAD"]
    assert behavior["response_headers_policy_id"] == "${aws_cloudfront_response_headers_policy.website_headers.id}"


def test_a_name_of_ones_own_has_a_certificate_and_tls_1_2(make: Make) -> None:
    stack = make("dev", website_domain="files.example.com", website_certificate_arn=CERTIFICATE)
    body = stack.resources()["aws_cloudfront_distribution.website"]
    assert body["aliases"] == ["files.example.com"]
    assert body["viewer_certificate"] == {
        "acm_certificate_arn": CERTIFICATE,
        "minimum_protocol_version": "TLSv1.2_2021",
        "ssl_support_method": "sni-only",
    }
    assert stack.json["output"]["website_url"]["value"] == "https://files.example.com/"


def test_the_policy_of_the_page_names_what_it_calls_and_nothing_else(make: Make) -> None:
    policy = policy_of(make())
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["worker-src"] == ["'self'"]
    assert policy["require-trusted-types-for"] == ["'script'"]
    assert policy["trusted-types"] == ["sluice"]
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    assert policy["connect-src"] == [
        "'self'",
        "https://${aws_api_gateway_rest_api.api.id}.execute-api.us-east-1.amazonaws.com",
        "https://sluice-prod-uploads-333333333333-us-east-1.s3.us-east-1.amazonaws.com",
        "https://${aws_cognito_user_pool_domain.authorization_domain.domain}.auth.us-east-1.amazoncognito.com",
    ]
    assert policy_of(make("dev", **JWT))["connect-src"][-1] == "https://issuer.example.com"


def test_browsers_are_told_to_come_back_by_https_and_to_guess_no_types(make: Make) -> None:
    headers = make().resources()["aws_cloudfront_response_headers_policy.website_headers"]
    security = headers["security_headers_config"]
    assert security["strict_transport_security"]["access_control_max_age_sec"] >= 31536000
    assert security["content_type_options"] == {"override": True}
    assert security["frame_options"]["frame_option"] == "DENY"
    assert security["referrer_policy"]["referrer_policy"] == "no-referrer"


def test_objects_have_types_and_only_hashed_names_are_kept_by_caches(make: Make) -> None:
    objects = make().resources("aws_s3_object")
    found = {body["key"]: (body["content_type"], body["cache_control"]) for body in objects.values()}
    forever = "public, max-age=31536000, immutable"
    assert found == {
        "index.html": ("text/html; charset=utf-8", "no-cache"),
        "config.json": ("application/json", "no-cache"),
        "assets/index-0123abcd.js": ("text/javascript; charset=utf-8", forever),
        "assets/index-4567cdef.css": ("text/css; charset=utf-8", forever),
    }
    assert {body["bucket"] for body in objects.values()} == {"${aws_s3_bucket.website_bucket.bucket}"}
    assert all(("source_hash" in body) is ("source" in body) for body in objects.values())


def test_the_page_comes_after_the_files_that_it_names(make: Make) -> None:
    objects = make().resources("aws_s3_object")
    others = {address for address in objects if address != "aws_s3_object.website_index_html"}
    assert others <= set(objects["aws_s3_object.website_index_html"]["depends_on"])


def test_the_page_knows_the_api_the_sign_in_and_the_limits(make: Make) -> None:
    settings = settings_of("prod")
    config = config_of(make())
    assert config["api"] == "${aws_api_gateway_stage.api_stage.invoke_url}"
    assert config["limits"] == {
        "max_upload_bytes": settings.max_upload_bytes,
        "allowed_content_types": list(settings.allowed_content_types),
    }
    assert config["sign_in"]["client_id"] == "${aws_cognito_user_pool_client.authorization_page_client.id}"
    assert config["sign_in"]["sends"] == "id_token"


@pytest.mark.parametrize(
    ("changed", "client_id", "sends"),
    [({}, "sluice", "id_token"), ({"website_client_id": "the-page"}, "the-page", "access_token")],
)
def test_the_page_of_another_issuer_asks_that_issuer(
    make: Make, changed: dict[str, object], client_id: str, sends: str
) -> None:
    stack = make("dev", **JWT, **changed)
    assert config_of(stack)["sign_in"] == {
        "issuer": JWT["jwt_issuer"],
        "client_id": client_id,
        "sends": sends,
        "endpoints": {},
    }
    assert not stack.resources("aws_cognito_user_pool_domain")


def test_the_client_of_the_page_takes_codes_and_sends_people_back_to_the_page(make: Make) -> None:
    client = make().resources()["aws_cognito_user_pool_client.authorization_page_client"]
    assert client["allowed_oauth_flows"] == ["code"]
    assert client["allowed_oauth_scopes"] == ["email", "openid"]
    assert client["callback_urls"] == client["logout_urls"] == [f"{ORIGIN}/"]
    assert client["generate_secret"] is False


def test_the_page_may_call_the_api_and_the_bucket_without_another_setting(make: Make) -> None:
    stack = make()
    assert settings_of("prod").cors_allowed_origins == ()
    (cors,) = stack.resources("aws_s3_bucket_cors_configuration").values()
    assert cors["cors_rule"][0]["allowed_origins"] == [ORIGIN]
    assert "Location" in cors["cors_rule"][0]["expose_headers"]
    preflight = stack.resources()["aws_api_gateway_integration_response.api_options_files_integration_response"]
    assert preflight["response_parameters"]["method.response.header.Access-Control-Allow-Origin"] == f"'{ORIGIN}'"
    for name, body in stack.resources("aws_api_gateway_gateway_response").items():
        exposed = body["response_parameters"]["gatewayresponse.header.Access-Control-Expose-Headers"]
        assert {"Location", "Retry-After"} <= set(exposed.strip("'").split(",")), name
    told = stack.resources()["aws_lambda_function.files"]["environment"]["variables"]
    assert told["CORS_ALLOWED_ORIGINS"] == ORIGIN


def test_the_embedded_aws_has_one_origin_for_all(make: Make) -> None:
    stack = make("local")
    page = f"{ENDPOINT}/_aws/cloudfront/${{aws_cloudfront_distribution.website.id}}/"
    assert stack.json["output"]["website_url"]["value"] == page
    assert policy_of(stack)["connect-src"] == ["'self'"]
    assert config_of(stack)["api"].startswith(f"{ENDPOINT}/_aws/execute-api/")
    assert all(each.startswith(f"{ENDPOINT}/") for each in config_of(stack)["sign_in"]["endpoints"].values())
    client = stack.resources()["aws_cognito_user_pool_client.authorization_page_client"]
    assert client["callback_urls"] == [page]
    (provider,) = stack.json["provider"]["aws"]
    used = {
        next(service for kind, service in SERVICE_OF.items() if each.startswith(kind)) for each in stack.resources()
    }
    assert used <= set(provider["endpoints"][0])


def test_access_is_logged_where_the_files_bucket_is_logged(make: Make) -> None:
    logging = make().resources()["aws_s3_bucket_logging.website_logging"]
    assert logging["bucket"] == "${aws_s3_bucket.website_bucket.bucket}"
    assert logging["target_bucket"] == "${aws_s3_bucket.website_access_logs.bucket}"
    assert not make("dev").resources().keys() & {"aws_s3_bucket_logging.website_logging"}


def test_errors_of_the_page_alarm_where_cloudfront_has_its_metrics(make: Make) -> None:
    alarm = make().resources()["aws_cloudwatch_metric_alarm.monitoring_website_errors"]
    assert alarm["dimensions"] == {
        "DistributionId": "${aws_cloudfront_distribution.website.id}",
        "Region": "Global",
    }
    elsewhere = make("dev", primary_region="eu-central-1")
    assert not [each for each in elsewhere.resources("aws_cloudwatch_metric_alarm") if "website" in each]


def test_the_deployer_may_keep_the_page_and_no_other(tmp_path: Path) -> None:
    pool, other = _deployer(tmp_path / "pool", "prod"), _deployer(tmp_path / "other", "prod", **JWT)
    for found in (pool, other):
        assert found["KeepPage"].resources == ["arn:aws:s3:::sluice-prod-website-333333333333-us-east-1/*"]
        assert found["KeepDistribution"].resources == [
            f"arn:aws:cloudfront::333333333333:{kind}/*"
            for kind in ("distribution", "origin-access-control", "response-headers-policy")
        ]
    assert pool.keys() - other.keys() == {"KeepSignInPages", "FindSignInPages"}


def _deployer(folder: Path, name: str, **changed: object) -> dict[str, Statement]:
    settings = settings_of(name, **changed)
    stack = UploadsStack(App(outdir=str(folder)), settings=settings, sources=sources_for(folder, settings))
    return {each.sid: each for each in total(stack.node.find_all())}


def test_a_page_that_is_not_built_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match="run: make web"):
        _with_page(tmp_path / "out", tmp_path / "nothing")


def test_a_file_of_an_unknown_type_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text((PAGE / "index.html").read_text())
    (page / "movie.avi").touch()
    with pytest.raises(PackagingError, match=r"movie\.avi of the page has a type"):
        _with_page(tmp_path / "out", page)


def _with_page(folder: Path, page: Path) -> None:
    settings = settings_of("dev", enable_website=True)
    sources = dataclasses.replace(sources_for(folder, settings), page=page)
    UploadsStack(App(outdir=str(folder)), settings=settings, sources=sources)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"enable_website": True, "api_authorization": "iam"}, "a page has no AWS credentials"),
        ({"enable_website": True, "website_domain": "files.example.com"}, "need each other"),
        ({"enable_website": False, "website_client_id": "page"}, "needs enable_website = true"),
        ({"enable_website": True, "website_client_id": "page"}, "a user pool makes the id itself"),
        ({"enable_website": True, "project_name": "my-cognito"}, "Cognito refuses"),
        (
            {
                "enable_website": True,
                "website_domain": "files.example.com",
                "website_certificate_arn": CERTIFICATE.replace("111111111111", "222222222222"),
            },
            "of another account",
        ),
        ({"enable_website": True, "website_domain": "Files"}, "a name such as"),
        (
            {"enable_website": True, "website_certificate_arn": CERTIFICATE.replace("us-east-1", "eu-west-1")},
            "us-east-1",
        ),
    ],
)
def test_settings_that_do_not_fit_are_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        settings_of("dev", **changed)


def test_all_settings_of_a_website_are_accepted_together() -> None:
    settings: Settings = settings_of(
        "dev",
        **JWT,
        enable_website=True,
        website_client_id="page",
        website_domain="files.example.com",
        website_certificate_arn=CERTIFICATE,
    )
    assert settings.enable_website


def test_the_picture_shows_who_serves_the_page(make: Make) -> None:
    picture = Picture(make().json)
    page, bucket = "aws_cloudfront_distribution.website", "aws_s3_bucket.website_bucket"
    assert "CloudFront" in picture.boxes[page].lines
    assert ("caller", page) in picture.arrows
    assert picture.arrows[page, bucket].back


def test_a_planner_reads_the_page_and_no_file(page_policies: list[str]) -> None:
    (reading,) = (
        each for policy in page_policies for each in json.loads(policy)["Statement"] if each["Sid"] == "ReadPage"
    )
    assert reading["Resource"] == "arn:aws:s3:::sluice-prod-website-333333333333-us-east-1/*"
    files = "arn:aws:s3:::sluice-prod-uploads"
    assert not any(files in policy and 's3:GetObject"' in policy for policy in page_policies)


@pytest.fixture
def page_policies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Policies of a planner, without the statements that a process of its own adds up."""
    monkeypatch.setattr(policies, "_deployer_statements", lambda settings, component: [])
    return policies.planner_policies(settings_of("prod", enable_website=True))
