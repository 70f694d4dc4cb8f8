"""Row 5: rules against secrets in variables, plans and the state."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from stacks.terraform_json import Finding, Root, block

# Names of variables that contain secrets. A variable with one of the endings below does not: it contains a reference,
# a lifetime or a count.
_SECRET_NAME = re.compile(
    r"(?i)secret|passw|passphrase|pwd|token|credential|(api|access|private|signing|encryption)_?key|(^|_)auth(_|$)"
)
_NO_SECRET_NAME = re.compile(r"(?i)_(arns?|name|id|url|uri|prefix|seconds|minutes|hours|days|bytes|count|enabled)$")
# Keys of AWS, tokens of GitHub, GitLab, Slack, Stripe and Google, JWTs, keys in PEM, secrets of webhooks, and a
# password in an address.
_KNOWN_FORM = re.compile(
    r"\b(AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{15,}|\bxox[abposr]-[\w-]{10,}"
    r"|\b[sr]k_(live|test)_\w{10,}|\bAIza[\w-]{30,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.|-----BEGIN|\bwhsec_|://[^/\s:@]+:[^/\s@]+@"
)
# ARNs and addresses are not searched: random parts in them are ids.
_ARN_OR_ADDRESS = re.compile(r"arn:aws[^\s,]*|https?://[^\s,]*")
_LONG_WORD = re.compile(r"[A-Za-z0-9+/=_-]{20,}")
# Entropy in bits per character: ordinary words repeat characters more often, so they have less.
_RANDOM_BITS = 3.5


def secrets(root: Root) -> Iterator[Finding]:
    """Row 5: no secret is in a variable or in the state; functions fetch secrets by their ARN."""
    for address, body in root.every("aws_lambda_function"):
        for name, value in block(body, "environment").get("variables", {}).items():
            text = re.sub(r"\$\{[^}]*\}", "", str(value))
            # An audience is a name, which may look as random as a secret. The addresses of webhook receivers are in the
            # state anyway (docs/webhooks.md).
            for known in (root.settings.jwt_audience, *root.settings.webhook_urls):
                text = text.replace(known, "") if known else text
            if _SECRET_NAME.search(name) and not _NO_SECRET_NAME.search(name) and text.strip():
                yield Finding(
                    5, address, f"by its name, the variable {name} contains a secret; pass the ARN of a secret instead"
                )
            elif secret_like(text):
                yield Finding(
                    5,
                    address,
                    f"the value of the variable {name} looks like a secret; pass the ARN of a secret instead",
                )
    for address, body in root.every():
        made = address.startswith(("aws_secretsmanager_secret_version.", "random_password.", "tls_private_key."))
        if made or (address.startswith("aws_ssm_parameter.") and body.get("type") == "SecureString"):
            yield Finding(5, address, "its secret would be stored in Terraform's state")


def secret_like(text: str) -> bool:
    """Return whether a text contains a secret of a known form, or a long random word."""
    return bool(_KNOWN_FORM.search(text)) or any(map(_is_random, _LONG_WORD.findall(_ARN_OR_ADDRESS.sub("", text))))


def _is_random(word: str) -> bool:
    """Return whether a word has 128 bits or more in hexadecimal digits, or a random mix of characters as in base64."""
    if re.fullmatch(r"[0-9a-fA-F]{32,}", word):
        return True
    kinds = all(re.search(kind, word) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    shares = [count / len(word) for count in Counter(word).values()]
    return kinds and -sum(share * math.log2(share) for share in shares) > _RANDOM_BITS
