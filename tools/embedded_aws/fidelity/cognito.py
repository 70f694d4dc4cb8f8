"""Cognito: the keys that verify tokens, and the tokens that an API accepts."""

# mypy: disable-error-code="import-not-found"
import json
import re
from typing import Any

from ministack.services import apigateway as http_api
from ministack.services import apigateway_v1 as rest_api
from ministack.services import cognito

from . import hook
from .hook import Function
from .settings import Settings


def find_signing_keys_in_process(_: Settings) -> None:
    """Let authorizers of API Gateway check the tokens of Cognito user pools while TLS is on.

    AWS checks the signature of a token with the keys at /POOL/.well-known/jwks.json
    (https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-integrate-with-cognito.html). ministack
    asks itself for them over plain HTTP on its own port, which speaks TLS here, so that every token is refused. The
    fix takes them from the user pool in the same process.
    """
    fix = "cognito.find_signing_keys_in_process"
    hook.attribute(fix, cognito, "well_known_jwks")

    def make(original: Function) -> Function:
        async def fetch_jwks(url: str) -> dict[str, Any]:
            own = re.fullmatch(r"http://[^/]+/([\w-]+)/\.well-known/jwks\.json", url)
            if own is None:
                keys: dict[str, Any] = await original(url)
            else:
                _, _, body = cognito.well_known_jwks(own[1])
                keys = json.loads(body)
            return keys

        return fetch_jwks

    # Both modules hold the function under a name of their own.
    hook.replace(fix, http_api, "_fetch_jwks", make, "url")
    hook.replace(fix, rest_api, "_fetch_jwks", make, "url")


def tell_tokens_apart(_: Settings) -> None:
    """Accept an ID token if a method names no scopes, and an access token if it does.

    AWS takes the token for an identity token where the method has no OAuth scopes, else for an access token, whose
    scopes it compares
    (https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-enable-cognito-user-pool.html). A refresh
    token is for Cognito only; on AWS it is encrypted. ministack takes whatever the pool has signed. The fix looks at
    `token_use`.
    """
    fix = "cognito.tell_tokens_apart"
    error = hook.attribute(fix, rest_api, "_gw_error")

    def make(original: Function) -> Function:
        async def validate(
            authorizer: object, method_obj: dict[str, Any], headers: object, query_params: object, stage: object
        ) -> tuple[dict[str, Any] | None, object]:
            claims, refused = await original(authorizer, method_obj, headers, query_params, stage)
            wanted = "access" if method_obj.get("authorizationScopes") else "id"
            if not refused and claims.get("token_use") != wanted:
                return None, error("UNAUTHORIZED", "Unauthorized")
            return claims, refused

        return validate

    takes = "authorizer method_obj headers query_params stage"
    hook.replace(fix, rest_api, "_validate_cognito_authorizer", make, takes)


def keep_the_time_of_sign_in(_: Settings) -> None:
    """Give a token that was refreshed the time at which the user signed in.

    `auth_time` is the time at which the user completed authentication
    (https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-id-token.html), also
    after a refresh (OpenID Connect Core, "Successful Refresh Response"); clients refuse a token with another one.
    ministack writes the time of the refresh. All tokens of one sign-in have the same `origin_jti`, by which the fix
    finds the time.
    """
    fix = "cognito.keep_the_time_of_sign_in"
    signed_in: dict[str, int] = {}

    def make(original: Function) -> Function:
        def sign(claims: dict[str, Any], *rest: object) -> object:
            if "auth_time" in claims and "origin_jti" in claims:
                claims["auth_time"] = signed_in.setdefault(claims["origin_jti"], claims["auth_time"])
            return original(claims, *rest)

        return sign

    hook.replace(fix, cognito, "_signed_jwt", make, "claims")
    hook.keep(fix, cognito, "times_of_sign_in", signed_in)
