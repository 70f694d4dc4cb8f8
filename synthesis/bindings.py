"""Provider bindings with only what the app imports, so that a synthesis takes one second instead of twelve.

`cdktf_cdktf_provider_aws` loads 2,135 submodules in Python and again in Node, whatever an app uses, and mypy reads all
of them. `cdktn_provider_aws`, its successor, loads all of them in Node. This module writes a copy of the installed
package with only the submodules that the app names, below `.build/bindings/KEY/`, and puts it first on `sys.path`. The
copy only uses public file formats: a Python package, and the tarball of a jsii assembly. Nothing in jsii or Node is
patched, and the Terraform JSON is the same to the byte.

Whatever is not as this module knows it (the layout of the package, the tarball, the assembly) leads to the installed
package and one line on stderr: slow and right, never fast and half there. `SLUICE_STOCK_CDKTF=1` asks for that.

`python -m synthesis.bindings [FOLDER...]` builds the copy for a type checker (`mypy_path = .build/bindings/current`).
"""

from __future__ import annotations

import argparse
import ast
import compileall
import contextlib
import gzip
import hashlib
import importlib.abc
import importlib.metadata
import io
import json
import os
import posixpath
import py_compile
import re
import secrets
import shutil
import subprocess
import sys
import tarfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthesis.cdk import CDKTF, INSTALLED
from synthesis.child_environment import child_environment
from synthesis.paths import ENVIRONMENTS

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

PACKAGE = INSTALLED.provider
DISTRIBUTION = PACKAGE.replace("_", "-")
IN_SOURCE = CDKTF.provider
"""The name of the package in the app's source."""
STOCK_VARIABLE = "SLUICE_STOCK_CDKTF"
DEFAULT_FOLDERS = ("main.py", "stacks", "modules", "examples")

FORMAT = 1
"""Of the copy. Raise it when the same submodules of the same provider version shall give other bytes."""

KEPT_KEYS = 3
GRACE_SECONDS = 600
"""A copy that was used this recently is not removed: a process may still import from it."""

_ALWAYS = frozenset({"provider"})
# The environment of `make CDK=NAME` has a store of its own, so that `current` there is for its packages.
_OWN_NAME = Path(sys.prefix).name if Path(sys.prefix).resolve().parent == ENVIRONMENTS else ""
_STORE = Path(".build", f"bindings-{_OWN_NAME}" if _OWN_NAME else "bindings")
_MANIFEST = "bindings.json"
_CURRENT = "current"

# What the reducer knows how to reduce. A new key or a feature may carry references that it would overlook.
_ASSEMBLY_SCHEMA = "jsii/0.10.0"
_ASSEMBLY_KEYS = frozenset(
    {"author", "bin", "bundled", "contributors", "dependencies", "dependencyClosure", "description", "docs"}
    | {"fingerprint", "homepage", "jsiiVersion", "keywords", "license", "metadata", "name", "readme", "repository"}
    | {"schema", "submodules", "targets", "types", "usedFeatures", "version"}
)
_CHANGED_FINGERPRINT = "**********"
"""What jsii's own tools write into an assembly that they have modified."""

_NPM_EPOCH = 499162500
"""Seconds. The time stamp (26 October 1985) that npm gives every file of a tarball."""

_MYPY_COMMENT = b"\n# mypy: ignore-errors\n"
"""mypy reports what it finds in `mypy_path`, unlike in installed packages, and generated code is not strict."""

