"""CloudFront: distributions at a path of the embedded AWS, and what they may read."""

# mypy: disable-error-code="import-not-found"
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ministack import app
from ministack.core import iam_actions
from ministack.services import cloudfront, s3

from . import hook, iam, kms
from .hook import Function
from .settings import Settings


def serve_at_a_path(_: Settings) -> None:
    """Serve a distribution at `/_aws/cloudfront/ID/`, too.

    AWS serves it at the host name of the distribution, and so does ministack, but a browser does not find that name on
    this machine. At a path, a page shares one origin, and so one certificate, with the APIs, buckets and sign-in pages
    of the embedded AWS. The fix takes the prefix from the path and hands the request to the distribution.
    """
    fix = "cloudfront.serve_at_a_path"
    distributions = hook.attribute(fix, cloudfront, "_distributions")

    def make(original: Function) -> Function:
        async def handle(host: str, path: str, raw_path: str, *rest: Any) -> Any:  # noqa: ANN401 - ministack is untyped
            at_a_path = re.fullmatch(r"/_aws/cloudfront/([A-Z0-9]+)(/.*)", raw_path)
            distribution = at_a_path and distributions.get(at_a_path[1])
            if not distribution:
                return await original(host, path, raw_path, *rest)
            prefix = f"/_aws/cloudfront/{distribution['Id']}"
            domain = distribution["DomainName"]
            return await original(domain, path.removeprefix(prefix), raw_path.removeprefix(prefix), *rest)

        return handle

    takes = "host path raw_path raw_query_string method headers body query_params client_ip"
    hook.replace(fix, app, "_handle_cloudfront_dataplane_request", make, takes)


def ask_for_tags_of_distributions(_: Settings) -> None:
    """Allow a distribution with tags to whoever may make distributions and set tags.

    CreateDistributionWithTags is no action of IAM: AWS asks for CreateDistribution and TagResource (Service
    Authorization Reference, "Amazon CloudFront"). ministack asks for an action of that name.
    """
    fix = "cloudfront.ask_for_tags_of_distributions"
    with_tags = "cloudfront:CreateDistributionWithTags"

    def make(original: Function) -> Function:
        def extract_iam_action(*request: object) -> object:
            found = original(*request)
            return "cloudfront:CreateDistribution" if found == with_tags else found

        return extract_iam_action

    def tags(action: str, resource: str, keys: Mapping[str, Any]) -> Iterable[tuple[str, str, Mapping[str, Any]]]:
        request = iam.signed_request()
        if action == "cloudfront:CreateDistribution" and request and "WithTags" in request.query_params:
            yield "cloudfront:TagResource", resource, keys

    hook.replace(fix, iam_actions, "extract_iam_action", make, "service method path headers body query_params")
    iam.also_ask(fix, tags)


def ask_bucket_and_key(_: Settings) -> None:
    """Read an object with origin access control only if policies of bucket and key admit the distribution.

    CloudFront signs its request as a service: `aws:PrincipalIsAWSService` is true (IAM, "AWS global condition context
    keys"), and an object under a customer key needs the policy of the key, too (CloudFront, "Restrict access to an
    Amazon S3 origin: SSE-KMS"). ministack leaves the condition key out, so that a policy that denies all but the
    account and AWS's services denies CloudFront, and it does not ask the key.
    """
    fix = "cloudfront.ask_bucket_and_key"
    service = "cloudfront.amazonaws.com"
    policies = hook.attribute(fix, s3, "_bucket_policies")

    def make(original: Function) -> Function:
        def allows(owner: str, bucket_name: str, key: str, source_arn: str, oai_id: str) -> bool:
            if oai_id or not source_arn:
                return bool(original(owner, bucket_name, key, source_arn, oai_id))
            resource, region = f"arn:aws:s3:::{bucket_name}/{key}", iam.request_region()
            policy = policies.get_scoped(owner, None, bucket_name)
            return iam.service_may(
                service, "s3:GetObject", resource, region, source_arn, policy
            ) and kms.service_may_read(service, resource, region, source_arn)

        return allows

    hook.replace(fix, s3, "_cloudfront_origin_allows", make, "owner bucket_name key source_arn oai_id")


def leave_out_headers_that_are_not_set(_: Settings) -> None:
    """Describe a response headers policy without the lists of headers that it does not set.

    AWS returns only parts that a policy has (CloudFront, "ResponseHeadersPolicyConfig": both are optional). ministack
    returns empty lists of custom and removed headers, which Terraform wants to take away again in every plan.
    """
    fix = "cloudfront.leave_out_headers_that_are_not_set"

    def make(original: Function) -> Function:
        def build(parent: Any, cfg: Mapping[str, Any]) -> None:  # noqa: ANN401 - an element of XML
            original(parent, cfg)
            for name in ("CustomHeadersConfig", "RemoveHeadersConfig"):
                part = parent.find(name)
                if part is not None and part.findtext("Quantity") == "0":
                    parent.remove(part)

        return build

    hook.replace(fix, cloudfront, "_build_rhp_config_xml", make, "parent cfg")
