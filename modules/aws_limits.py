"""Limits of AWS for regions, names and sizes that settings could exceed. This module has no constructs."""

from __future__ import annotations

import re

# Regions of the partition `aws` that AWS provider 5.100.0 knows. All ARNs of Sluice begin with `arn:aws:`; GovCloud,
# China and the sovereign clouds are other partitions. A test compares this list with botocore's.
REGIONS = (
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
)

# Lambda, "Lambda quotas": size of all variables of a function as JSON. LISTS_BYTES is the part for the lists in the
# settings; the rest is for the other variables, of the function that has the most.
VARIABLES_BYTES = 4096
LISTS_BYTES = 3200

# Timeout of a run of the workflow, after which the alarm on failed runs fires. A run takes seconds, or minutes if a
# service is busy. If a step gives up, the workflow catches the error and reports it, but it cannot catch its own
# timeout. So the timeout is longer than all attempts of all steps together, with any settings.
WORKFLOW_SECONDS = 8 * 3600
# Limit of the sum of the waits between the attempts of one step.
STEP_WAITS_SECONDS = 600

BUCKET_NAME_LENGTH = 63
# S3, "General purpose bucket naming rules".
_BUCKET_BEGINNINGS = ("amzn-s3-demo-", "sthree-", "xn--")
_BUCKET_ENDS = ("--ol-s3", "--table-s3", "--x-s3", "-an", "-s3alias")

# Systems Manager, "Parameter name constraints": reserved beginnings, in upper or lower case.
_PARAMETER_BEGINNINGS = ("aws", "ssm")

# Beginnings of expressions, which Terraform evaluates in every text (Terraform, "Strings and templates").
TEMPLATE_MARKS = ("${", "%{")


def region(name: str) -> str:
    """Return the region if Sluice can be deployed to it.

    Raises:
        ValueError: it is unknown, or not in the partition `aws`.
    """
    if name not in REGIONS:
        raise ValueError(
            f"no region of AWS's partition `aws`, which every ARN here is in; allowed: {', '.join(REGIONS)}"
        )
    return name


def tag_value(value: str) -> str:
    """Return the text if every service accepts it as the value of a tag.

    Raises:
        ValueError: it has other characters, or blanks at its beginning or end, which some services cut off.
    """
    if not re.fullmatch(r"[\w.:/=+@-]+( [\w.:/=+@-]+)*", value):
        raise ValueError("allowed: letters, digits and _ . : / = + - @, with single blanks between")
    if value.lower().startswith("aws:"):
        raise ValueError("tags that begin with `aws:` are reserved for AWS")
    return value


def bucket_name(name: str) -> str:
    """Return the name if S3 accepts it for a bucket; its characters are checked elsewhere.

    Raises:
        ValueError: it is too long, or S3 reserves its beginning or end.
    """
    if len(name) > BUCKET_NAME_LENGTH:
        raise ValueError(f"a bucket's name may have {BUCKET_NAME_LENGTH} characters at most; this one has {len(name)}")
    for kept in _BUCKET_BEGINNINGS:
        if name.startswith(kept):
            raise ValueError(f"names of buckets that begin with {kept!r} are reserved for S3")
    for kept in _BUCKET_ENDS:
        if name.endswith(kept):
            raise ValueError(f"names of buckets that end in {kept!r} are reserved for S3")
    return name


def project_name(name: str) -> str:
    """Return the name if names of resources can begin with it.

    Raises:
        ValueError: Systems Manager or S3 reserves that beginning.
    """
    for kept in (*_PARAMETER_BEGINNINGS, *_BUCKET_BEGINNINGS):
        # In the name of a bucket, `-` follows the name of the project.
        if f"{name}-".startswith(kept):
            raise ValueError(f"names of parameters and buckets that begin with {kept!r} are reserved for AWS")
    return name


def literal(value: str) -> str:
    """Return the text if Terraform takes it literally.

    Raises:
        ValueError: it contains the beginning of an expression, which Terraform would evaluate.
    """
    for mark in TEMPLATE_MARKS:
        if mark in value:
            raise ValueError(f"it contains {mark!r}, which Terraform would evaluate; remove it")
    return value