_INDEX = "lib/index.js"
_JS_EXPORT = re.compile(
    r'exports\.(\w+) = (?:require\("\./([\w./-]+)"\)|__importStar\(require\("\./([\w./-]+)/index"\)\));'
)
# Functions that TypeScript writes for `export * as`. They return an ES module as it is, and every submodule is one.
_JS_HELPERS = re.compile(r"^var __createBinding = .*?^var __importStar = .*?^\}\)\(\);\n", re.DOTALL | re.MULTILINE)
_JS_HELPERS_SHA256 = "369ecd80f96eb82ea76733d95495a17d54d7eef20ddf1005f9ca58105e139c25"
_JS_BOILERPLATE = re.compile(
    r'"use strict";|//.*|/\*\*?|\s\*.*|Object\.defineProperty\(exports, "__esModule", \{ value: true \}\);'
    r"|exports\.\w+ = (?:exports\.\w+ = )*void 0;|"
)
_JS_REQUIRE = re.compile(r"""\brequire\((?:"([^"]+)"|'([^']+)'|)""")
_PLAIN_IMPORT = re.compile(rf"^[ \t]*from {IN_SOURCE}\.(\w+)[.\w]* import ".encode(), re.MULTILINE)
_PY_SIBLING = re.compile(rf"^\s*(?:from \.\.(\w+)|(?:from|import) {PACKAGE}\.(\w+))", re.MULTILINE)


class BindingsError(Exception):
    """The installed provider package differs from the one that this module knows; the message has the difference."""


def imported_submodules(roots: Iterable[Path]) -> frozenset[str]:
    """Return the provider submodules that the `.py` files at and below `roots` name, and `provider`.

    Files are read, not imported. `from PACKAGE.x import ...`, `import PACKAGE.x`, `from PACKAGE import x` count, and
    so does `aws.x` after `import PACKAGE as aws`, where PACKAGE is `IN_SOURCE`. A file that cannot be read or parsed
    raises nothing, since importing it raises the error that its author needs to see. Names are not checked against the
    installed package. A root that does not exist adds nothing.
    """
    found = set(_ALWAYS)
    for root in roots:
        files = sorted(root.rglob("*.py")) if root.is_dir() else [root] if root.is_file() else []
        for file in files:
            with contextlib.suppress(OSError, SyntaxError, ValueError), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # as errors (pytest), they would hide the file from this search
                source = file.read_bytes()
                # A search of bytes is a hundred times faster than a parse, which most files can do without.
                plain = _PLAIN_IMPORT.findall(source)
                if source.count(IN_SOURCE.encode()) == len(plain):
                    found |= {name.decode() for name in plain}
                else:
                    found |= _named_in(ast.parse(source))
    return frozenset(found)


def _named_in(tree: ast.Module) -> set[str]:
    """Return the submodules of the package that a module imports or reaches as attributes of the package."""
    found: set[str] = set()
    whole: set[str] = set()  # names in this file that stand for the package as a whole
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module is not None:
            package, _, rest = node.module.partition(".")
            if package == IN_SOURCE:
                found |= {rest.partition(".")[0]} if rest else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            ours = [alias for alias in node.names if alias.name.partition(".")[0] == IN_SOURCE]
            found |= {alias.name.split(".")[1] for alias in ours if "." in alias.name}
            whole |= {alias.asname or IN_SOURCE for alias in ours if alias.asname is None or alias.name == IN_SOURCE}
    if whole:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in whole:
                found.add(node.attr)
    return found - {"*"}


def build(submodules: Iterable[str], destination: Path, installed: Path | None = None, *, tried: bool = False) -> Path:
    """Write a copy of the provider package that holds `submodules` and what they refer to; return `destination`.

    `destination` is the folder to put on `sys.path`. It appears complete or not at all, and two processes may build it
    at once. The same submodules of the same installed package give the same bytes. A submodule that the installed
    package lacks is left out, so that importing it raises ModuleNotFoundError as usual.

    `installed` is the package's folder, by default that of the installed distribution, which is read and not imported.
    `tried` imports the copy in a process of its own before it appears.

    Raises BindingsError if the package is not as expected or the copy cannot be imported, and OSError if something
    cannot be read or written.
    """
    requested = frozenset(submodules)
    files, kept = _reduce(_read_package(installed or _locate()), requested | _ALWAYS)
    manifest = {
        "format": FORMAT,
        "requested": sorted(requested),
        "submodules": sorted(kept),
        "files": {name: len(data) for name, data in sorted(files.items())},
    }
    files[_MANIFEST] = json.dumps(manifest, indent=1).encode() + b"\n"

    destination.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(destination)
    try:
        for name, data in files.items():
            path = draft / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        # Python would do this at the first import, but not where it may not write (read-only folders, or
        # PYTHONDONTWRITEBYTECODE as in many container images): there it would compile again in every run.
        compileall.compile_dir(
            draft,
            stripdir=str(draft),
            prependdir=str(destination),
            quiet=2,
            invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
        )
        if tried:
            _try(draft)
        if destination.exists() and _manifest(destination) is None:
            _remove(destination)  # a damaged copy, for example from a cache that was restored in part
        try:
            draft.rename(destination)
        except OSError:
            if _manifest(destination) is None:
                raise
            # Another process was faster, and what it wrote is the same.
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return destination


