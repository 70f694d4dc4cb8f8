"""Cross-origin requests (CORS) to the API: which pages may call, and what they may send and read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from functions.common.contract import EXPOSED_HEADERS

# Headers that pages may send. Browser libraries that sign requests also send the hash of the body and their own name.
ALLOWED_HEADERS = (
    "Content-Type,X-Amz-Date,Authorization,X-Api-Key,X-Amz-Security-Token,Idempotency-Key,X-Amz-Content-Sha256,"
    "X-Amz-User-Agent"
)
PREFLIGHT_SECONDS = 600
ALLOW_ORIGIN = "Access-Control-Allow-Origin"


@dataclass(frozen=True)
class Cors:
    """The origins whose pages may call the API (Fetch standard, "CORS protocol").

    Values of headers are in single quotes, as API Gateway wants constants.

    Attributes:
        origins: allowed origins; `*` stands for every origin, and is then the only one.
    """

    origins: tuple[str, ...]

    @classmethod
    def of(cls, allowed: Sequence[str]) -> Cors:
        """Return the rules for the allowed origins of the settings."""
        return cls(("*",) if "*" in allowed else tuple(allowed))

    @property
    def fixed_origin(self) -> dict[str, str]:
        """The header that allows a single origin; empty if there are several or none."""
        return {ALLOW_ORIGIN: f"'{self.origins[0]}'"} if len(self.origins) == 1 else {}

    @property
    def readable(self) -> dict[str, str]:
        """The headers that let pages read an answer's headers; empty if no page may call."""
        if not self.origins:
            return {}
        return {"Access-Control-Expose-Headers": f"'{','.join(EXPOSED_HEADERS)}'", "Vary": "'Origin'"}

    def preflight(self, methods: Sequence[str]) -> dict[str, str]:
        """Return the headers of the answer to a preflight of a path with these methods."""
        return {
            "Access-Control-Allow-Headers": f"'{ALLOWED_HEADERS}'",
            "Access-Control-Allow-Methods": f"'{','.join(sorted([*methods, 'OPTIONS']))}'",
            "Access-Control-Max-Age": f"'{PREFLIGHT_SECONDS}'",
            "Vary": "'Origin'",
            **self.fixed_origin,
        }

    @property
    def template(self) -> str:
        """The mapping template that allows the request's origin if it is one of several; a single one is a header.

        HTTP/2 writes the names of headers in lower case, and API Gateway compares them with case.
        """
        if len(self.origins) < 2:
            return ""
        allowed = " || ".join(f"$origin == '{origin}'" for origin in self.origins)
        return (
            "#set($origin = $input.params('origin'))"
            "#if($origin == '')#set($origin = $input.params('Origin'))#end"
            f"#if({allowed})#set($context.responseOverride.header.{ALLOW_ORIGIN} = $origin)#end"
        )

    @property
    def headers_of_template(self) -> list[str]:
        """The headers that the template sets, which a method response has to declare."""
        return [ALLOW_ORIGIN] if len(self.origins) > 1 else []

    @property
    def of_gateway_response(self) -> dict[str, str]:
        """The headers of an answer of the gateway itself.

        A template of a gateway response can insert variables but not compare. Where several origins are allowed, it
        repeats the origin of the request, whichever that is. A page of another origin can read only the gateway's own
        sentences by that: its preflight fails before, and answers of functions do not carry its origin.
        """
        if not self.origins:
            return {}
        return {ALLOW_ORIGIN: "method.request.header.Origin", **self.fixed_origin, **self.readable}
