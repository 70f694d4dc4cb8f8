"""The environment of the programs that tools start: one rule for all of them. Standard library only.

A program inherits all variables of the machine. It needs some of them: the settings of the network, and the user's AWS
credentials. Others change programs that the tools rely on: another Python path, options for Node.js or Terraform,
another folder for CDKTF's output. These are left out. The embedded AWS is on this machine, so programs that use it get
no credentials and no proxies of the machine either.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

# The same name as in modules/settings.py. Set-up runs before packages are installed, so it cannot import that module.
LOCAL = "local"

# Prefixes of variables that change the programs: their interpreters, what they deploy, where they write.
_FAMILIES = ("CDKTF_", "CHECKOV_", "CKV_", "GIT_", "NODE_", "PIP_", "PIPENV_", "PYTHON", "TF_")
# Exceptions: variables with these prefixes that configure the network, a package index or a registry.
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
# Further variables that change the programs: of CDKTF and checkov, an old name of TF_CLI_CONFIG_FILE, those of a make
# that runs the tool, the one that writes TLS secrets into a file, and colours, which disturb tools that read output.
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
# Prefixes and names for the programs that people call in a shell of `local`.
_OF_SHELLS = ("CDKTF_", "NODE_", "TF_", "TERRAFORM_CONFIG", _HCL)
# Names that a shell can unset. A shell only passes on variables with other names.
_SHELL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FOLDERS = ("TMPDIR", "TMP", "TEMP")

# Variables that lead AWS SDKs, the AWS provider and the S3 backend to the embedded AWS (EmbeddedAws.environment).
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
# `[default]` in the user's ~/.aws may name an endpoint, a proxy or a certificate authority, or the file may be invalid.
NO_FILES_OF_AWS = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
LOOPBACK = ("127.0.0.1", "localhost")


def child_environment(
    variables: Mapping[str, str] | None = None, machine: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Make the environment of a program that a tool starts.

    For an AWS account, the program gets credentials, profile, region, proxies and certificate authorities of the
    machine. If ENVIRONMENT is `local`, it gets only the AWS variables that lead to the embedded AWS, which it reaches
    without a proxy. It reaches other hosts, such as the Terraform registry, with the network settings of the machine.
    Python uses UTF-8 in every locale.

    Args:
        variables: variables of the program, which override all others.
        machine: variables of the machine; by default those of this process.
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
    """Change the variables of this process so that boto3 and urllib know only the embedded AWS.

    All AWS variables are removed: each caller of the embedded AWS passes its own. This does not change settings.
    """
    made = child_environment({"ENVIRONMENT": LOCAL})
    os.environ.clear()
    os.environ.update({name: value for name, value in made.items() if not name.startswith("AWS_")}, **NO_FILES_OF_AWS)


def shell_lines(variables: Mapping[str, str], machine: Mapping[str, str], unset: Collection[str] = ()) -> list[str]:
    """Return shell lines that set up a shell for `local`, for AWS tools, Terraform and CDKTF.

    Args:
        variables: variables to set.
        machine: variables that the shell has.
        unset: further variables to unset, beside those that change these tools or lead them to another AWS.
    """
    lost = {name for name in machine if leads_elsewhere(name) or (name.startswith(_OF_SHELLS) and bends(name))}
    lost = {*lost, *unset} - variables.keys()
    names = sorted(name for name in lost if _SHELL_NAME.fullmatch(name))
    gained = {**variables, **without_proxy(machine)}
    unset_line = [f"unset {' '.join(names)}"] if names else []
    return [*unset_line, *(f"export {name}={shlex.quote(value)}" for name, value in gained.items())]


def cdktf_variables() -> dict[str, str]:
    """Return the variables that the cdktf command line passes to its app; main.py passes them on to CDKTF."""
    return {name: value for name, value in os.environ.items() if name.startswith("CDKTF_") or name == _HCL}


def bends(name: str) -> bool:
    """Return whether a variable changes the behaviour of programs that the tools start."""
    return name in _NAMES or (name.startswith(_FAMILIES) and name not in _NETWORK)


def leads_elsewhere(name: str) -> bool:
    """Return whether a variable makes AWS SDKs or TLS use something other than the embedded AWS."""
    if name.startswith("AWS_"):
        return name not in _LEADS_TO_EMBEDDED_AWS
    return name.startswith(("BOTO_", "BOTOCORE_")) or name == "SSLKEYLOGFILE"


def without_proxy(machine: Mapping[str, str]) -> dict[str, str]:
    """Return proxy variables that exclude loopback, beside the hosts that the machine already excludes."""
    # curl and Python prefer the lower-case name.
    known = machine.get("no_proxy") or machine.get("NO_PROXY") or ""
    named = [host.strip() for host in known.split(",") if host.strip()]
    hosts = known if named == ["*"] else ",".join([*named, *(host for host in LOOPBACK if host not in named)])
    return {"NO_PROXY": hosts, "no_proxy": hosts}
