"""The page on which people send files: a private bucket behind CloudFront, which serves the page that `web/` builds.

The page's address is needed by the API (CORS) and by the user pool (callbacks), and the page needs theirs. So the
construct has two steps: it makes the distribution, whose address others take, and `publish` adds the objects and the
headers once the API and the sign-in are there.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from cdktf import TerraformResourceLifecycle
from cdktf_cdktf_provider_aws.cloudfront_distribution import (
    CloudfrontDistribution,
    CloudfrontDistributionDefaultCacheBehavior,
    CloudfrontDistributionOrigin,
    CloudfrontDistributionRestrictions,
    CloudfrontDistributionRestrictionsGeoRestriction,
    CloudfrontDistributionViewerCertificate,
)
from cdktf_cdktf_provider_aws.cloudfront_origin_access_control import CloudfrontOriginAccessControl
from cdktf_cdktf_provider_aws.cloudfront_response_headers_policy import (
    CloudfrontResponseHeadersPolicy,
    CloudfrontResponseHeadersPolicyCustomHeadersConfigItems,
    CloudfrontResponseHeadersPolicySecurityHeadersConfigContentSecurityPolicy,
    CloudfrontResponseHeadersPolicySecurityHeadersConfigContentTypeOptions,
    CloudfrontResponseHeadersPolicySecurityHeadersConfigFrameOptions,
    CloudfrontResponseHeadersPolicySecurityHeadersConfigReferrerPolicy,
    CloudfrontResponseHeadersPolicySecurityHeadersConfigStrictTransportSecurity,
)
from cdktf_cdktf_provider_aws.s3_object import S3Object
from constructs import Construct

from modules.alarms import ERROR_RATE_PERCENT, Advice, Alarm, Metric
from modules.bucket_rules import access_logs, leftovers
from modules.buckets import PrivateBucket
from modules.deployer import any_resource
from modules.encryption import CustomerKey, admit_distribution
from modules.foundation import Foundation
from modules.functions import Sources
from modules.monitored import Graph, Monitored, Row
from modules.packaging import PackagingError
from modules.policy_documents import Statement

# CloudFront, "Use managed cache policies": CachingOptimized, which compresses and keeps what `Cache-Control` allows.
_CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
# CloudFront sends its metrics, and takes certificates, in this region only ("View CloudFront metrics").
CLOUDFRONT_REGION = "us-east-1"
# Two years (OWASP, "HTTP Strict Transport Security").
_HSTS_SECONDS = 63_072_000

_KEEP_PAGE = (
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:GetObject",
    "s3:GetObjectTagging",
    "s3:PutObject",
    "s3:PutObjectTagging",
)
_KEEP_DISTRIBUTION = (
    "cloudfront:CreateDistribution",
    "cloudfront:CreateResponseHeadersPolicy",
    "cloudfront:DeleteDistribution",
    "cloudfront:DeleteOriginAccessControl",
    "cloudfront:DeleteResponseHeadersPolicy",
    "cloudfront:GetDistribution",
    "cloudfront:GetOriginAccessControl",
    "cloudfront:GetResponseHeadersPolicy",
    "cloudfront:ListTagsForResource",
    "cloudfront:TagResource",
    "cloudfront:UntagResource",
    "cloudfront:UpdateDistribution",
    "cloudfront:UpdateOriginAccessControl",
    "cloudfront:UpdateResponseHeadersPolicy",
)

CONFIG = "config.json"
_INDEX = "index.html"
# A file whose name has the hash of its content never changes.
HASHED = re.compile(r"-[0-9a-f]{8}(?=\.[a-z0-9]+$)")
_FOREVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


class Website(Construct, Monitored):
    """The bucket and the distribution of the page.

    Attributes:
        address: address of the page, which ends with a slash.
        origin: its origin, as browsers send it.
        key: key that encrypts the objects.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        domain: str | None = None,
        certificate_arn: str | None = None,
        logs_access: bool = False,
        endpoint_url: str | None = None,
    ) -> None:
        """
        Args:
            domain: name of the page, if it is not the one that CloudFront gives.
            certificate_arn: certificate of that name, in CLOUDFRONT_REGION.
            logs_access: whether a second bucket gets S3's access logs.
            endpoint_url: where the embedded AWS is, which serves distributions at paths of its own address.
        """
        super().__init__(scope, construct_id)
        self._foundation = foundation
        self.key = CustomerKey(self, "key", foundation=foundation, purpose="website", service="s3")
        self._bucket = PrivateBucket(
            self, "bucket", foundation=foundation, name=foundation.bucket_name("website"), key=self.key
        )
        leftovers(self, self._bucket)
        if logs_access:
            access_logs(self, self._bucket, foundation=foundation, purpose="weblogs", prefix="website/")
        self._headers = CloudfrontResponseHeadersPolicy(
            self, "headers", name=foundation.global_name("website"), comment="Headers of the page"
        )
        self._distribution = self._distribute(domain, certificate_arn)
        self.origin = endpoint_url or f"https://{domain or self._distribution.domain_name}"
        # The embedded AWS has one origin for everything, and so one certificate to accept.
        self.address = f"{self.origin}/_aws/cloudfront/{self._distribution.id}/" if endpoint_url else f"{self.origin}/"
        self.key.add_to_policy(admit_distribution(self._distribution.arn))
        self._bucket.add_to_policy(
            Statement(
                sid="AdmitDistribution",
                actions=["s3:GetObject"],
                resources=[f"{self._bucket.arn}/*"],
                principals={"Service": ["cloudfront.amazonaws.com"]},
                conditions={"StringEquals": {"aws:SourceArn": self._distribution.arn}},
            )
        )

    def _distribute(self, domain: str | None, certificate_arn: str | None) -> CloudfrontDistribution:
        """Make the distribution, which signs its requests to the bucket (CloudFront, "Restrict access to S3")."""
        foundation = self._foundation
        access = CloudfrontOriginAccessControl(
            self,
            "access",
            name=foundation.global_name("website"),
            description="The page of Sluice",
            origin_access_control_origin_type="s3",
            signing_behavior="always",
            signing_protocol="sigv4",
        )
        return CloudfrontDistribution(
            self,
            "Default",
            comment=f"{foundation.prefix}: page for sending files",
            enabled=True,
            is_ipv6_enabled=True,
            http_version="http2and3",
            default_root_object=_INDEX,
            aliases=[domain] if domain else None,
            origin=[
                CloudfrontDistributionOrigin(
                    origin_id="page",
                    # The name of the region: the general one redirects while a bucket is new.
                    domain_name=f"{self._bucket.name}.s3.{foundation.region}.amazonaws.com",
                    origin_access_control_id=access.id,
                )
            ],
            default_cache_behavior=CloudfrontDistributionDefaultCacheBehavior(
                target_origin_id="page",
                viewer_protocol_policy="redirect-to-https",
                allowed_methods=["GET", "HEAD"],
                cached_methods=["GET", "HEAD"],
                compress=True,
                cache_policy_id=_CACHING_OPTIMIZED,
                response_headers_policy_id=self._headers.id,
            ),
            restrictions=CloudfrontDistributionRestrictions(
                geo_restriction=CloudfrontDistributionRestrictionsGeoRestriction(restriction_type="none")
            ),
            viewer_certificate=CloudfrontDistributionViewerCertificate(
                cloudfront_default_certificate=True if certificate_arn is None else None,
                acm_certificate_arn=certificate_arn,
                ssl_support_method="sni-only" if certificate_arn else None,
                minimum_protocol_version="TLSv1.2_2021" if certificate_arn else None,
            ),
        )

    def publish(self, *, sources: Sources, config: Mapping[str, object], connects: Sequence[str]) -> None:
        """Add the objects of the page, and the headers with which browsers hold the page to what it needs.

        Args:
            sources: folders of the built page and of the stack, below which the files of the page are copied.
            config: what the page has to know of its environment.
            connects: origins that the page calls, beside its own.

        Raises:
            PackagingError: the page has not been built.
        """
        names = _files(sources.page)
        hashed = [name for name in names if HASHED.search(name)]
        assets = [self._object(sources, name, cache=_FOREVER) for name in hashed]
        settings = S3Object(
            self,
            _id_of(CONFIG),
            bucket=self._bucket.name,
            key=CONFIG,
            content=json.dumps(config, sort_keys=True),
            content_type=CONTENT_TYPES[".json"],
            cache_control=_ASK_FIRST,
            depends_on=[self._bucket.encryption, self._bucket.versioning],
        )
        for name in sorted(set(names) - set(hashed)):
            # The files that a page names are there before the page that names them.
            self._object(sources, name, cache=_ASK_FIRST, after=[*assets, settings])
        self._secure(connects)

    def _object(self, sources: Sources, name: str, *, cache: str, after: Sequence[S3Object] = ()) -> S3Object:
        """Make the object of one file; a plan shows the object when the content changes."""
        file, copy = sources.page / name, sources.output / "website" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        return S3Object(
            self,
            _id_of(name),
            bucket=self._bucket.name,
            key=name,
            source=sources.terraform_path(copy),
            # The ETag of an object under a customer key is no hash of its content (S3, "Object").
            source_hash=hashlib.sha256(file.read_bytes()).hexdigest(),
            content_type=CONTENT_TYPES[Path(name).suffix],
            cache_control=cache,
            # The old object goes last: a page that is open still asks for it.
            lifecycle=TerraformResourceLifecycle(create_before_destroy=True) if cache == _FOREVER else None,
            depends_on=[self._bucket.encryption, self._bucket.versioning, *after],
        )

    def _secure(self, connects: Sequence[str]) -> None:
        """Set the headers of every answer (OWASP, "HTTP Headers Cheat Sheet")."""
        self._headers.put_security_headers_config(
            content_security_policy=CloudfrontResponseHeadersPolicySecurityHeadersConfigContentSecurityPolicy(
                content_security_policy=content_security_policy(connects), override=True
            ),
            content_type_options=CloudfrontResponseHeadersPolicySecurityHeadersConfigContentTypeOptions(override=True),
            frame_options=CloudfrontResponseHeadersPolicySecurityHeadersConfigFrameOptions(
                frame_option="DENY", override=True
            ),
            referrer_policy=CloudfrontResponseHeadersPolicySecurityHeadersConfigReferrerPolicy(
                referrer_policy="no-referrer", override=True
            ),
            strict_transport_security=(
                CloudfrontResponseHeadersPolicySecurityHeadersConfigStrictTransportSecurity(
                    access_control_max_age_sec=_HSTS_SECONDS, include_subdomains=True, override=True
                )
            ),
        )
        more = {
            "Cross-Origin-Opener-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), screen-wake-lock=(self)",
        }
        self._headers.put_custom_headers_config(
            items=[
                CloudfrontResponseHeadersPolicyCustomHeadersConfigItems(header=name, value=value, override=True)
                for name, value in more.items()
            ]
        )

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for the objects of the page and for the distribution."""
        ours = f"arn:aws:cloudfront::{self._foundation.account_id}"
        # An id is not known before it is made.
        kinds = ("distribution", "origin-access-control", "response-headers-policy")
        return [
            Statement(
                sid="KeepPage",
                actions=_KEEP_PAGE,
                resources=[f"arn:aws:s3:::{self._foundation.bucket_name('website')}/*"],
            ),
            Statement(
                sid="KeepDistribution",
                actions=_KEEP_DISTRIBUTION,
                resources=[f"{ours}:{kind}/*" for kind in kinds],
            ),
            any_resource(
                "MakeAccessControl",
                "an access control has no ARN before it is made",
                "cloudfront:CreateOriginAccessControl",
            ),
        ]

    def alarms(self) -> list[Alarm]:
        """Return the alarm on answers that are 5xx.

        CloudFront has its metrics in CLOUDFRONT_REGION, and an alarm reads only metrics of its own region.
        """
        if self._foundation.region != CLOUDFRONT_REGION:
            return []
        return [
            Alarm(
                name="website_errors",
                metrics={"errors": self._metric("5xxErrorRate", "Average")},
                threshold=ERROR_RATE_PERCENT,
                periods=2,
                advice=Advice(
                    f"More than {ERROR_RATE_PERCENT} % of the answers of the page for sending files were 5xx, in two "
                    "periods of 5 minutes.",
                    "see whether the distribution may still read its bucket and use its key, and AWS Health",
                    "website-errors",
                ),
            )
        ]

    def dashboard_rows(self) -> list[Row]:
        """Return the row of the page, where CloudWatch has its metrics."""
        if self._foundation.region != CLOUDFRONT_REGION:
            return []
        errors = [self._metric("4xxErrorRate", "Average", "4xx"), self._metric("5xxErrorRate", "Average", "5xx")]
        return [
            Row(
                "Page",
                [
                    Graph("requests", [self._metric("Requests", "Sum", "requests")], "requests"),
                    Graph("share of errors", errors, "%"),
                ],
            )
        ]

    def _metric(self, name: str, statistic: str, label: str = "") -> Metric:
        dimensions = {"DistributionId": self._distribution.id, "Region": "Global"}
        return Metric("AWS/CloudFront", name, dimensions, statistic, label)


def content_security_policy(connects: Sequence[str]) -> str:
    """Return the policy of the page: scripts and styles of its own, calls to these origins, and nothing else."""
    directives = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        # Previews of the files that a person chose.
        "img-src": "'self' data: blob:",
        "connect-src": " ".join(["'self'", *connects]),
        "worker-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "sluice",
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def _files(page: Path) -> list[str]:
    """Return the names of the files of the page.

    Raises:
        PackagingError: the page has not been built, or it has a file of an unknown type.
    """
    if not (page / _INDEX).is_file():
        raise PackagingError(f"{page.name}/{_INDEX} is not there, which enable_website serves; run: make web")
    names = sorted(file.relative_to(page).as_posix() for file in page.rglob("*") if file.is_file())
    for name in names:
        if Path(name).suffix not in CONTENT_TYPES:
            known = ", ".join(CONTENT_TYPES)
            raise PackagingError(f"{name} of the page has a type that modules/website.py does not know; known: {known}")
    return names


def _id_of(name: str) -> str:
    """Return the construct id of a file: without its hash, so that an address stays when the content changes."""
    return re.sub(r"[^a-z0-9]+", "_", HASHED.sub("", name).lower())
