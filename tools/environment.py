"""The environment of the programs that tools start: one rule for all of them. Standard library only.

A program inherits whatever the machine exports. Some of it has to get through: how this machine reaches the network,
and the AWS credentials of whoever deploys. Some of it bends a program that the tools rely on: another Python path,
options for Node.js or Terraform, another folder for CDKTF's output. And on the embedded AWS, which is on this machine,
neither credentials nor proxies of the machine have any business.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

# As modules/settings.py names it; set-up, which runs before anything is installed, cannot import that.
LOCAL = "local"

# Families that bend the programs: their interpreters, what they deploy, where they write.
_FAMILIES = ("CDKTF_", "CHECKOV_", "CKV_", "GIT_", "NODE_", "PIP_", "PIPENV_", "PYTHON", "TF_")
# In these families, what says how the network, an index or a registry is reached.
_NETWORK = frozenset(
    {
        "NODE_EXTRA_CA_CERTS",
        "NODE_TLS_REJECT_UNAUTHORIZED",
        "NODE_USE_ENV_PROXY",
        "NODE_USE_SYSTEM_CA",
        "PIPENV_PYPI_MIRROR",
        "PIP_CACHE_DIR",
        "PIP_CERT",
        "PIP_CLIENT_CERT",
        "PIP_CONFIG_FILE",
        "PIP_DEFAULT_TIMEOUT",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_INDEX_URL",
        "PIP_KEYRING_PROVIDER",
        "PIP_NO_CACHE_DIR",
        "PIP_NO_INDEX",
        "PIP_PROXY",
        "PIP_RETRIES",
        "PIP_TIMEOUT",
        "PIP_TRUSTED_HOST",
        "PIP_USE_FEATURE",
        "TF_REGISTRY_CLIENT_TIMEOUT",
        "TF_REGISTRY_DISCOVERY_RETRY",
    }
)
# The same outside of families: CDKTF's, checkov's, an old name of TF_CLI_CONFIG_FILE, those of a make that runs the
# tool, what writes the secrets of TLS into a file, and colours, which are noise where a tool reads what a program says.
_HCL = "SYNTH_HCL_OUTPUT"
_NAMES = (
    _HCL,
    "BC_API_KEY",
    "TERRAFORM_CONFIG",
    "MAKEFILES",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MAKEOVERRIDES",
    "MFLAGS",
    "CLICOLOR_FORCE",
    "FORCE_COLOR",
    "SSLKEYLOGFILE",
)
# Of all that bends, what concerns the programs that people call in a shell of `local`.
_OF_SHELLS = ("CDKTF_", "NODE_", "TF_", "TERRAFORM_CONFIG", _HCL)
# What a shell can unset; others have no such variable, only an environment that they hand on.
_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FOLDERS = ("TMPDIR", "TMP", "TEMP")

# What leads AWS SDKs, the AWS provider and the S3 backend to the embedded AWS (EmbeddedAws.environment).
_LEADS_TO_EMBEDDED_AWS = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_CA_BUNDLE",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
    }
)
# `[default]` in somebody's ~/.aws may name an endpoint, a proxy or a certificate authority, or be no file of AWS's.
NO_FILES_OF_AWS = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
LOOPBACK = ("127.0.0.1", "localhost")


def child_environment(
    variables: Mapping[str, str] | None = None, machine: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Make the environment of a program that a tool starts.

    Against an AWS account, credentials, profile, region, proxies and certificate authorities of the machine get
    through. Where ENVIRONMENT is `local`, the program gets nothing about AWS but what leads it to the embedded AWS,
    which it reaches without a proxy; other hosts, such as the Terraform registry, stay reachable as the machine says.
    Python's text is UTF-8, whatever the locale.

    Args:
        variables: the program's own, on top of everything.
        machine: what the tool itself has; by default the variables of this process.
    """
    own = dict(variables or {})
    inherited = {name: value for name, value in (os.environ if machine is None else machine).items() if value}
    kept = {name: value for name, value in inherited.items() if not bends(name)}
    for name in _FOLDERS:
        if name in kept and not (Path(kept[name]).is_dir() and os.access(kept[name], os.W_OK)):
            del kept[name]
    if {**kept, **own}.get("ENVIRONMENT") == LOCAL:
        kept = {name: value for name, value in kept.items() if not leads_elsewhere(name)}
        kept.update(NO_FILES_OF_AWS, **without_proxy(inherited))
    return {**kept, "PYTHONUTF8": "1", **own}


def enter_local() -> None:
    """Make this process one that knows only the embedded AWS: boto3 and urllib read its variables, as a child would.

    Nothing about AWS is left: whoever talks to the embedded AWS says all of it. Settings are the caller's concern.
    """
    made = child_environment({"ENVIRONMENT": LOCAL})
    os.environ.clear()
    os.environ.update({name: value for name, value in made.items() if not name.startswith("AWS_")}, **NO_FILES_OF_AWS)


def shell_lines(variables: Mapping[str, str], machine: Mapping[str, str], unset: Collection[str] = ()) -> list[str]:
    """Return shell lines that make a shell of the machine one of `local`, for AWS tools, Terraform and CDKTF.

    Args:
        variables: what the shell gets.
        machine: what it has.
        unset: what it has to lose beside what bends those tools or leads them elsewhere.
    """
    lost = {name for name in machine if leads_elsewhere(name) or (name.startswith(_OF_SHELLS) and bends(name))}
    lost = {*lost, *unset} - variables.keys()
    names = sorted(name for name in lost if _SHELL_NAME.fullmatch(name))
    gained = {**variables, **without_proxy(machine)}
    unset_line = [f"unset {' '.join(names)}"] if names else []
    return [*unset_line, *(f"export {name}={shlex.quote(value)}" for name, value in gained.items())]


def cdktf_variables() -> dict[str, str]:
    """Return what the cdktf command line tells the app that it runs: main.py hands that on to CDKTF itself."""
    return {name: value for name, value in os.environ.items() if name.startswith("CDKTF_") or name == _HCL}


def bends(name: str) -> bool:
    """Whether a variable changes what the programs do that the tools start."""
    return name in _NAMES or (name.startswith(_FAMILIES) and name not in _NETWORK)


def leads_elsewhere(name: str) -> bool:
    """Whether a variable leads AWS SDKs, or TLS, to something else than the embedded AWS."""
    if name.startswith("AWS_"):
        return name not in _LEADS_TO_EMBEDDED_AWS
    return name.startswith(("BOTO_", "BOTOCORE_")) or name == "SSLKEYLOGFILE"


def without_proxy(machine: Mapping[str, str]) -> dict[str, str]:
    """Variables by which loopback is reached directly, on top of what the machine reaches directly already."""
    # curl and Python prefer the name in small letters.
    known = machine.get("no_proxy") or machine.get("NO_PROXY") or ""
    named = [host.strip() for host in known.split(",") if host.strip()]
    hosts = known if named == ["*"] else ",".join([*named, *(host for host in LOOPBACK if host not in named)])
    return {"NO_PROXY": hosts, "no_proxy": hosts}