def use(root: Path, extra: Iterable[Path] = ()) -> None:
    """Make `import cdktf_cdktf_provider_aws...` find a copy with only the submodules that the app imports.

    Call it before anything imports the provider; afterwards it only says that it came too late. `root` is the
    repository's folder: `main.py`, `stacks`, `modules` and `examples` there are searched for imports, and so are the
    files and folders in `extra`. Calls add up within one process. The copy is built if it is not there yet (some
    seconds, one line on stderr). Never raises: if the copy cannot be made, one line on stderr says why, and the
    installed package serves.
    """
    if stock_is_asked_for():
        return
    root = root.resolve()
    if (imported := sys.modules.get(PACKAGE)) is not None:
        if root / _STORE not in Path(getattr(imported, "__file__", None) or "").resolve().parents:
            _say("using the whole AWS provider package, synthesis is slow: it was imported before boot() was called")
        return
    earlier = [entry for entry in sys.path if Path(entry).parent == root / _STORE]
    sys.path[:] = [entry for entry in sys.path if entry not in earlier]
    try:
        wanted = imported_submodules([*(root / name for name in DEFAULT_FOLDERS), *extra])
        for entry in earlier:
            wanted |= set((_manifest(Path(entry)) or {}).get("requested", ()))
        installed = _locate()
        path = _prepare(root, wanted)
    except Exception as error:  # noqa: BLE001 - a short cut must never be the reason why a synthesis fails
        _say(f"using the whole AWS provider package, synthesis will be slow: {in_one_line(error)}")
        return
    sys.path.insert(0, str(path))
    sys.meta_path[:] = [*(finder for finder in sys.meta_path if not isinstance(finder, _Hint)), _Hint(installed)]


def in_one_line(error: Exception) -> str:
    """Return the first line of an error, or its name if it has no text."""
    return " ".join(str(error).split()) or type(error).__name__


def stock_is_asked_for() -> bool:
    """Return whether the environment asks for the unmodified CDKTF, without the changes that make it fast."""
    return os.environ.get(STOCK_VARIABLE, "0") not in ("", "0")


def main(arguments: Sequence[str] | None = None, root: Path | None = None) -> int:
    """Build the copy for the given folders (by default the app's), print its stable path, return the exit code."""
    root = (root or Path(__file__).parent.parent).resolve()
    parser = argparse.ArgumentParser(prog="python -m synthesis.bindings", description="Build the slimmed AWS bindings.")
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER", help=f"searched for imports (default: {DEFAULT_FOLDERS})"
    )
    folders = parser.parse_args(arguments).folders or [root / name for name in DEFAULT_FOLDERS]
    try:
        path = _prepare(root, imported_submodules(folders))
        _point_current(path)
    except (BindingsError, OSError) as error:
        _say(str(error))
        return 1
    print(path.parent / _CURRENT)
    return 0


# The store: .build/bindings/KEY, and `current` beside the keys.


def _prepare(root: Path, submodules: frozenset[str]) -> Path:
    """Return the copy for `submodules` below `root`, building it if it is not there."""
    subject = json.dumps([FORMAT, _installed_version(), _jsii_version(), sorted(submodules)])
    path = root / _STORE / hashlib.sha256(subject.encode()).hexdigest()[:16]
    if _manifest(path) is not None:
        with contextlib.suppress(OSError):  # a read-only copy serves as well
            os.utime(path)
        return path
    started = time.monotonic()
    build(submodules, path, tried=True)
    took = time.monotonic() - started
    _say(f"built the AWS bindings that this app imports ({len(submodules)} submodules) in {took:.1f} s")
    with contextlib.suppress(OSError):  # both are for convenience
        _point_current(path)
        _prune(path.parent)
    return path


