"""The CDK that synthesizes: cdktf, which is archived, or its successor cdktn. Standard library only.

The source uses the names of cdktf. If only cdktn is installed, as in the environment of `make CDK=cdktn`, these names
stand for the packages of cdktn: the same module objects under two names.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType


class Cdk(NamedTuple):
    """The names of a CDK's packages in Python."""

    core: str
    provider: str


CDKTF = Cdk("cdktf", "cdktf_cdktf_provider_aws")
CDKTN = Cdk("cdktn", "cdktn_provider_aws")


def _is_installed(package: str) -> bool:
    # A package without a file of its own (`origin`) is a folder that happens to have this name.
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None


INSTALLED = CDKTN if _is_installed(CDKTN.core) and not _is_installed(CDKTF.core) else CDKTF
_NAMES = dict(zip(CDKTF, INSTALLED, strict=True))


class _Alias(MetaPathFinder, Loader):
    """Finds modules of the installed CDK by their names in cdktf."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname.partition(".")[0] in _NAMES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        package, dot, rest = spec.name.partition(".")
        module = importlib.import_module(f"{_NAMES[package]}{dot}{rest}")
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec again, which the import system has replaced by that of the alias."""
        if module.__spec__ is not None:
            module.__spec__ = module.__spec__.loader_state


def use() -> None:
    """Let the names of cdktf stand for the installed CDK; call before anything imports them."""
    if INSTALLED is not CDKTF and not any(isinstance(finder, _Alias) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Alias())
