"""Who may call the API: users of a Cognito user pool, signed AWS requests, or bearers of another issuer's tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from cdktf_cdktf_provider_aws.api_gateway_authorizer import ApiGatewayAuthorizer
from cdktf_cdktf_provider_aws.cognito_user_pool import (
    CognitoUserPool,
    CognitoUserPoolAccountRecoverySetting,
    CognitoUserPoolAccountRecoverySettingRecoveryMechanism,
    CognitoUserPoolAdminCreateUserConfig,
    CognitoUserPoolPasswordPolicy,
    CognitoUserPoolSoftwareTokenMfaConfiguration,
    CognitoUserPoolUserAttributeUpdateSettings,
    CognitoUserPoolUsernameConfiguration,
)
from cdktf_cdktf_provider_aws.cognito_user_pool_client import (
    CognitoUserPoolClient,
    CognitoUserPoolClientTokenValidityUnits,
)
from cdktf_cdktf_provider_aws.cognito_user_pool_domain import CognitoUserPoolDomain
from cdktf_cdktf_provider_aws.lambda_permission import LambdaPermission
from constructs import Construct

from functions.common.contract import TOKEN_REFUSED, IssuerError
from modules.alarms import ERROR_RATE_PERCENT, Advice, Alarm, LogMetric, error_rate
from modules.deployer import any_resource
from modules.foundation import Foundation
from modules.functions import Function, Shared
from modules.monitored import LogQuery, Row, label_of
from modules.policy_documents import Statement

TOKEN_MINUTES = 60
REFRESH_HOURS = 12
_UNITS = {"access_token": "minutes", "id_token": "minutes", "refresh_token": "hours"}
# How long a decision is used again. A token that is revoked or expires meanwhile works that much longer.
DECISION_SECONDS = 60
IDENTITY_SOURCE = "method.request.header.Authorization"
# Three parts of base64url (RFC 7519, section 3); anything else is refused before a function is paid for.
_BEARER = r"^[Bb]earer [A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$"

_KEEP_SIGN_IN_PAGES = ("cognito-idp:CreateUserPoolDomain", "cognito-idp:DeleteUserPoolDomain")
_KEEP_USERS = (
    "cognito-idp:CreateUserPoolClient",
    "cognito-idp:DeleteUserPool",
    "cognito-idp:DeleteUserPoolClient",
    "cognito-idp:DescribeUserPool",
    "cognito-idp:DescribeUserPoolClient",
    "cognito-idp:GetUserPoolMfaConfig",
    "cognito-idp:ListTagsForResource",
    "cognito-idp:SetUserPoolMfaConfig",
    "cognito-idp:TagResource",
    "cognito-idp:UntagResource",
    "cognito-idp:UpdateUserPool",
    "cognito-idp:UpdateUserPoolClient",
)


@dataclass(frozen=True)
class Requirement:
    """The authorization of a method of the API.

    Attributes:
        authorization: kind of authorization, as API Gateway names it.
        authorizer_id: the authorizer, where the kind has one.
        scopes: OAuth scopes of which a token has to hold one. None here: API Gateway then takes identity tokens
            ("Control access using Amazon Cognito user pools"), which say who the user is.
    """

    authorization: str
    authorizer_id: str | None = None
    scopes: tuple[str, ...] | None = None


OPEN = Requirement("NONE")


@dataclass(frozen=True)
class SignIn:
    """The addresses and ids with which a page signs people in by OpenID Connect, with a code and PKCE.

    Attributes:
        issuer: issuer of the tokens (`iss`).
        client_id: id of the page at the issuer.
        sends: the token that the page sends to the API.
        endpoints: the issuer's addresses, by their names in the metadata of OpenID Connect Discovery; empty if the page
            asks the issuer for them.
    """

    issuer: str
    client_id: str
    sends: Literal["access_token", "id_token"]
    endpoints: Mapping[str, str]

    @classmethod
    def at_issuer(cls, issuer: str, *, audience: str, client_id: str | None) -> SignIn:
        """Return the sign-in at an issuer that tells the page its addresses itself.

        Args:
            audience: the audience of the API. It is the page's id, too, where the page has none of its own: an ID token
                is for the page, and only an access token is for the API (OpenID Connect Core, "ID Token").
            client_id: id of the page at the issuer, if it is not the audience.
        """
        return cls(issuer, client_id or audience, "access_token" if client_id else "id_token", endpoints={})

    @property
    def origins(self) -> list[str]:
        """The origins that the page calls to sign in: the issuer's if the page asks it, and that of tokens."""
        called = [self.endpoints["token_endpoint"]] if self.endpoints else [self.issuer]
        return ["/".join(address.split("/")[:3]) for address in called]