def _try(path: Path) -> None:
    """Import a new copy as an app does. What a later jsii refuses shows here, and not in the middle of a synthesis."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {PACKAGE}"],
        env=child_environment({"PYTHONPATH": os.pathsep.join([str(path), *sys.path])}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise BindingsError(f"the slimmed copy cannot be imported: {said[-1] if said else 'no reason given'}")


def _manifest(folder: Path) -> dict[str, Any] | None:
    """Return what the copy in `folder` says of itself, or None if it is not there or not whole."""
    try:
        manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_bytes())
        whole = all((folder / name).stat().st_size == size for name, size in manifest["files"].items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return manifest if whole else None


def _draft(final: Path) -> Path:
    """Create a folder beside `final` under a name of its own, to be renamed when it is complete."""
    draft = final.with_name(f".{final.name}.{os.getpid()}.{secrets.token_hex(4)}")
    draft.mkdir()
    return draft


def _remove(path: Path) -> None:
    """Remove a folder so that no process sees a partly removed one."""
    doomed = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def _point_current(path: Path) -> None:
    """Let `current` stand for the copy at `path`: a symbolic link, or a second copy where links are not allowed."""
    current = path.with_name(_CURRENT)
    if current.is_symlink() and current.readlink() == Path(path.name):
        return
    draft = _draft(current)
    try:
        new = draft / _CURRENT
        try:
            new.symlink_to(path.name)
        except OSError:
            shutil.copytree(path, new, ignore=shutil.ignore_patterns("__pycache__"))
        if current.is_dir() and not (current.is_symlink() and new.is_symlink()):
            _remove(current)
        new.replace(current)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _prune(store: Path) -> None:
    """Remove all but the most recently used copies, and leftovers of killed processes."""
    now = time.time()
    current = (store / _CURRENT).resolve()
    keys = [path for path in store.iterdir() if path.is_dir() and path.name != _CURRENT]
    ages = {path: now - path.stat().st_mtime for path in keys}
    finished = sorted((path for path in keys if not path.name.startswith(".")), key=lambda path: ages[path])
    old = [path for path in finished[KEPT_KEYS:] if path != current]
    for path in [*old, *(path for path in keys if path.name.startswith("."))]:
        if ages[path] > GRACE_SECONDS:
            _remove(path)


def _say(message: str) -> None:
    print(f"bindings: {message}", file=sys.stderr)


class _Hint(importlib.abc.MetaPathFinder):
    """The last import finder: its error says why a submodule of the installed package is not found."""

    def __init__(self, installed: Path) -> None:
        self._installed = installed

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package == PACKAGE and name and (self._installed / name / "__init__.py").is_file():
            raise ModuleNotFoundError(
                f"{fullname} is installed, but not in the slimmed copy of the provider, since no file that "
                f"synthesis.bindings reads imports it by name (or set {STOCK_VARIABLE}=1)",
                name=fullname,
            )
        return None


# The installed package.


@dataclass(frozen=True)
class _Package:
    """The checked metadata of the installed package."""

    folder: Path
    root_source: str
    submodules: frozenset[str]
    assembly: str
    version: str
    tarball: Path


def _installed_version() -> str:
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise BindingsError(f"{DISTRIBUTION} is not installed") from None


def _jsii_version() -> str:
    """Return the version of jsii, which loads the copy; another version has to try the copy first."""
    try:
        return importlib.metadata.version("jsii")
    except importlib.metadata.PackageNotFoundError:
        raise BindingsError("jsii is not installed") from None


def _locate() -> Path:
    # By the distribution and not by the import system, which would find a copy of ours that is on sys.path already.
    try:
        distribution = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise BindingsError(f"{DISTRIBUTION} is not installed") from None
    return Path(str(distribution.locate_file(PACKAGE)))


def _read_package(folder: Path) -> _Package:
    root = folder / "__init__.py"
    if not root.is_file():
        raise BindingsError(f"the provider package has no {root.name}")
    source = _decoded(root.read_bytes(), "the provider's __init__.py")
    listed, loaded = _root_names(_parse(source, root.name))
    present = {entry.name for entry in os.scandir(folder) if entry.is_dir()} - {"_jsii", "__pycache__"}
    if not listed or not (set(listed) == set(loaded) == present):
        raise BindingsError("the provider's __init__.py does not list and load exactly the submodules that are there")

    loader = folder / "_jsii" / "__init__.py"
    if not loader.is_file():
        raise BindingsError("the provider package has no _jsii/__init__.py")
    calls = [
        node
        for node in ast.walk(_parse(_decoded(loader.read_bytes(), "_jsii/__init__.py"), "_jsii/__init__.py"))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load"
    ]
    arguments = [argument.value for argument in calls[0].args if isinstance(argument, ast.Constant)] if calls else []
    if len(calls) != 1 or len(calls[0].args) != 4 or len(arguments) != 3:
        raise BindingsError("the provider's _jsii/__init__.py does not load one assembly as expected")
    assembly, version, tarball = (str(argument) for argument in arguments)
    if not (folder / "_jsii" / tarball).is_file():
        raise BindingsError(f"the provider package has no tarball {tarball}")
    return _Package(folder, source, frozenset(present), assembly, version, folder / "_jsii" / tarball)


def _parse(source: str, name: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError) as error:
        raise BindingsError(f"the provider's {name} cannot be parsed: {error}") from None


def _assigned(node: ast.stmt) -> str:
    return ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) and len(node.targets) == 1 else ""


def _root_names(tree: ast.Module) -> tuple[list[str], list[str]]:
    """Return the names in `__all__`, and those loaded by `from . import NAME` or, when first used, `_SUBMODULES`."""
    listed: list[str] = []
    loaded: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List | ast.Set):
            names = [str(item.value) for item in node.value.elts if isinstance(item, ast.Constant)]
            listed += names if _assigned(node) == "__all__" else []
            loaded += names if _assigned(node) == "_SUBMODULES" else []
        elif isinstance(node, ast.ImportFrom) and node.level == 1 and node.module is None:
            loaded += [alias.name for alias in node.names if alias.asname is None]
    return listed, loaded


# The reduction.


def _reduce(package: _Package, requested: frozenset[str]) -> tuple[dict[str, bytes], frozenset[str]]:
    """Return the files of the copy by their path, and the submodules it holds."""
    names = requested & package.submodules
    folders = {name.replace("_", "-") for name in names}
    while True:
        # The tarball takes seconds to read, so it is read once, for the folders that these names have had in every
        # version so far. If the index says otherwise, or if something refers further, it is read again.
        tarball = _Tarball(package, folders)
        kept, code, unread = _closure(package, tarball, names)
        if not unread:
            break
        folders |= unread

    files = {
        f"{PACKAGE}/__init__.py": _reduced_root(package.root_source, frozenset(kept)).encode(),
        f"{PACKAGE}/_jsii/__init__.py": (package.folder / "_jsii" / "__init__.py").read_bytes(),
        f"{PACKAGE}/_jsii/{package.tarball.name}": tarball.reduced(frozenset(kept.values()), code),
    }
    if (package.folder / "py.typed").is_file():
        files[f"{PACKAGE}/py.typed"] = (package.folder / "py.typed").read_bytes()
    for name in kept:
        for path in sorted((package.folder / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                files[f"{PACKAGE}/{path.relative_to(package.folder).as_posix()}"] = path.read_bytes()
    for name in files:
        if name.endswith(".py"):  # at the end, so that lines keep their numbers
            files[name] += _MYPY_COMMENT
    return files | _type_aliases(kept), frozenset(kept)


def _type_aliases(submodules: Iterable[str]) -> dict[str, bytes]:
    """Return what tells type checkers that the names in the source stand for the installed CDK (synthesis/cdk.py)."""
    if INSTALLED is CDKTF:
        return {}
    aliases = {CDKTF.core: INSTALLED.core, CDKTF.provider: INSTALLED.provider}
    aliases |= {f"{CDKTF.provider}/{name}": f"{INSTALLED.provider}.{name}" for name in submodules}
    return {f"{path}/__init__.pyi": f"from {module} import *\n".encode() for path, module in aliases.items()}


def _closure(
    package: _Package, tarball: _Tarball, names: Iterable[str]
) -> tuple[dict[str, str], frozenset[str], frozenset[str]]:
    """Return `names` and all they refer to, with their names in jsii; their JavaScript; folders of it not yet read.

    In provider 20.1.0 no submodule refers to another one. That is a fact of this version and not a promise, so it is
    looked at each time: in Python's imports, in the types of the assembly, and in what the JavaScript requires.
    """
    kept: dict[str, str] = {}
    code: set[str] = set()
    unread: set[str] = set()
    waiting = sorted(names)
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        kept[name] = jsii_name = _jsii_name(package, name)
        siblings = {first or second for first, second in _PY_SIBLING.findall(_python_source(package, name))} - {"_jsii"}
        if unknown := siblings - package.submodules:
            raise BindingsError(f"{name} imports {sorted(unknown)}, which the provider package does not have")
        required, missing = tarball.required_by(jsii_name)
        code |= required
        unread |= missing
        for other in sorted(tarball.referred_to_by(jsii_name) | tarball.owners(required)):
            siblings.add(_python_name(package, other))
        waiting += sorted(siblings)
    return kept, frozenset(code), frozenset(unread)


def _python_source(package: _Package, name: str) -> str:
    path = package.folder / name / "__init__.py"
    if not path.is_file():
        raise BindingsError(f"the provider's submodule {name} is not a package")
    return _decoded(path.read_bytes(), f"the provider's submodule {name}")


def _jsii_name(package: _Package, name: str) -> str:
    declared = rf'\bjsii_type="{re.escape(package.assembly)}\.(\w+)\.\w+"'
    found = set(re.findall(declared, _python_source(package, name)))
    if len(found) != 1:
        raise BindingsError(f"the Python submodule {name} does not stand for one submodule of the assembly")
    return str(found.pop())


def _python_name(package: _Package, jsii_name: str) -> str:
    for name in sorted(package.submodules):
        # jsii makes one name from the other by rules with exceptions, so the rule proposes and the source decides.
        if name.replace("_", "") == jsii_name.lower() and _jsii_name(package, name) == jsii_name:
            return name
    raise BindingsError(f"no Python submodule is known for {jsii_name} of the assembly")


def _reduced_root(source: str, kept: frozenset[str]) -> str:
    """Return the package's `__init__.py` with the lists cut down to `kept`, everything else as it was."""
    lines = [f"{line}\n" for line in source.split("\n")]  # not splitlines(), which counts more line ends than `ast`
    for node in ast.parse(source).body:
        text: str | None = None
        if _assigned(node) in ("__all__", "_SUBMODULES"):
            first, last = "[]" if _assigned(node) == "__all__" else "{}"
            text = f"{_assigned(node)} = {first}\n" + "".join(f'    "{name}",\n' for name in sorted(kept)) + f"{last}\n"
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "typing.TYPE_CHECKING":
            # Its imports are for type checkers, which find the submodules of this copy without them.
            text = ""
        elif isinstance(node, ast.ImportFrom) and node.level == 1 and node.module is None:
            names = sorted({alias.name for alias in node.names} & kept)
            text = "".join(f"from . import {name}\n" for name in names)
        elif isinstance(node, ast.Assign | ast.ImportFrom) and "extend_path" in ast.unparse(node):
            # It would put the installed package back behind this one, and a submodule that was left out would be
            # found there, only to fail later for want of its half in the assembly.
            text = ""
        if text is not None:
            lines[node.lineno - 1 : node.end_lineno] = [text] + [""] * ((node.end_lineno or node.lineno) - node.lineno)
    return "".join(lines).removesuffix("\n")


