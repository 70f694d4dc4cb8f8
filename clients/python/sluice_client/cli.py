"""The command line: `sluice upload FILE...`, `list`, `download`, `delete`."""

from __future__ import annotations

import argparse
import mimetypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Column, Table

from sluice_client.api import Api, Upload
from sluice_client.connection import connect
from sluice_client.credentials import credentials
from sluice_client.errors import EndedError, ProblemError, SluiceError
from sluice_client.receiving import fetch
from sluice_client.sending import Sender
from sluice_client.state import States

DESCRIPTION = """Uploads files of any size to Sluice. The same command goes on where an earlier one was cut off."""
ENVIRONMENT = """
environment:
  SLUICE_URL            address of the API, with its stage
  SLUICE_TOKEN          a bearer token, or
  SLUICE_TOKEN_COMMAND  a command that prints one; asked again when the token expires, or
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION
                        for an API that takes AWS signatures
  SSL_CERT_FILE, AWS_CA_BUNDLE, HTTPS_PROXY, NO_PROXY, XDG_STATE_HOME
                        as everywhere
"""
FAILED, USAGE, NOT_YET, INTERRUPTED = 1, 2, 3, 130
OCTETS = "application/octet-stream"
# Files that are compressed once more (Python's mimetypes tells the two apart): their own type is that of the packing.
PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


class Screen:
    """Bars and notes on standard error, so that standard output holds results alone."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task("", visible=False)
        self._name = ""
        self._lock = threading.Lock()
        self._noted = ""
        self._silent = False

    def __enter__(self) -> Screen:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._silent = True

    def begin(self, name: str) -> None:
        """What follows is about this file."""
        self._name, self._noted = name, ""

    def stage(self, what: str, total: int, done: int = 0) -> None:
        """A bar from here on."""
        self._progress.reset(
            self._task, total=total, completed=done, visible=True, description=f"{what} {escape(self._name)}"
        )

    def advance(self, count: int) -> None:
        """Move the bar."""
        self._progress.advance(self._task, count)

    def note(self, message: str) -> None:
        """A line above the bar; several parts that say the same say it once."""
        with self._lock:
            if self._silent or message == self._noted:
                return
            self._noted = message
        self.console.print(message, markup=False, soft_wrap=True)

    def last(self, message: str) -> None:
        """A line behind everything."""
        self.console.print(message, markup=False, soft_wrap=True)

    def hide(self) -> None:
        """No bar while nothing is sent."""
        self._progress.update(self._task, visible=False)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Do what the command line says; the exit code is 0 if all of it was done."""
    options = _parser().parse_args(arguments)
    screen = Screen()
    again = "Run the same command again to go on." if options.command == "upload" else ""
    try:
        code = _run(options, screen)
    except KeyboardInterrupt:
        # A second ^C on the way out would end in a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        screen.last(f"\nStopped. {again}".rstrip())
        code = INTERRUPTED
    except SluiceError as error:
        screen.last(f"sluice: {error}")
        code = FAILED
    except BrokenPipeError:
        # Whoever read the results has enough; nothing may be written on the way out either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except OSError as error:
        screen.last(f"sluice: {error.filename or 'this machine'}: {error.strerror or error}")
        code = FAILED
    sys.exit(code)


def _run(options: argparse.Namespace, screen: Screen) -> int:
    url = options.url or os.environ.get("SLUICE_URL")
    if not url:
        raise SluiceError("Where is the API? Set SLUICE_URL to its address, such as Terraform's output `api_url`")
    parallel = getattr(options, "parallel", 1)
    # The screen ends first: what threads say of connections that are closed under them is not news.
    with connect(parallel=parallel) as http, screen:
        api = Api(url, credentials(url), http, tell=screen.note)
        if options.command == "upload":
            return _upload(options, api, screen)
        if options.command == "list":
            return _list(options, api)
        if options.command == "download":
            return _each(options.file_ids, screen, lambda file_id: _download(file_id, options, api, screen))
        return _each(options.file_ids, screen, lambda file_id: _delete(file_id, api))