class Authorizer(Function):
    """A function that checks tokens for API Gateway.

    Lambda counts each token that it refuses as an error: an error is the only way to the answer 401 (API Gateway,
    "Output from an API Gateway Lambda authorizer"). So refused tokens are counted from the log, too.

    Attributes:
        refused: metric of the refused tokens.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, shared: Shared, description: str, environment: Mapping[str, str]
    ) -> None:
        super().__init__(scope, construct_id, shared=shared, description=description, environment=environment)
        self.refused = LogMetric(
            # Dimensions would have to be in the line; the namespace tells environments of one account apart.
            shared.foundation.prefix,
            "TokensRefused",
            {},
            label="refused tokens",
            log_group=self.log_group,
            pattern=f'{{ $.message = "{TOKEN_REFUSED}" }}',
            filter_id="tokens_refused",
        )

    def error_alarm(self) -> Alarm:
        """Return the alarm on errors other than refused tokens.

        Refused tokens are subtracted from both sides of the rate. If they stayed among the invocations, a flood of
        wrong tokens would hide that the function fails on the right ones. The count from the log may arrive later than
        Lambda's metrics; the alarm needs two bad periods, so one period that looks bad meanwhile is not enough.
        """
        return error_rate(
            f"{label_of(self)}_errors",
            errors=self.metric("Errors"),
            requests=self.metric("Invocations"),
            excluded=self.refused,
            advice=Advice(
                f"The function {self.name} failed on more than {ERROR_RATE_PERCENT} % of the tokens that it did "
                "not refuse, in two periods of 5 minutes.",
                f"look for {IssuerError.__name__} in the log group /aws/lambda/{self.name}, and see whether the "
                "issuer's keys can be had",
                "authorizer-errors",
            ),
        )

    def dashboard_rows(self) -> list[Row]:
        """Return the row of the functions, with the refused tokens beside the errors."""
        (row,) = super().dashboard_rows()
        errors, *others = row.graphs
        return [replace(row, graphs=[replace(errors, metrics=[*errors.metrics, self.refused]), *others])]

    def log_queries(self) -> list[LogQuery]:
        """Return the queries of every function, and that of the errors of the issuer."""
        lines = [
            "fields @timestamp, @requestId, @message",
            f"filter @message like /{IssuerError.__name__}|Task timed out|Runtime exited|ImportModuleError/",
            "sort @timestamp desc",
            "limit 50",
        ]
        return [*super().log_queries(), LogQuery("issuer-errors", lines, [self.log_group])]


class Authorization(Construct):
    """The rule of the setting `api_authorization` about who may call.

    Attributes:
        user_pool_id: id of the user pool, if there is one.
        client_id: id that an application sends when its users sign in to the pool.
        takes_tokens: whether callers send a bearer token instead of a signature.
        caller: the caller in an access log, as a variable of API Gateway.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        foundation: Foundation,
        kind: Literal["cognito", "iam", "jwt"],
        function: Function | None = None,
        plain_passwords: bool = False,
    ) -> None:
        """
        Args:
            kind: users of a Cognito user pool, signed AWS requests, or tokens of another issuer.
            function: for `jwt`, the function that checks tokens.
            plain_passwords: whether users of the pool may sign in with a password that is sent, besides SRP.

        Raises:
            ValueError: `jwt` without a function.
        """
        super().__init__(scope, construct_id)
        self._foundation = foundation
        self._function = function
        self._pool: CognitoUserPool | None = None
        self._has_pages = False
        self.user_pool_id: str | None = None
        self.client_id: str | None = None
        self.takes_tokens = kind != "iam"
        self.caller = {
            "cognito": "$context.authorizer.claims.sub",
            "iam": "$context.identity.userArn",
            "jwt": "$context.authorizer.principalId",
        }[kind]
        if kind == "cognito":
            self._pool = self._users()
            self.user_pool_id = self._pool.id
            # With SRP a password never travels. On `local`, a demo of a few lines may send it to this machine.
            flows = ["ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
            if plain_passwords:
                flows.append("ALLOW_USER_PASSWORD_AUTH")
            self.client_id = self._client(self._pool, "client", "client", flows).id
        elif kind == "jwt" and function is None:
            raise ValueError("api_authorization = 'jwt' needs the function that checks tokens")

    def deployer_statements(self) -> list[Statement]:
        """Return what Terraform needs for user pools, which come and go with the setting.

        The id of a pool is not known before the pool is made.
        """
        pools = self._foundation.arn("cognito-idp", "userpool/*")
        unnamed = "no pool is named by this action"
        pages = [
            Statement(sid="KeepSignInPages", actions=_KEEP_SIGN_IN_PAGES, resources=[pools]),
            any_resource("FindSignInPages", unnamed, "cognito-idp:DescribeUserPoolDomain"),
        ]
        return [
            Statement(sid="KeepUsers", actions=_KEEP_USERS, resources=[pools]),
            any_resource("MakeUserPool", unnamed, "cognito-idp:CreateUserPool"),
            *(pages if self._has_pages else []),
        ]

    def _users(self) -> CognitoUserPool:
        """Create the user pool. Only administrators add users."""
        return CognitoUserPool(
            self,
            "users",
            name=f"{self._foundation.prefix}-users",
            # The tier without what costs extra from the first user on (Amazon Cognito, "User pool feature plans").
            user_pool_tier="LITE",
            deletion_protection="ACTIVE" if self._foundation.protect_data else "INACTIVE",
            username_attributes=["email"],
            username_configuration=CognitoUserPoolUsernameConfiguration(case_sensitive=False),
            auto_verified_attributes=["email"],
            user_attribute_update_settings=CognitoUserPoolUserAttributeUpdateSettings(
                attributes_require_verification_before_update=["email"]
            ),
            admin_create_user_config=CognitoUserPoolAdminCreateUserConfig(allow_admin_create_user_only=True),
            account_recovery_setting=CognitoUserPoolAccountRecoverySetting(
                recovery_mechanism=[
                    CognitoUserPoolAccountRecoverySettingRecoveryMechanism(name="verified_email", priority=1)
                ]
            ),
            password_policy=CognitoUserPoolPasswordPolicy(
                minimum_length=12,
                require_lowercase=True,
                require_uppercase=True,
                require_numbers=True,
                require_symbols=True,
                password_history_size=0,
                temporary_password_validity_days=3,
            ),
            # Codes of an application, never of a text message: those cost, and can be had by others.
            mfa_configuration="OPTIONAL",
            software_token_mfa_configuration=CognitoUserPoolSoftwareTokenMfaConfiguration(enabled=True),
        )

    def _client(
        self,
        pool: CognitoUserPool,
        construct_id: str,
        name: str,
        flows: Sequence[str],
        **of_pages: Any,  # noqa: ANN401 - arguments of the provider's class
    ) -> CognitoUserPoolClient:
        """Create a client of the pool. It has no secret, since a page or a phone could not keep one.

        Args:
            name: last part of its name.
            flows: how applications sign users in.
            of_pages: arguments of the resource for sign-in pages.
        """
        return CognitoUserPoolClient(
            self,
            construct_id,
            name=f"{self._foundation.prefix}-{name}",
            user_pool_id=pool.id,
            generate_secret=False,
            explicit_auth_flows=flows,
            supported_identity_providers=["COGNITO"],
            prevent_user_existence_errors="ENABLED",
            enable_token_revocation=True,
            access_token_validity=TOKEN_MINUTES,
            id_token_validity=TOKEN_MINUTES,
            refresh_token_validity=REFRESH_HOURS,
            token_validity_units=[CognitoUserPoolClientTokenValidityUnits(**_UNITS)],
            **of_pages,
        )

    def sign_in(self, page: str, *, endpoint_url: str | None = None) -> SignIn:
        """Let the users of the pool sign in on a page, with the sign-in pages that Cognito serves for the pool.

        Args:
            page: address of the page, where Cognito sends people back to.
            endpoint_url: where the embedded AWS is, which serves the sign-in pages at its own address.

        Raises:
            ValueError: there is no user pool.
        """
        if self._pool is None:
            raise ValueError("only a user pool has sign-in pages")
        self._has_pages = True
        foundation = self._foundation
        # A domain's name is unique in its region, across all accounts (Cognito, "Configuring a user pool domain").
        domain = CognitoUserPoolDomain(
            self, "domain", domain=f"{foundation.prefix}-{foundation.account_id}", user_pool_id=self._pool.id
        )
        client = self._client(
            self._pool,
            "page_client",
            "page",
            ["ALLOW_REFRESH_TOKEN_AUTH"],
            allowed_oauth_flows_user_pool_client=True,
            allowed_oauth_flows=["code"],
            allowed_oauth_scopes=["email", "openid"],
            callback_urls=[page],
            logout_urls=[page],
        )
        pages = endpoint_url or f"https://{domain.domain}.auth.{foundation.region}.amazoncognito.com"
        issuer = f"https://cognito-idp.{foundation.region}.amazonaws.com/{self._pool.id}"
        endpoints = {
            "authorization_endpoint": f"{pages}/oauth2/authorize",
            "token_endpoint": f"{pages}/oauth2/token",
            # It takes other parameters than OpenID Connect asks for (Cognito, "Logout endpoint").
            "end_session_endpoint": f"{pages}/logout",
        }
        return SignIn(issuer, client.id, "id_token", endpoints)

    def requirement(self, scope: Construct, *, rest_api_id: str, execution_arn: str) -> Requirement:
        """Return the authorization of the methods of one API, and create its authorizer.

        Args:
            scope: the API's construct, whose child the authorizer becomes.
        """
        if self._pool is not None:
            authorizer = ApiGatewayAuthorizer(
                scope,
                "authorizer",
                rest_api_id=rest_api_id,
                name="users",
                type="COGNITO_USER_POOLS",
                provider_arns=[self._pool.arn],
                identity_source=IDENTITY_SOURCE,
                authorizer_result_ttl_in_seconds=DECISION_SECONDS,
            )
            return Requirement("COGNITO_USER_POOLS", authorizer.id)
        if self._function is None:
            return Requirement("AWS_IAM")
        authorizer = ApiGatewayAuthorizer(
            scope,
            "authorizer",
            rest_api_id=rest_api_id,
            name="tokens",
            type="TOKEN",
            authorizer_uri=self._function.invoke_arn,
            identity_source=IDENTITY_SOURCE,
            identity_validation_expression=_BEARER,
            authorizer_result_ttl_in_seconds=DECISION_SECONDS,
        )
        LambdaPermission(
            scope,
            "authorizer_permission",
            statement_id="Api-authorizer",
            action="lambda:InvokeFunction",
            function_name=self._function.name,
            qualifier=self._function.qualifier,
            principal="apigateway.amazonaws.com",
            source_arn=f"{execution_arn}/authorizers/{authorizer.id}",
        )
        return Requirement("CUSTOM", authorizer.id)
