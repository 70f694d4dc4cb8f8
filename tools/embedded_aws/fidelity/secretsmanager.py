"""Secrets Manager: secrets and their versions."""

# mypy: disable-error-code="import-not-found"
from typing import Any

from ministack.services import secretsmanager

from . import hook
from .hook import Function
from .settings import Settings


def make_no_version_without_a_value(_: Settings) -> None:
    """Create a secret without a value as one without a version.

    AWS makes a first version only of a value that comes with the request
    (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html); GetSecretValue says
    ResourceNotFoundException until there is one. ministack makes a version of nothing, and answers without a value.
    """
    fix = "secretsmanager.make_no_version_without_a_value"
    resolve = hook.attribute(fix, secretsmanager, "_resolve")

    def make(original: Function) -> Function:
        def create(data: dict[str, Any]) -> object:
            existed = resolve(data.get("Name"))[1] is not None
            answer = original(data)
            _, secret = resolve(data.get("Name"))
            if secret and not existed and not {"SecretString", "SecretBinary"} & set(data):
                secret["Versions"].clear()
            return answer

        return create

    hook.replace(fix, secretsmanager, "_create_secret", make, "data")