class _Tarball:
    """The jsii assembly of the provider: an npm tarball with `.jsii` (its types) and `lib` (its JavaScript)."""

    def __init__(self, package: _Package, folders: Iterable[str]) -> None:
        """Read what is outside `lib`, directly in it, and in these folders of it. Declarations (.d.ts) are left."""
        self._files = _members(package.tarball, frozenset(folders))
        self._read = frozenset(folders)
        self._exports = _index_exports(self._text(_INDEX))
        self._owners = {target: name for name, target in self._exports.items()}
        self._prefix = f"{package.assembly}."
        self._assembly = self._checked_assembly(package)

        manifest = _object(_json(self._text("package.json"), "package.json"), "package.json")
        if manifest.get("main") != _INDEX or "exports" in manifest:
            raise BindingsError(f"the assembly's entry point is not only {_INDEX}")

    def _text(self, name: str) -> str:
        if name not in self._files:
            raise BindingsError(f"the assembly's tarball has no {name}")
        return _decoded(self._files[name], f"{name} of the assembly")

    def _checked_assembly(self, package: _Package) -> dict[str, Any]:
        assembly = _object(_json(self._text(".jsii"), ".jsii"), ".jsii")
        if assembly.get("schema") != _ASSEMBLY_SCHEMA:
            raise BindingsError(f"the assembly has schema {assembly.get('schema')!r}, known is {_ASSEMBLY_SCHEMA}")
        if unknown := assembly.keys() - _ASSEMBLY_KEYS:
            raise BindingsError(f"the assembly has unknown keys: {', '.join(sorted(unknown))}")
        if assembly.get("usedFeatures"):
            raise BindingsError(f"the assembly uses features not known here: {assembly['usedFeatures']}")
        if (assembly.get("name"), assembly.get("version")) != (package.assembly, package.version):
            raise BindingsError("the assembly's name or version is not the one that the Python package loads")
        submodules = {f"{self._prefix}{name}" for name in self._exports}
        if _object(assembly.get("submodules"), "submodules").keys() != submodules:
            raise BindingsError(f"the assembly's submodules and the exports of {_INDEX} are not the same")
        for fqn in _object(assembly.get("types"), "types"):
            if fqn.rpartition(".")[0] not in submodules:
                raise BindingsError(f"the type {fqn} of the assembly is in none of its submodules")
        self._types: dict[str, list[str]] = {}
        for fqn in assembly["types"]:
            self._types.setdefault(self._submodule(fqn), []).append(fqn)
        return assembly

    def _submodule(self, fqn: str) -> str:
        return fqn.removeprefix(self._prefix).partition(".")[0]

    def referred_to_by(self, submodule: str) -> frozenset[str]:
        """Return the jsii submodules whose types those of `submodule` refer to. Raises if such a type is missing."""
        types = self._assembly["types"]
        found = set()
        for fqn in self._types.get(submodule, ()):
            for reference in _references(types[fqn], self._prefix):
                if reference not in types:
                    raise BindingsError(f"the type {fqn} refers to {reference}, which the assembly does not have")
                found.add(self._submodule(reference))
        return frozenset(found)

    def owners(self, code: Iterable[str]) -> frozenset[str]:
        """Return the jsii submodules whose entry points are among these files."""
        entries = (name.removeprefix("lib/").removesuffix(".js").removesuffix("/index") for name in code)
        return frozenset(self._owners[entry] for entry in entries if entry in self._owners)

    def required_by(self, submodule: str) -> tuple[frozenset[str], frozenset[str]]:
        """Return the files that the jsii submodule loads, and the folders of others it loads that were not read."""
        if submodule not in self._exports:
            raise BindingsError(f"{_INDEX} of the assembly does not export {submodule}")
        found: set[str] = set()
        unread: set[str] = set()
        waiting = [posixpath.join("lib", self._exports[submodule])]
        while waiting:
            target = waiting.pop()
            file = next((name for name in (target, f"{target}.js", f"{target}/index.js") if name in self._files), None)
            if file is None:
                _, folder, *_ = [*target.split("/"), ""]
                if folder in self._read:
                    raise BindingsError(f"the assembly's tarball has no JavaScript for {target}")
                unread.add(folder)
            elif file not in found:
                found.add(file)
                beside = (posixpath.join(posixpath.dirname(file), name) for name in _requires(file, self._text(file)))
                waiting += map(posixpath.normpath, beside)
        return frozenset(found), frozenset(unread)

    def reduced(self, submodules: frozenset[str], code: Iterable[str]) -> bytes:
        """Return a tarball with only these jsii submodules and these files of `lib`. The same input, the same bytes."""
        assembly = dict(self._assembly)
        for key in ("types", "submodules"):
            assembly[key] = {fqn: v for fqn, v in assembly[key].items() if self._submodule(fqn) in submodules}
        assembly["fingerprint"] = _CHANGED_FINGERPRINT
        open_ends = set(_references(assembly["types"], self._prefix)) - assembly["types"].keys()
        if open_ends:
            raise BindingsError(f"the reduced assembly would lack {sorted(open_ends)[0]}")

        files = {name: data for name, data in self._files.items() if not name.startswith("lib/")}
        files |= {name: self._files[name] for name in code}
        files[".jsii"] = json.dumps(assembly, separators=(",", ":")).encode()
        lines = [f'exports.{name} = require("./{self._exports[name]}");' for name in sorted(submodules)]
        head = ['"use strict";', 'Object.defineProperty(exports, "__esModule", { value: true });']
        files[_INDEX] = "\n".join([*head, *lines, ""]).encode()
        return _tar(files)