def _each(names: Sequence[str], screen: Screen, work: Callable[[str], None]) -> int:
    """Do something with each, whatever happens to the others."""
    code = 0
    for name in names:
        try:
            screen.begin(name)
            work(name)
        except SluiceError as error:
            screen.note(f"sluice: {name}: {error}")
            if isinstance(error, ProblemError) and error.status == 415:
                screen.note(f"  --content-type names another type, such as {OCTETS}")
            code = FAILED
            if error.hopeless:
                break
    return code


def _upload(options: argparse.Namespace, api: Api, screen: Screen) -> int:
    sender = Sender(api, States(), parallel=options.parallel, watcher=screen)
    sent: list[tuple[str, Upload]] = []
    code = _each(
        options.files,
        screen,
        lambda name: sent.append((name, sender.send(Path(name), options.content_type or content_type_of(name)))),
    )
    screen.hide()
    # Sluice looks at the first files while the last ones are being sent.
    for name, upload in sent:
        try:
            ended = sender.wait(upload, seconds=options.wait)
        except EndedError as error:
            screen.note(f"sluice: {name} was {error}")
            code = FAILED
            continue
        if ended.state != "available" and options.wait:
            screen.note(f"sluice: {name} was sent, and is still {ended.state}. The same command looks again.")
            code = code or NOT_YET
        print(f"{ended.file_id}\t{name}", flush=True)
    return code


def _list(options: argparse.Namespace, api: Api) -> int:
    files = api.files(state=options.state, prefix=options.prefix)
    console = Console(highlight=False)
    if not console.is_terminal:
        for file in files:
            print(file.file_id, file.state, file.size, file.upload_time, file.file_name, sep="\t")
        return 0
    # Ids are there to be copied: whatever is too narrow, they are whole.
    table = Table(Column("file id", min_width=36), "state", "size", "uploaded", "name", box=None)
    for file in files:
        row = (file.file_id, file.state, decimal(file.size), file.upload_time[:16].replace("T", " "), file.file_name)
        table.add_row(*map(escape, row))
    console.print(table)
    return 0


def _download(file_id: str, options: argparse.Namespace, api: Api, screen: Screen) -> None:
    target = fetch(api, file_id, options.to, replace=options.force, watcher=screen)
    print(f"{file_id}\t{target}", flush=True)


def _delete(file_id: str, api: Api) -> None:
    try:
        api.delete(file_id)
    except ProblemError as error:
        if error.status != 409 or api.file(file_id).state not in {"uploading", "scanning"}:
            raise
        # It is no file yet.
        api.abort(file_id)


def content_type_of(name: str) -> str:
    """What a file is, by the end of its name."""
    content_type, packing = mimetypes.guess_type(name)
    return PACKED.get(packing, OCTETS) if packing else content_type or OCTETS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sluice", description=DESCRIPTION, epilog=ENVIRONMENT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="instead of SLUICE_URL")
    commands = parser.add_subparsers(dest="command", required=True)
    upload = commands.add_parser("upload", help="send files, and wait until they are available")
    upload.add_argument("files", nargs="+", metavar="FILE")
    upload.add_argument("--content-type", help="by default what the name says")
    upload.add_argument("--parallel", type=_count, default=4, metavar="N", help="parts at a time (%(default)s)")
    upload.add_argument(
        "--wait",
        type=_seconds,
        default=600,
        metavar="SECONDS",
        help="how long a sent file may take to become available (%(default)s), else the exit code is 3; 0: do not wait",
    )
    listing = commands.add_parser("list", help="your files, newest first; separated by tabs where no terminal is")
    listing.add_argument("--state", default="", help="available, uploading, rejected ...")
    listing.add_argument("--prefix", default="", help="beginning of the name")
    download = commands.add_parser("download", help="fetch files and check them")
    download.add_argument("file_ids", nargs="+", metavar="FILE_ID")
    download.add_argument("--to", type=Path, help="folder or name; by default the file's own name, here")
    download.add_argument("--force", action="store_true", help="overwrite")
    delete = commands.add_parser("delete", help="delete files, or give up their uploads")
    delete.add_argument("file_ids", nargs="+", metavar="FILE_ID")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 64:
        raise argparse.ArgumentTypeError("1 to 64")
    return number


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError("0 or more")
    return seconds
