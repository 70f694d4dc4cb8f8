"""The settings of an environment: one frozen, validated object, read once in main.py.

Precedence: environment variable (the setting's name in capitals), then `environments/NAME.toml`, then the default here.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from functions.common.contract import MAX_FILE_BYTES, ContentTypeCheck
from modules import aws_limits
from modules.foundation import Foundation

LOCAL = "local"

# With 10 seconds before the first retry, doubled each time, the last of so many attempts comes after 8.5 to 14 hours.
WEBHOOK_ATTEMPTS = 13

# CloudWatch Logs API, PutRetentionPolicy: the only values it takes. Terraform's 0, which keeps logs for ever, is left
# out on purpose: logs hold names of files and callers.
LogRetentionDays = Annotated[
    Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
    BeforeValidator(lambda value: int(value) if isinstance(value, str) and value.isdecimal() else value),
]
# Lambda runtimes that both AWS and provider 5.100.0 know, no older than the Python the functions are written for.
LambdaRuntime = Literal["python3.11", "python3.12", "python3.13"]
LambdaArchitecture = Literal["arm64", "x86_64"]


def _form(pattern: str, words: str) -> AfterValidator:
    """Return a validator that requires a pattern; an error shows the words. Letters and digits are ASCII only."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"allowed: {words}")
        return value

    return AfterValidator(check)


_HOST = r"[a-zA-Z\d]([a-zA-Z\d-]*[a-zA-Z\d])?(\.[a-zA-Z\d]([a-zA-Z\d-]*[a-zA-Z\d])?)*(:\d{1,5})?"

