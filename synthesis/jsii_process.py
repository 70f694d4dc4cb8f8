"""jsii's Node.js process without the relay in front of it, loading while Python still imports.

jsii (1.142, `bin/jsii-runtime.js`) starts a Node.js process that does nothing but start a second one, in which the
constructs live, and hand every message on, in both directions. A synthesis sends some 1,500 requests and waits for the
answer to each, so the relay costs two wake-ups a request. Here only the second process is started. What Python asks
it to load first, it loads while Python goes on with imports of its own.

One private class of jsii is replaced for that. What this relies on is looked for first; where a version of jsii has it
otherwise, one line on stderr says so and jsii starts its process as ever: slower, with the same Terraform JSON.
`SLUICE_STOCK_CDKTF=1` asks for that.
"""

from __future__ import annotations

import atexit
import os
import platform
import re
import socket
import subprocess
import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthesis.bindings import in_one_line, stock_is_asked_for
from synthesis.child_environment import cdktf_variables, child_environment
from synthesis.paths import BUILD

if TYPE_CHECKING:
    from jsii._kernel.providers.process import _NodeProcess
    from jsii._kernel.types import KernelRequest, KernelResponse

HELLO_SECONDS = 30.0
"""In which a process has to say that it is there."""

END_SECONDS = 5.0
"""In which a process has to end when its channel is closed, before it is killed; jsii gives it as long."""

# The relay's child talks through its file 3; the relay starts it with this option and adds nothing to a message.
_RELAY = (
    re.compile(r'"--preserve-symlinks",\(0,\w+\.resolve\)\(__dirname,"\.\.","lib","program\.js"\)'),
    re.compile(r"process\.stdin\.pipe\((\w+)\),\1\.pipe\(process\.stdout\)"),
)
_PROGRAM = re.compile(r"readFD:3,writeFD:3\b")
# A shell is how a program gets a socket as its file 3. What the program prints goes where Python's own output goes.
_WITH_FILE_3 = 'exec "$0" "$@" 3<&0 0</dev/null'


def quiet_node_banner() -> None:
    """Keep jsii's banner about the age of Node.js off stderr; call this before the first import of cdktf.

    A Node release that jsii no longer supports, or does not know yet, still works for CDKTF, and 12 lines of
    exclamation marks a run bury what matters. `make setup` refuses one that is too old. A value that the user has set
    wins.
    """
    majors = ",".join(str(major) for major in range(20, 41))
    os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", majors)  # jsii asks for major versions here
    os.environ.setdefault("JSII_SILENCE_WARNING_DEPRECATED_NODE_VERSION", "1")
    os.environ.setdefault("JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION", "1")


def find_room() -> None:
    """Let jsii unpack libraries in the clone if HOME is not writable; a folder that the user named is used first."""
    try:
        home = Path.home() / ".cache" / "aws" / "jsii" / "package-cache"
        home.mkdir(parents=True, exist_ok=True)
        usable = os.access(home, os.W_OK)
    except (OSError, RuntimeError):
        usable = False
    if not usable:
        os.environ.setdefault("JSII_RUNTIME_PACKAGE_CACHE_ROOT", str(BUILD / "jsii"))


def use() -> None:
    """Let jsii talk to its process directly; call before anything imports cdktf. Never raises.

    A runtime that the user names in `JSII_RUNTIME` is left to jsii.
    """
    quiet_node_banner()
    find_room()
    if stock_is_asked_for() or "JSII_RUNTIME" in os.environ:
        return
    try:
        from jsii._kernel.providers import process

        if "_NodeProcess" not in process.ProcessProvider._process.fget.__wrapped__.__code__.co_names:
            raise NotImplementedError("its process is another class")
        if process._NodeProcess.__module__ != __name__:
            process._NodeProcess = _direct()  # type: ignore[misc]
    except Exception as error:  # noqa: BLE001 - a short cut must never be the reason why a synthesis fails
        _say(error)


def _check(relay: str, program: str) -> None:
    """Check that the sources of jsii's two programs are those that this module knows.

    Raises:
        NotImplementedError: they are not.
    """
    if not all(part.search(relay) for part in _RELAY):
        raise NotImplementedError("its relay is not the one that Sluice knows")
    if not _PROGRAM.search(program):
        raise NotImplementedError("its program does not talk through file 3")


def _direct() -> type[_NodeProcess]:  # noqa: C901 - a class whose base is imported late
    """Return the class that takes the place of jsii's."""
    from jsii._kernel.providers.process import _NodeProcess
    from jsii._kernel.types import LoadRequest, LoadResponse

    class Direct(_NodeProcess):
        """A process that Python talks to directly, and that loads in the background."""

        def start(self) -> None:
            """Start the process in the background."""
            self._is_stock = False
            self._channel: socket.socket | None = None
            self._background = ThreadPoolExecutor(1, "jsii")
            self._unanswered: deque[Future[Any]] = deque([self._background.submit(self._start)])
            atexit.register(self.stop)

        def _start(self) -> None:
            try:
                self._start_directly()
            except Exception as error:  # noqa: BLE001 - whatever it is, the stock process may do
                self._hang_up()
                _say(error)
                self._is_stock = True
                super().start()  # type: ignore[no-untyped-call]

        def _start_directly(self) -> None:
            relay = Path(self._jsii_runtime())
            program = relay.parents[1] / "lib" / "program.js"
            _check(relay.read_text(encoding="utf-8"), program.read_text(encoding="utf-8"))
            node = os.environ.get("JSII_NODE", "node")
            # The options are those that the relay is started with, and starts it with.
            words = [node, "--max-old-space-size=4069", "--preserve-symlinks", str(program)]
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    ["sh", "-c", _WITH_FILE_3, *words],
                    stdin=theirs.fileno(),
                    env=child_environment({**cdktf_variables(), "JSII_AGENT": f"Python/{platform.python_version()}"}),
                )
            self._channel = ours
            self._process.stdin, self._process.stdout = ours.makefile("wb"), ours.makefile("rb")
            ours.settimeout(HELLO_SECONDS)
            self.handshake()
            ours.settimeout(None)

        def send(self, request: KernelRequest, response_type: type[KernelResponse]) -> KernelResponse:
            """Send a request and return the answer; that of a load, which holds nothing, is awaited with the next.

            Raises:
                RuntimeError: the process, or a load before, refused.
            """
            if isinstance(request, LoadRequest):
                self._unanswered.append(self._background.submit(super().send, request, response_type))
                return LoadResponse(assembly=request.name, types=0)
            while self._unanswered:
                self._unanswered.popleft().result()
            return super().send(request, response_type)

        def stop(self) -> None:
            """End the process."""
            self._background.shutdown()
            atexit.unregister(self.stop)
            if self._is_stock:
                super().stop()
            else:
                self._hang_up()
                self._ctx_stack.close()

        def _hang_up(self) -> None:
            """Close the channel, which ends the process."""
            if self._channel is None:
                return
            for file in (self._process.stdin, self._process.stdout, self._channel):
                if file is not None:
                    with suppress(OSError):
                        file.close()
            self._channel = None
            try:
                self._process.wait(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    return Direct


def _say(error: Exception) -> None:
    print(f"jsii: started as ever, synthesis will be slower: {in_one_line(error)}", file=sys.stderr)
