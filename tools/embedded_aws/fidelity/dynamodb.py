"""DynamoDB: copies of a table in other regions."""

# mypy: disable-error-code="import-not-found"
from collections.abc import Mapping, Sequence
from typing import Any

from ministack.core.responses import get_account_id
from ministack.services import dynamodb

from . import hook
from .hook import Function
from .settings import Settings


def keep_the_key_of_a_copy(_: Settings) -> None:
    """Encrypt a replica of a table under the key that was named for it, and return this key.

    A key is of one region, so a copy has another than its table
    (https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_CreateReplicationGroupMemberAction.html).
    ministack lets the copy have the table's, and does not say so: every plan of Terraform makes the copy anew.
    """
    fix = "dynamodb.keep_the_key_of_a_copy"
    tables = hook.attribute(fix, dynamodb, "_tables")
    describe_key = hook.attribute(fix, dynamodb, "_sse_description_from_spec")

    def make_update(original: Function) -> Function:
        def update(name: str, table: object, updates: Sequence[Mapping[str, Mapping[str, Any]]]) -> object:
            error = original(name, table, updates)
            for each in updates if error is None else ():
                made = each.get("Create", {})
                if key := made.get("KMSMasterKeyId"):
                    copy = tables.get_scoped(get_account_id(), made["RegionName"], name)
                    copy["SSEDescription"] = describe_key({"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key})
            return error

        return update

    def make_describe(original: Function) -> Function:
        def describe(name: str) -> dict[str, Any]:
            description: dict[str, Any] = original(name)
            for each in description.get("Replicas", []):
                copy = tables.get_scoped(get_account_id(), each["RegionName"], name) or {}
                if key := (copy.get("SSEDescription") or {}).get("KMSMasterKeyArn"):
                    each["KMSMasterKeyId"] = key
            return description

        return describe

    hook.replace(fix, dynamodb, "_apply_replica_updates", make_update, "name table updates")
    hook.replace(fix, dynamodb, "_table_description", make_describe, "name")