AccountId = Annotated[str, _form(r"\d{12}", "the 12 digits of an account")]
Region = Annotated[str, AfterValidator(aws_limits.region)]
# KMS, "Key identifiers": id of a single-region or multi-Region key. Terraform's S3 backend accepts the id of a
# single-region key only as a UUID of RFC 4122 with valid version and variant ("Backend type: s3", `kms_key_id`).
KmsKeyId = Annotated[
    str,
    _form(
        r"mrk-[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        "the id that AWS gave to a key, such as 12345678-90ab-4def-8234-567890abcdef, and no alias or ARN",
    ),
]
# IAM, "IAM and AWS STS quotas": 512 characters of path, 64 of name.
RoleArn = Annotated[
    str,
    StringConstraints(max_length=512),
    _form(
        r"arn:aws:iam::\d{12}:role/([!-.0-~]+/)*[\w+=,.@-]{1,64}",
        "the ARN of a role in the partition `aws`, such as arn:aws:iam::111111111111:role/deployer",
    ),
]
BucketName = Annotated[
    str,
    _form(r"[a-z0-9][a-z0-9-]+[a-z0-9]", "3 to 63 small letters, digits and hyphens"),
    AfterValidator(aws_limits.bucket_name),
]
Url = Annotated[str, _form(rf"https?://{_HOST}", "an address such as https://127.0.0.1:4566, without a path")]
HttpsUrl = Annotated[
    str,
    StringConstraints(max_length=400),
    _form(rf"https://{_HOST}(/[\w./-]*)?", "an address such as https://example.com/path: letters, digits and . _ / -"),
]
# In the variable of the function, a comma separates addresses.
WebhookUrl = Annotated[
    str,
    StringConstraints(max_length=200),
    _form(
        rf"https://{_HOST}(/[\w.~%/-]*)?(\?[\w.~%/&=-]+)?",
        "an address such as https://hooks.example.com/in?key=a%20b, without user, password, fragment and comma",
    ),
]
Origin = Annotated[
    str,
    StringConstraints(max_length=253),
    _form(rf"\*|https?://{_HOST}", "origins such as https://app.example.com, without a path, or *"),
]
# RFC 5321, "Local-part" and "Size limits", without quotation marks.
Email = Annotated[
    str,
    StringConstraints(max_length=254),
    _form(
        r"[\w!#$%&'*+/=?^`{|}~.-]{1,64}@[a-zA-Z\d-]+(\.[a-zA-Z\d-]+)+", "an address such as team@example.com, in ASCII"
    ),
]
# The name of a project may have hyphens, the name of an environment may not. Otherwise project `a-b` with environment
# `c`, and project `a` with environment `b-c`, would both use the names `a-b-c` in one account.
ProjectName = Annotated[
    str,
    _form(
        r"(?=.{2,16}$)[a-z][a-z0-9]*(-[a-z0-9]+)*",
        "2 to 16 small letters, digits and single hyphens, the first a letter and the last no hyphen",
    ),
    AfterValidator(aws_limits.project_name),
]
EnvironmentName = Annotated[
    str, _form(r"[a-z][a-z0-9]{1,15}", "2 to 16 small letters and digits, the first a letter; hyphens divide names")
]
# IAM and Lambda, "TagValue": of all services here, these accept the fewest characters.
TagValue = Annotated[
    str,
    StringConstraints(max_length=64),
    AfterValidator(aws_limits.tag_value),
]
# CloudFront takes certificates of this region only ("Requirements for using SSL/TLS certificates with CloudFront").
CertificateArn = Annotated[
    str,
    _form(
        r"arn:aws:acm:us-east-1:\d{12}:certificate/[\da-f-]{36}",
        "the ARN of a certificate of us-east-1, such as "
        "arn:aws:acm:us-east-1:111111111111:certificate/12345678-90ab-4def-8234-567890abcdef",
    ),
]
DomainName = Annotated[
    str,
    StringConstraints(max_length=253),
    _form(
        r"[a-z\d]([a-z\d-]{0,61}[a-z\d])?(\.[a-z\d]([a-z\d-]{0,61}[a-z\d])?)+",
        "a name such as files.example.com, in small letters",
    ),
]
# RFC 7519, "StringOrURI".
Audience = Annotated[
    str,
    StringConstraints(max_length=255),
    _form(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+", "1 to 255 characters, none of them a control character"),
]
# RFC 6838, "Naming requirements", without parameters; either part may be a star, the second behind a beginning too.
MediaTypePattern = Annotated[
    str,
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
    StringConstraints(pattern=r"^(\*/\*|[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/(\*|[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\*?))$"),
]

# GuardDuty, "Malware Protection for S3 quotas": the largest object that it scans.
SCANNED_BYTES = 100 * 10**9

# All types except those that run. Patterns never cover types that run: HTML, SVG, scripts, programs and documents with
# macros have to be named in full (functions/common/media_types.py).
CONTENT_TYPES = (
    "application/*",
    "audio/*",
    "chemical/*",
    "font/*",
    "image/*",
    "message/*",
    "model/*",
    "multipart/*",
    "text/*",
    "video/*",
)


class SettingsError(Exception):
    """A setting of an environment is wrong; the text names the setting, its place and the allowed values."""


class Settings(BaseSettings):
    """Every difference between environments, and nothing else."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_ignore_empty=True, case_sensitive=False)

    environment: EnvironmentName = Field(description="Name of the environment: a file in environments/.")
    project_name: ProjectName = Field(default="sluice", description="First part of the name of every resource.")
    owner: TagValue = Field(default="platform", description="Tag `Owner` on every resource.")

    account_id: AccountId = Field(description="The AWS account to deploy to. Terraform refuses every other one.")
    primary_region: Region = Field(default="us-east-1", description="The region of every resource, but for copies.")
    replica_region: Region | None = Field(
        default=None, description="A second region that holds a copy of every file and record; by default none does."
    )
    replica_removed: bool = Field(
        default=False,
        description="Takes the copies away and keeps the provider of their region, which that needs; "
        "unset replica_region after it.",
    )
    assume_role_arn: RoleArn | None = Field(default=None, description="Role that Terraform assumes to deploy.")
    state_bucket: BucketName | None = Field(
        default=None, description="Bucket of the Terraform state; by default PROJECT-ENVIRONMENT-state-ACCOUNT-REGION."
    )
    state_kms_key_id: KmsKeyId | None = Field(
        default=None,
        description="Id of the key that encrypts the state. Leave it out: the backend then finds the key by the alias "
        "that `make bootstrap` gives it.",
    )
    aws_endpoint_url: Url | None = Field(
        default=None, description="Address of the embedded AWS, only for `local`. `make up` sets it."
    )

    log_retention_days: LogRetentionDays = Field(default=7, description="Days that every log group keeps its lines.")
    enable_xray_tracing: bool = Field(default=True, description="X-Ray tracing of API, functions and workflow.")
    kms_deletion_window_days: int = Field(
        default=30, ge=7, le=30, description="Days before a deleted key is gone for good."
    )
    protect_data: bool = Field(
        default=True,
        description="Deletion protection and recovery for table and buckets; false lets `destroy` delete their data.",
    )

    s3_lifecycle_transition_days: int = Field(
        default=30, ge=30, le=3650, description="Days until a file moves to STANDARD_IA (AWS: 30 or more)."
    )
    s3_lifecycle_expiration_days: int = Field(
        default=90,
        ge=0,
        le=36500,
        description="DELETES every uploaded file this many days after its upload. 0 keeps files for ever.",
    )

    max_upload_bytes: int = Field(
        default=50 * 2**30, ge=1, le=MAX_FILE_BYTES, description="Bytes of the largest file that is taken (S3: 5 TiB)."
    )
    allowed_content_types: tuple[MediaTypePattern, ...] = Field(
        default=CONTENT_TYPES,
        min_length=1,
        description="Types of files that are taken, such as `image/*`; what runs has to be named in full.",
    )
    content_type_check: ContentTypeCheck = Field(
        default="correct",
        description="What becomes of a harmless file whose declared type is wrong: its type is corrected, or, with "
        "`strict`, it is rejected.",
    )
    upload_expiry_hours: int = Field(
        default=24, ge=1, le=168, description="Hours after which an unfinished upload is given up."
    )
    link_seconds: int = Field(
        default=900, ge=60, le=43200, description="Seconds for which a link is good that sends a file or a part."
    )
    quota_bytes: int = Field(default=100 * 2**30, ge=1, le=2**60, description="Bytes that one owner may have.")
    quota_files: int = Field(default=100_000, ge=1, le=10**12, description="Files that one owner may have.")
    quarantine_retention_days: int = Field(
        default=30, ge=1, le=365, description="Days until the bytes of a file in quarantine are deleted."
    )
    record_retention_days: int = Field(
        default=90, ge=1, le=3650, description="Days that the record of a file is kept after the file has ended."
    )
    malware_scanning: bool = Field(
        default=False, description="GuardDuty scans every file; only a clean one can be downloaded."
    )
    legal_hold: bool = Field(
        default=False,
        description="Every file is held (S3 Object Lock) until an operator releases it. Fixed when the bucket is made.",
    )

    lambda_runtime: LambdaRuntime = Field(default="python3.13", description="Runtime of the functions.")
    lambda_architecture: LambdaArchitecture = Field(default="arm64", description="Processor of the functions.")
    lambda_timeout: int = Field(
        default=15, ge=1, le=29, description="Seconds a function may run; API Gateway waits 29 at most."
    )
    # Memory and processor: docs/benchmarks.md, "Memory and processor of the functions".
    lambda_memory_size: int = Field(default=1024, ge=128, le=10240, description="Memory of a function in MiB.")

    release_strategy: Literal["all-at-once", "canary"] = Field(
        default="all-at-once",
        description="How new versions of functions get traffic: at once with the apply, or bit by bit with CodeDeploy.",
    )

    step_functions_retry_interval: int = Field(
        default=2, ge=1, le=300, description="Seconds before the workflow tries a failed step again."
    )
    step_functions_max_attempts: int = Field(default=4, ge=0, le=20, description="How often it tries again.")
    step_functions_backoff_rate: float = Field(
        default=2.0, ge=1, le=10, description="By what the seconds are multiplied each time."
    )

    api_authorization: Literal["cognito", "iam", "jwt"] = Field(
        default="cognito",
        description="Who may call: users of a Cognito user pool, signed AWS requests, or an issuer's tokens.",
    )
    jwt_issuer: HttpsUrl | None = Field(default=None, description="Issuer (`iss`) of the tokens, for `jwt`.")
    jwt_audience: Audience | None = Field(default=None, description="Audience (`aud`) that the tokens have to name.")
    cors_allowed_origins: tuple[Origin, ...] = Field(
        default=(), description="Origins whose pages may call the API; `*` is refused where data is protected."
    )
    enable_website: bool = Field(
        default=False, description="A page on which people sign in and send files: a bucket behind CloudFront."
    )
    website_domain: DomainName | None = Field(
        default=None, description="Name of the page, instead of the one that CloudFront gives."
    )
    website_certificate_arn: CertificateArn | None = Field(
        default=None, description="Certificate of that name (ACM, us-east-1)."
    )
    website_client_id: Audience | None = Field(
        default=None,
        description="Id of the page at the issuer, for `jwt`, if it is not jwt_audience; the page then sends access "
        "tokens.",
    )
    enable_waf: bool = Field(default=False, description="A web application firewall before the API.")
    enable_access_logs: bool = Field(default=False, description="S3 access logs of the files' bucket.")
    manage_api_gateway_account: bool = Field(
        default=True,
        description="Set the role with which API Gateway logs, one an account; false where another stack does.",
    )
    handbook_url: HttpsUrl | None = Field(
        default=None,
        description="Where docs/operations.md is for those who get alarms, such as its page at your Git host.",
    )
    alert_email: Email | None = Field(default=None, description="Address that gets alarms.")
    api_throttle_rate: int = Field(default=50, ge=1, le=10000, description="Requests a second that the API admits.")
    api_throttle_burst: int = Field(default=100, ge=1, le=5000, description="Requests that the API admits at once.")

    webhook_urls: tuple[WebhookUrl, ...] = Field(
        default=(), max_length=8, description="Addresses that the events of files are posted to, each signed."
    )
    webhook_backoff_seconds: int = Field(
        default=10,
        ge=0,
        le=15,
        description="Seconds before a webhook that was not taken is sent again; doubled each time, for half a day.",
    )

    @field_validator("*")
    @classmethod
    def _is_literal(cls, value: object) -> object:
        """Refuse expressions that Terraform would evaluate, in every setting."""
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str):
                aws_limits.literal(text)
        return value

    @model_validator(mode="after")
    def _fits_aws(self) -> Self:
        """Refuse settings that AWS accepts one by one, but not together."""
        regions = {self.primary_region, self.replica_region or self.primary_region}
        buckets = [
            self.state_bucket_name,
            *(self.foundation.in_region(region).bucket_name("uploads") for region in regions),
        ]
        longest = max(buckets, key=len)
        if (over := len(longest) - aws_limits.BUCKET_NAME_LENGTH) > 0:
            raise ValueError(
                f"project_name = {self.project_name!r} and environment = {self.environment!r} are too long together: "
                f"the bucket {longest} would have {len(longest)} characters, and S3 takes "
                f"{aws_limits.BUCKET_NAME_LENGTH}; {over} fewer are needed"
            )
        lists = len(",".join(self.allowed_content_types)) + len(",".join(self.cors_allowed_origins))
        if self.enable_website:
            # The name that CloudFront gives is shorter.
            lists += len(f",https://{self.website_domain or 'd' * 32}")
        if lists > aws_limits.LISTS_BYTES:
            raise ValueError(
                f"allowed_content_types and cors_allowed_origins have {lists} bytes together, and the variables of a "
                f"function take {aws_limits.LISTS_BYTES} of them (Lambda: {aws_limits.VARIABLES_BYTES} in all); "
                "name fewer, or patterns such as `application/vnd.*`"
            )
        interval, rate = self.step_functions_retry_interval, self.step_functions_backoff_rate
        waits = sum(interval * rate**attempt for attempt in range(self.step_functions_max_attempts))
        if waits >= aws_limits.STEP_WAITS_SECONDS:
            raise ValueError(
                f"step_functions_retry_interval = {interval}, step_functions_max_attempts = "
                f"{self.step_functions_max_attempts} and step_functions_backoff_rate = {rate} wait {waits:.0f} seconds "
                f"between the tries of a step, which have to be less than {aws_limits.STEP_WAITS_SECONDS}"
            )
        if self.assume_role_arn and self.assume_role_arn.split(":")[4] != self.account_id:
            raise ValueError(
                f"assume_role_arn = {self.assume_role_arn!r} is of another account than account_id = "
                f"{self.account_id!r}, which is the only one that Terraform deploys to"
            )
        return self

    @model_validator(mode="after")
    def _destinations_fit(self) -> Self:
        """Refuse webhooks and regions that contradict each other."""
        if len(set(self.webhook_urls)) < len(self.webhook_urls):
            raise ValueError("webhook_urls names an address twice; each gets every event once")
        if self.replica_region == self.primary_region:
            raise ValueError(f"replica_region = {self.replica_region!r} is primary_region; name another one, or none")
        if self.replica_removed and self.replica_region is None:
            raise ValueError("replica_removed = true needs replica_region, or Terraform could not reach the copies")
        return self

    @model_validator(mode="after")
    def _retention_fits(self) -> Self:
        """Refuse retention periods that contradict each other or what keeps files."""
        if self.record_retention_days <= self.quarantine_retention_days:
            raise ValueError(
                f"record_retention_days = {self.record_retention_days} must be more than quarantine_retention_days = "
                f"{self.quarantine_retention_days}, or bytes in quarantine outlive their record"
            )
        if 0 < self.s3_lifecycle_expiration_days <= self.s3_lifecycle_transition_days:
            raise ValueError(
                f"s3_lifecycle_expiration_days = {self.s3_lifecycle_expiration_days} must be 0 (never) or more than "
                f"s3_lifecycle_transition_days = {self.s3_lifecycle_transition_days}"
            )
        if self.legal_hold and self.s3_lifecycle_expiration_days:
            raise ValueError(
                "legal_hold = true needs s3_lifecycle_expiration_days = 0: expiry would hide a file that is held"
            )
        return self

    @model_validator(mode="after")
    def _access_fits(self) -> Self:
        """Refuse limits and access rules that contradict each other."""
        if self.malware_scanning and self.max_upload_bytes > SCANNED_BYTES:
            raise ValueError(
                f"max_upload_bytes = {self.max_upload_bytes} is more than the {SCANNED_BYTES} bytes that "
                "malware_scanning can look through; what is larger would all end in quarantine"
            )
        if self.api_authorization == "jwt" and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError("api_authorization = 'jwt' needs jwt_issuer and jwt_audience")
        if "*" in self.cors_allowed_origins and self.protect_data:
            raise ValueError("cors_allowed_origins = '*' lets every page call the API; name the origins")
        return self

    @model_validator(mode="after")
    def _website_fits(self) -> Self:
        """Refuse a website that cannot work, or settings of one that there is not."""
        of_website = ("website_domain", "website_certificate_arn", "website_client_id")
        named = [name for name in of_website if getattr(self, name) is not None]
        if named and not self.enable_website:
            raise ValueError(f"{named[0]} needs enable_website = true")
        if not self.enable_website:
            return self
        if self.api_authorization == "iam":
            raise ValueError(
                "enable_website needs api_authorization 'cognito' or 'jwt': a page has no AWS credentials. "
                "With 'iam', set enable_website = false"
            )
        if (self.website_domain is None) != (self.website_certificate_arn is None):
            raise ValueError("website_domain and website_certificate_arn need each other")
        if self.website_certificate_arn and self.website_certificate_arn.split(":")[4] != self.account_id:
            raise ValueError(f"website_certificate_arn is of another account than account_id = {self.account_id!r}")
        if self.website_client_id and self.api_authorization != "jwt":
            raise ValueError("website_client_id is for api_authorization = 'jwt'; a user pool makes the id itself")
        reserved = [word for word in ("amazon", "aws", "cognito") if word in self.prefix]
        if self.api_authorization == "cognito" and reserved:
            raise ValueError(
                f"enable_website gives the user pool a domain that begins with {self.prefix}, and Cognito refuses "
                f"domains with {reserved[0]!r}; choose another project_name or environment"
            )
        return self

    @model_validator(mode="after")
    def _place_fits(self) -> Self:
        """Refuse the embedded AWS for another environment than `local`, and AWS for `local`."""
        if self.is_local and self.aws_endpoint_url is None:
            raise ValueError(
                "`local` lives on the embedded AWS and AWS_ENDPOINT_URL does not say where that is; "
                'run `make up`, or `eval "$(make -s env)"` once it is up'
            )
        if self.is_local and self.release_strategy == "canary":
            raise ValueError("release_strategy = 'canary' needs CodeDeploy, which the embedded AWS does not have")
        if not self.is_local and self.aws_endpoint_url is not None:
            raise ValueError(
                f"aws_endpoint_url = {self.aws_endpoint_url!r} would send {self.environment!r} to another AWS; only "
                "`local` may set it: unset AWS_ENDPOINT_URL"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let an environment variable override the file, whose values `load` passes as arguments."""
        return env_settings, init_settings

    @property
    def is_local(self) -> bool:
        """True for the environment on the embedded AWS."""
        return self.environment == LOCAL

    @property
    def prefix(self) -> str:
        """First part of the names of this environment's resources."""
        return self.foundation.prefix

    @property
    def foundation(self) -> Foundation:
        """Return the part of the settings that every construct may use."""
        return Foundation(
            project_name=self.project_name,
            environment=self.environment,
            account_id=self.account_id,
            region=self.primary_region,
            log_retention_days=self.log_retention_days,
            tracing=self.enable_xray_tracing,
            key_deletion_window_days=self.kms_deletion_window_days,
            protect_data=self.protect_data,
            handbook=self.handbook,
            lambda_runtime=self.lambda_runtime,
            lambda_architecture=self.lambda_architecture,
            lambda_timeout=self.lambda_timeout,
            lambda_memory_size=self.lambda_memory_size,
        )

    @property
    def replicates(self) -> bool:
        """True if a second region has copies."""
        return self.replica_region is not None and not self.replica_removed

    @property
    def in_replica_region(self) -> Settings:
        """Return the settings of the resources in the second region.

        Raises:
            ValueError: there is no second region.
        """
        if self.replica_region is None:
            raise ValueError("replica_region is not set")
        return self.model_copy(
            update={"primary_region": self.replica_region, "replica_region": None, "replica_removed": False}
        )

    @property
    def handbook(self) -> str:
        """The URL of the handbook for readers of alarms if it is set, else its file in the repository."""
        return self.handbook_url or "docs/operations.md"

    @property
    def state_bucket_name(self) -> str:
        """Name of the bucket that holds the Terraform state."""
        return self.state_bucket or self.foundation.bucket_name("state")

    @property
    def files_bucket_name(self) -> str:
        """Name of the bucket that holds the files."""
        return self.foundation.bucket_name("uploads")

    @property
    def state_key_alias(self) -> str:
        """Alias of the key that `make bootstrap` creates for the state."""
        return f"alias/{self.prefix}-state"

    @property
    def state_key_alias_arn(self) -> str:
        """ARN of that alias. It is known before the key is created."""
        return self.foundation.arn("kms", self.state_key_alias)

    @property
    def state_key_arn(self) -> str:
        """ARN of the state's key for the backend: ARN of the key if its id is set, else ARN of its alias.

        Terraform's S3 backend and S3 accept both (S3, PutObject, `x-amz-server-side-encryption-aws-kms-key-id`).
        """
        if self.state_kms_key_id is None:
            return self.state_key_alias_arn
        return self.foundation.arn("kms", f"key/{self.state_kms_key_id}")


def load(environments: Path) -> Settings:
    """Read the settings of the environment that the variable ENVIRONMENT names (`dev` when it is unset).

    Args:
        environments: the folder with one TOML file an environment.

    Raises:
        SettingsError: no such environment, an unknown setting, a wrong value, or values that do not fit together.
    """
    name = os.environ.get("ENVIRONMENT") or "dev"
    known = sorted(path.stem for path in environments.glob("*.toml"))
    if name not in known:
        raise SettingsError(f"ENVIRONMENT = {name!r}: there is no such environment; allowed: {', '.join(known)}")
    file = environments / f"{name}.toml"
    shown = f"{environments.name}/{file.name}"
    try:
        values = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{shown}: not valid TOML: {error}") from None
    _refuse_misspelt(values, shown)
    if "environment" in values:
        raise SettingsError(f"{shown}: environment: the name of the file says it already; remove the line")
    try:
        return Settings(environment=name, **values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(fault, shown) for fault in error.errors())) from None


