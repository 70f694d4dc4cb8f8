"""Fixes that make ministack answer as AWS does: one function for each fix, one module for each service.

Importing this package imports ministack, so the environment of the process has to be ready before.
"""

from collections.abc import Callable, Collection

from . import (
    apigateway,
    cloudfront,
    cloudwatch,
    codedeploy,
    cognito,
    dynamodb,
    eventbridge,
    guardduty,
    iam,
    kms,
    lambda_runtime,
    logs,
    resources,
    s3,
    secretsmanager,
    stepfunctions,
    waf,
)
from .hook import FidelityError, ministack_version
from .settings import Settings

__all__ = ["FIXES", "FidelityError", "Settings", "apply_all", "ministack_version", "name_of"]

# In this order: what the fixes build on before them, the log around everything that decides.
FIXES: tuple[Callable[[Settings], None], ...] = (
    iam.prepare,
    iam.ask_whether_a_role_may_be_passed,
    iam.refuse_roles_that_do_not_trust_the_service,
    iam.name_the_role_of_a_session,
    kms.ask_the_key,
    kms.name_the_key_behind_an_alias,
    kms.describe_keys_of_aws,
    resources.name_what_requests_touch,
    resources.name_event_source_mappings,
    cloudfront.ask_for_tags_of_distributions,
    cloudfront.ask_bucket_and_key,
    cloudfront.leave_out_headers_that_are_not_set,
    cloudfront.serve_at_a_path,
    lambda_runtime.run_as_aws_does,
    lambda_runtime.follow_the_alias_with_events,
    lambda_runtime.keep_failures_in_the_dead_letter_queue,
    lambda_runtime.ask_the_role_of_a_mapping,
    stepfunctions.bind_the_role,
    stepfunctions.keep_tracing_configuration,
    stepfunctions.know_legal_holds,
    stepfunctions.hand_on_message_attributes,
    apigateway.ask_the_function_for_permission,
    apigateway.answer_at_the_host_name_of_an_api,
    apigateway.keep_mock_integrations_without_method,
    apigateway.leave_out_absent_access_log_settings,
    apigateway.name_methods_of_settings,
    apigateway.deny_through_gateway_responses,
    apigateway.hide_failures_of_functions,
    apigateway.refuse_large_requests,
    apigateway.change_methods_in_place,
    apigateway.serve_what_was_deployed,
    resources.tell_functions_the_domain,
    cloudwatch.describe_alarms_in_full,
    cloudwatch.ask_topics_for_permission,
    eventbridge.ask_targets_for_permission,
    eventbridge.invoke_functions_as_events,
    cognito.find_signing_keys_in_process,
    cognito.tell_tokens_apart,
    cognito.keep_the_time_of_sign_in,
    secretsmanager.make_no_version_without_a_value,
    s3.check_posted_bytes,
    s3.name_the_version_in_events,
    dynamodb.keep_the_key_of_a_copy,
    logs.keep_query_definitions,
    s3.refuse_small_parts,
    s3.refuse_headers_that_are_not_signed,
    s3.ask_functions_for_permission,
    guardduty.stand_in,
    codedeploy.stand_in,
    waf.keep_logging_configurations,
    iam.log_decisions,
)


def name_of(fix: Callable[[Settings], None]) -> str:
    """Return the name of a fix: its module and function."""
    return f"{fix.__module__.rsplit('.', 1)[-1]}.{fix.__name__}"


def apply_all(settings: Settings, without: Collection[str] = ()) -> None:
    """Apply every fix, except those named in `without`, which shows the effect of a fix.

    Raises:
        FidelityError: when a name in `without` is no fix, or when a fix does not fit the installed ministack.

    """
    names = [name_of(fix) for fix in FIXES]
    unknown = sorted(set(without) - set(names))
    if unknown:
        raise FidelityError(f"no such fix: {', '.join(unknown)}. There are: {', '.join(names)}")
    for fix in FIXES:
        if name_of(fix) not in without:
            fix(settings)
