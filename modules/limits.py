"""What AWS accepts in regions, names and sizes, where a setting could go beyond it. No construct in here."""

from __future__ import annotations

import re

# Regions of the partition `aws`, whose ARNs begin with `arn:aws:` as all of ours do, and that AWS provider 5.100.0
# knows. GovCloud, China and the sovereign clouds are partitions of their own. A test compares them with botocore's.
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

# Lambda, "Lambda quotas": all variables of a function, measured as JSON. What is left for lists of the settings, beside
# the other variables of the function that has the most.
VARIABLES_BYTES = 4096
LISTS_BYTES = 3200

# A run of the workflow that hangs is ended, and the alarm on failed runs tells. The work takes seconds, and minutes
# where a service is busy. A step that gives up is caught and told, a run that times out is not: so a run has the time
# for every attempt of every step, with whatever settings.
WORKFLOW_SECONDS = 8 * 3600
# Between the tries of one step.
STEP_WAITS_SECONDS = 600

BUCKET_NAME_LENGTH = 63
# S3, "General purpose bucket naming rules".
_BUCKET_BEGINNINGS = ("amzn-s3-demo-", "sthree-", "xn--")
_BUCKET_ENDS = ("--ol-s3", "--table-s3", "--x-s3", "-an", "-s3alias")

# Systems Manager, "Parameter name constraints": no name begins so, in capitals or not.
_PARAMETER_BEGINNINGS = ("aws", "ssm")

# What Terraform evaluates in every text of a configuration (Terraform, "Strings and templates").
TEMPLATE_MARKS = ("${", "%{")


def region(name: str) -> str:
    """The region, if Sluice can be deployed to it.

    Raises:
        ValueError: it is none, or of another partition than `aws`.
    """
    if name not in REGIONS:
        raise ValueError(
            f"no region of AWS's partition `aws`, which every ARN here is in; allowed: {', '.join(REGIONS)}"
        )
    return name


def tag_value(value: str) -> str:
    """The text, if every service takes it as the value of a tag.

    Raises:
        ValueError: it has other characters, or blanks around it, which some services cut off.
    """
    if not re.fullmatch(r"[\w.:/=+@-]+( [\w.:/=+@-]+)*", value):
        raise ValueError("allowed: letters, digits and _ . : / = + - @, with single blanks between")
    if value.lower().startswith("aws:"):
        raise ValueError("AWS keeps tags that begin with `aws:` for itself")
    return value


def bucket_name(name: str) -> str:
    """The name, if S3 lets a bucket have it; its characters are checked elsewhere.

    Raises:
        ValueError: it is too long, or S3 keeps its beginning or end for itself.
    """
    if len(name) > BUCKET_NAME_LENGTH:
        raise ValueError(f"the name of a bucket has {BUCKET_NAME_LENGTH} characters at most, and this one {len(name)}")
    for kept in _BUCKET_BEGINNINGS:
        if name.startswith(kept):
            raise ValueError(f"S3 keeps names of buckets that begin with {kept!r} for itself")
    for kept in _BUCKET_ENDS:
        if name.endswith(kept):
            raise ValueError(f"S3 keeps names of buckets that end in {kept!r} for itself")
    return name


def project_name(name: str) -> str:
    """The name, if names of resources can begin with it.

    Raises:
        ValueError: Systems Manager or S3 keeps that beginning for itself.
    """
    for kept in (*_PARAMETER_BEGINNINGS, *_BUCKET_BEGINNINGS):
        # A bucket's name goes on behind the project's with `-`.
        if f"{name}-".startswith(kept):
            raise ValueError(f"AWS keeps names of parameters and buckets that begin with {kept!r} for itself")
    return name


def literal(value: str) -> str:
    """The text, if Terraform takes it as it is.

    Raises:
        ValueError: it holds what Terraform would evaluate.
    """
    for mark in TEMPLATE_MARKS:
        if mark in value:
            raise ValueError(f"it holds {mark!r}, which Terraform would evaluate; leave that out")
    return value