def _members(tarball: Path, folders: frozenset[str]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(tarball, "r|gz") as archive:
            for member in archive:
                top, _, name = member.name.partition("/")
                if member.isdir():
                    continue
                if not member.isfile() or top != "package":
                    raise BindingsError(f"the assembly's tarball holds something unexpected: {member.name}")
                parts = name.split("/")
                if name.endswith(".d.ts") or (parts[0] == "lib" and len(parts) > 2 and parts[1] not in folders):
                    continue
                stream = archive.extractfile(member)
                files[name] = stream.read() if stream else b""
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BindingsError(f"the assembly's tarball cannot be read: {error}") from None
    return files


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    # The name and the time of the gzip header would otherwise differ from one build to the next.
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=buffer, mtime=0) as stream,
        tarfile.open(mode="w", fileobj=stream, format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, data in sorted(files.items()):
            member = tarfile.TarInfo(f"package/{name}")
            member.size, member.mtime, member.mode = len(data), _NPM_EPOCH, 0o644
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _index_exports(source: str) -> dict[str, str]:
    """Return what `lib/index.js` exports, with the path of each below `lib`. Raises at any line it does not know."""
    exports: dict[str, str] = {}
    helpers = _JS_HELPERS.search(source)
    if helpers and hashlib.sha256(helpers[0].encode()).hexdigest() == _JS_HELPERS_SHA256:
        source = source.replace(helpers[0], "", 1)
    for line in source.splitlines():
        if match := _JS_EXPORT.fullmatch(line):
            exports[match[1]] = match[2] or match[3]
        elif not _JS_BOILERPLATE.fullmatch(line):
            raise BindingsError(f"{_INDEX} of the assembly has an unexpected line: {line[:80]}")
    return exports


def _requires(name: str, source: str) -> list[str]:
    """Return the relative paths that a JavaScript file requires. Raises if one is not a literal."""
    found = []
    for first, second in _JS_REQUIRE.findall(source):
        if not (target := first or second):
            raise BindingsError(f"{name} of the assembly requires something that is not a literal")
        if target.startswith("."):
            found.append(target)
    return found


def _references(value: object, prefix: str) -> Iterator[str]:
    """Yield every string in a JSON value that starts with `prefix`. Prose (`docs`) refers to nothing."""
    if isinstance(value, str):
        if value.startswith(prefix):
            yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key != "docs":
                yield from _references(item, prefix)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item, prefix)


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BindingsError(f"{name} is not UTF-8: {error}") from None


def _json(text: str, name: str) -> object:
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise BindingsError(f"{name} of the assembly is not JSON: {error}") from None
    return value


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BindingsError(f"{name} of the assembly is not a JSON object")
    return value


if __name__ == "__main__":
    sys.exit(main())