def _refuse_misspelt(values: Mapping[str, Any], shown: str) -> None:
    """Refuse unknown names in the file, and variables that are a letter or two away from a setting's."""
    names = list(Settings.model_fields)
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"known settings: {', '.join(sorted(names))}"
            raise SettingsError(f"{shown}: {name}: there is no such setting; {hint}")
    long_names = [name.upper() for name in names if len(name) >= len("LAMBDA_TIMEOUT")]
    for variable in os.environ:
        if variable.lower() not in names and (near := difflib.get_close_matches(variable, long_names, 1, 0.92)):
            raise SettingsError(f"variable {variable}: there is no such setting; did you mean {near[0]}?")


def _explain(fault: Mapping[str, Any], shown: str) -> str:
    """Return one line for a user about one fault that pydantic found."""
    name = str(fault["loc"][0]) if fault["loc"] else ""
    cause = re.sub(r"^Value error, ", "", str(fault["msg"]))
    if not name:
        return f"{shown}: {cause}"
    description = Settings.model_fields[name].description
    if fault["type"] == "missing":
        return f"{shown}: {name}: missing. {description}"
    where = f"variable {name.upper()}" if os.environ.get(name.upper()) else f"{shown}: {name}"
    return f"{where} = {fault['input']!r}: {_allowed(fault, cause)}. {description}"


def _allowed(fault: Mapping[str, Any], cause: str) -> str:
    """Return the allowed values, in words instead of a long regular expression."""
    if fault["type"] == "literal_error":
        return f"allowed: {fault['ctx']['expected']}"
    if fault["type"] == "string_pattern_mismatch":
        return f"not of the form {fault['ctx']['pattern']}"
    return cause[0].lower() + cause[1:]
