"""The part of an environment's settings that every construct may use. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Foundation:
    """The names, the place and the common choices of an environment, in one region.

    Constructs take this instead of the settings of the upload platform, so that another stack can use them.

    Attributes:
        project_name: first part of the name of every resource.
        environment: second part of it.
        account_id: the AWS account.
        region: the region of the resources.
        log_retention_days: days that log groups and access logs keep their lines.
        tracing: whether X-Ray traces what it can.
        key_deletion_window_days: days before a deleted key is gone permanently.
        protect_data: whether tables and buckets have deletion protection and recovery. If not, `destroy` deletes data.
        handbook: where alarms send their reader: a URL, or a file of the repository.
        lambda_runtime: runtime of the functions, such as `python3.13`.
        lambda_architecture: processor of the functions, `arm64` or `x86_64`.
        lambda_timeout: seconds that a function may run.
        lambda_memory_size: memory of a function in MiB.
    """

    project_name: str
    environment: str
    account_id: str
    region: str
    log_retention_days: int
    tracing: bool
    key_deletion_window_days: int
    protect_data: bool
    handbook: str
    lambda_runtime: str
    lambda_architecture: str
    lambda_timeout: int
    lambda_memory_size: int

    @property
    def prefix(self) -> str:
        """First part of the names of this environment's resources."""
        return f"{self.project_name}-{self.environment}"

    def in_region(self, region: str) -> Foundation:
        """Return the same foundation for resources in another region."""
        return replace(self, region=region)

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource in this account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"

    def bucket_name(self, purpose: str) -> str:
        """Return the name of a bucket; it has account and region in it, since bucket names are unique in all of AWS."""
        return f"{self.prefix}-{purpose}-{self.account_id}-{self.region}"

    def global_name(self, name: str) -> str:
        """Return a name in a service without regions, such as IAM or CloudFront. It contains the region."""
        return f"{self.prefix}-{name}-{self.region}"

    def parameter_name(self, name: str, *, project_name: str | None = None) -> str:
        """Return the name of the parameter by which a project shares a value; the project is this one by default."""
        return f"/{project_name or self.project_name}/{self.environment}/{name}"
