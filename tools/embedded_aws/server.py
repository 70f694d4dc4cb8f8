"""Serve the embedded AWS over TLS on loopback: python -m PACKAGE.server --port N --state DIR.

Runs in the interpreter of a virtual environment that holds what [embedded-aws] in the Pipfile names. The state
directory holds everything: see layout.py. SIGTERM and SIGINT stop the server and save its state; SIGKILL loses what
happened since the start, except the objects of S3.
"""

# mypy: disable-error-code="import-not-found"
import argparse
import asyncio
import asyncio.constants
import fcntl
import os
import shutil
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from . import certificates
from .layout import LOOPBACK, Layout, Record
from .proxy import Proxy

# What a failed asynchronous invocation waits before its second attempt, doubled for the third; AWS waits minutes.
ASYNC_RETRY_BASE_SECONDS = 0.2
ASYNC_RETRY_MAX_SECONDS = 1.0
# How long a stop waits for connections that clients keep open.
GRACE_SECONDS = 0.5


class StartError(RuntimeError):
    """The server cannot start; the message is for its user."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a stop; return the exit code: 0 after a stop, 1 if the server could not start."""
    options = _parser().parse_args(arguments)
    layout = Layout(options.state.resolve())
    try:
        layout.directory.mkdir(parents=True, exist_ok=True)
        # Held until the process ends.
        lock = _lock(layout)
        secure, plain, tunnels = _listen(options.port), _listen(0), _listen(0)
        authority, certificate, key = certificates.ensure(layout.tls)
    except (StartError, OSError) as error:
        print(f"embedded AWS: {error}", file=sys.stderr)
        return 1
    _empty(layout.temporary)
    environment = _environment(layout, options, certificate, key, os.environ)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = str(layout.temporary)

    # ministack reads its environment when it is imported.
    from . import fidelity

    settings = fidelity.Settings(
        endpoint_url=f"https://{LOOPBACK}:{options.port}",
        ca_bundle=authority,
        proxy_url=f"http://{LOOPBACK}:{tunnels.getsockname()[1]}" if options.host_names else None,
        lambda_python=options.lambda_python,
        iam_log=options.iam_log and options.iam_log.resolve(),
    )
    try:
        fidelity.apply_all(settings, options.without_fix)
    except fidelity.FidelityError as error:
        print(f"embedded AWS: {error}", file=sys.stderr)
        return 1
    plain_port, proxy_port = (listener.getsockname()[1] for listener in (plain, tunnels))
    Record(os.getpid(), options.port, plain_port, proxy_port, options.region).write(layout.record)
    print(f"embedded AWS: ministack {fidelity.ministack_version()} at {settings.endpoint_url}", flush=True)
    try:
        asyncio.run(_serve(secure, plain, tunnels, certificate, key))
    finally:
        shutil.rmtree(layout.temporary, ignore_errors=True)
        lock.close()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of emulated executions may sleep for minutes, and Python would wait for them.
    os._exit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}.server", description="Serve an embedded AWS.")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1 for TLS")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="directory that keeps everything")
    parser.add_argument(
        *("--lambda-python",),
        type=Path,
        default=Path(sys.executable),
        metavar="PATH",
        help="interpreter for Lambda functions, of a virtual environment with only boto3",
    )
    parser.add_argument("--iam-log", type=Path, metavar="FILE", help="append every IAM decision to FILE as JSON lines")
    parser.add_argument("--region", default="us-east-1", help="region of requests that name none (%(default)s)")
    parser.add_argument("--account", default="000000000000", help="the AWS account, twelve digits (%(default)s)")
    parser.add_argument(
        *("--host-names",),
        action="store_true",
        help="functions call AWS at its own host names, through the proxy; by default AWS_ENDPOINT_URL leads them here",
    )
    parser.add_argument(
        *("--without-fix",),
        action="append",
        default=[],
        metavar="NAME",
        help="leave out a fix, to see what ministack does without it (repeatable)",
    )
    return parser


def _lock(layout: Layout) -> IO[str]:
    lock = layout.lock.open("w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = Record.read(layout.record)
        who = f"process {owner.pid}" if owner else "another process"
        raise StartError(f"{who} already serves {layout.directory}; stop it, or choose another --state") from None
    return lock


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        # Without this, Linux lets a second process bind the port until the first one listens.
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise StartError(f"cannot listen on {LOOPBACK}:{port} ({error}); choose another --port") from None
    return listener


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


def _environment(
    layout: Layout, options: argparse.Namespace, certificate: Path, key: Path, own: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment for ministack, without the AWS variables of the user's shell."""
    return {
        **{name: own[name] for name in ("PATH", "LANG", "LC_ALL", "LC_CTYPE") if name in own},
        "AUTH": "true",
        "BIND_HOST": LOOPBACK,
        # ministack removes containers that it takes for its own; it must not find any.
        "DOCKER_HOST": f"unix://{layout.temporary}/no-docker.sock",
        "GATEWAY_PORT": str(options.port),
        "HOME": str(layout.temporary),
        "IOT_MTLS_ENABLED": "0",
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": str(ASYNC_RETRY_BASE_SECONDS),
        "LAMBDA_ASYNC_RETRY_MAX_SECONDS": str(ASYNC_RETRY_MAX_SECONDS),
        "LAMBDA_EXECUTOR": "local",
        "MINISTACK_ACCOUNT_ID": options.account,
        "MINISTACK_REGION": options.region,
        "MINISTACK_SSL_CERT": str(certificate),
        "MINISTACK_SSL_KEY": str(key),
        "PERSIST_STATE": "1",
        "S3_DATA_DIR": str(layout.objects),
        "S3_PERSIST": "1",
        "SFTP_ENABLED": "0",
        "STATE_DIR": str(layout.state),
        "TMPDIR": str(layout.temporary),
        "USE_SSL": "1",
    }


async def _serve(
    secure: socket.socket, plain: socket.socket, tunnels: socket.socket, certificate: Path, key: Path
) -> None:
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack import app
    from ministack.core import lambda_runtime

    config = Config()
    secure_port = secure.getsockname()[1]
    # ministack's own main would also bind port 443.
    config.bind = [f"fd://{secure.detach()}"]
    config.insecure_bind = [f"fd://{plain.detach()}"]
    config.certfile, config.keyfile = str(certificate), str(key)
    config.graceful_timeout = GRACE_SECONDS
    config.keep_alive_timeout = 75
    # An apply sends more than the thousand requests that end a connection by default, and clients send the last one
    # again, which "already exists" then.
    config.keep_alive_max_requests = 1_000_000

    # Otherwise a stop waits 30 s for the farewell of every client that keeps a connection open.
    asyncio.constants.SSL_SHUTDOWN_TIMEOUT = GRACE_SECONDS
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.set_exception_handler(_report)
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    proxy = Proxy(secure_port)
    async with await proxy.serve(tunnels):
        await serve(app.app, config, shutdown_trigger=stop.wait)
        proxy.close()
    lambda_runtime.reset()


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Clients that leave without a farewell are no news.
    if not isinstance(context.get("exception"), TimeoutError | ConnectionError | ssl.SSLError):
        loop.default_exception_handler(context)


if __name__ == "__main__":
    sys.exit(main())
