"""Row 6: rules for what CloudFront serves: private origins, HTTPS, headers that protect a page."""

from __future__ import annotations

from collections.abc import Iterator

from stacks.terraform_json import Finding, Root, block, many

ROW = 6
_CLOUDFRONT = "cloudfront.amazonaws.com"


def distributions(root: Root) -> Iterator[Finding]:
    """Row 6: a distribution signs its requests to the bucket, answers by HTTPS only, and adds the headers of a page."""
    for address, body in root.every("aws_cloudfront_distribution"):
        for origin in many(body.get("origin")):
            if not str(origin.get("origin_access_control_id")).startswith("${aws_cloudfront_origin_access_control."):
                yield Finding(ROW, address, "it does not sign its requests to the bucket (origin access control)")
        for behavior in (*many(body.get("default_cache_behavior")), *many(body.get("ordered_cache_behavior"))):
            if behavior.get("viewer_protocol_policy") not in {"redirect-to-https", "https-only"}:
                yield Finding(ROW, address, "it answers plain HTTP")
            if not str(behavior.get("response_headers_policy_id")).startswith("${aws_cloudfront_response_headers_"):
                yield Finding(ROW, address, "its answers have no headers that protect a page")
        viewers = block(body, "viewer_certificate")
        if viewers.get("acm_certificate_arn") and viewers.get("minimum_protocol_version") != "TLSv1.2_2021":
            yield Finding(ROW, address, "it admits TLS below 1.2")


def headers(root: Root) -> Iterator[Finding]:
    """Row 6: requests to the bucket are always signed; a page may do only what its policy names."""
    for address, body in root.every("aws_cloudfront_origin_access_control"):
        if body.get("signing_behavior") != "always":
            yield Finding(ROW, address, "requests to the bucket are not always signed")
    for address, body in root.every("aws_cloudfront_response_headers_policy"):
        security = block(body, "security_headers_config")
        policy = str(block(security, "content_security_policy").get("content_security_policy"))
        if not policy.startswith("default-src 'none';") or "unsafe-" in policy or "*" in policy:
            yield Finding(ROW, address, "its Content-Security-Policy admits more than it names")
        if not block(security, "strict_transport_security").get("access_control_max_age_sec"):
            yield Finding(ROW, address, "browsers may come back by plain HTTP (Strict-Transport-Security)")


def admissions(root: Root) -> Iterator[Finding]:
    """Row 6: a policy admits CloudFront for distributions of this stack only."""
    for each in root.statements():
        principal = each.body.get("Principal")
        if not each.allows or not isinstance(principal, dict) or _CLOUDFRONT not in many(principal.get("Service")):
            continue
        sources = [
            source
            for keys in many(each.body.get("Condition"))
            for source in many(keys.get("StringEquals", {}).get("aws:SourceArn"))
        ]
        if not sources or not all(str(source).startswith("${aws_cloudfront_distribution.") for source in sources):
            yield Finding(ROW, each.address, f"{each.title} admits CloudFront for other distributions")
