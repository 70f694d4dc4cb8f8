"""The command line: `sluice upload FILE...`, `list`, `download`, `delete`, `quota`."""

from __future__ import annotations

import argparse
import contextlib
import io
import mimetypes
import os
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import NoReturn, TextIO

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Column, Table
from rich.text import Text

from sluice_client.api import Api, Upload
from sluice_client.connections import connect
from sluice_client.credentials import credentials
from sluice_client.errors import EndedError, ProblemError, SluiceError
from sluice_client.receiving import Receiver
from sluice_client.sending import Sender
from sluice_client.state import States
from sluice_client.text import printable, quoted, without_surrogates

DESCRIPTION = """Uploads files of any size to Sluice. Run the same command again to resume after an interruption."""
ENVIRONMENT = """
environment:
  SLUICE_URL            address of the API, with its stage
  SLUICE_TOKEN          a bearer token, or
  SLUICE_TOKEN_COMMAND  a command that prints one; run again when the token expires, or
  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION
                        for an API that accepts AWS signatures
  SSL_CERT_FILE, AWS_CA_BUNDLE, HTTPS_PROXY, NO_PROXY, XDG_STATE_HOME
                        with their usual meaning
"""
FAILED, USAGE, NOT_YET, INTERRUPTED = 1, 2, 3, 130
# Of several results, the worst one counts.
_WORSE = (0, NOT_YET, FAILED)
OCTETS = "application/octet-stream"
# Media types of compressed files such as `.csv.gz`: the compression decides. Python's mimetypes reports it separately.
PACKED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


# Rows of a table on a terminal; a longer list is shown in several tables.
TABLE_ROWS = 1_000


class OutputError(Exception):
    """Results cannot be written to standard output."""


class _Notes(Console):
    """A console for progress bars and notes. The work goes on if its reader is gone."""

    def on_broken_pipe(self) -> None:
        """Ignore the broken pipe."""


class Screen:
    """Progress bars and notes on standard error, so that standard output has only results."""

    def __init__(self) -> None:
        self.console = _Notes(stderr=True, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not _is_terminal(sys.stderr),
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
        """Set the file to which the following stages and notes belong."""
        self._name, self._noted = name, ""

    def stage(self, what: str, total: int, done: int = 0) -> None:
        """Show a progress bar."""
        self._progress.reset(
            self._task, total=total, completed=done, visible=True, description=f"{what} {printable(self._name)}"
        )

    def advance(self, count: int) -> None:
        """Move the bar."""
        self._progress.advance(self._task, count)

    def note(self, message: str) -> None:
        """Print a line above the bar. Of equal messages in a row, which several threads may have, print one."""
        with self._lock:
            if self._silent or message == self._noted:
                return
            self._noted = message
        self.last(message)

    def last(self, message: str) -> None:
        """Print a line, also after the end of the screen."""
        lines = "\n".join(map(printable, message.split("\n")))
        with contextlib.suppress(OSError):
            self.console.print(Text(lines), soft_wrap=True)

    def hide(self) -> None:
        """Hide the bar while nothing is sent."""
        self._progress.update(self._task, visible=False)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, and exit; the code is 0 if everything succeeded."""
    for stream in (sys.stdout, sys.stderr):
        # Characters that the terminal's encoding does not have are escaped; by default they are an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for name in ("COLUMNS", "LINES"):
        # rich accepts every Unicode digit here, but cannot convert all of them to a number.
        if not re.fullmatch("[0-9]{1,4}", os.environ.get(name, "0")):
            del os.environ[name]
    screen = Screen()
    again = ""
    try:
        options = _options(arguments)
        again = "Run the same command again to resume." if options.command == "upload" else ""
        code = _run(options, screen)
        _flush()
    except SystemExit as ended:
        # argparse exits after --help or a wrong command line.
        code = ended.code if isinstance(ended.code, int) else FAILED
        with contextlib.suppress(OutputError, BrokenPipeError):
            _flush()
    except KeyboardInterrupt:
        # A second ^C during the exit would print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        screen.last(f"\nStopped. {again}".rstrip())
        code = INTERRUPTED
    except (SluiceError, OutputError) as error:
        screen.last(f"sluice: {error}")
        code = FAILED
    except BrokenPipeError:
        # The reader of the results has closed the pipe.
        code = FAILED
    except OSError as error:
        screen.last(f"sluice: {error.filename or 'this machine'}: {error.strerror or error}")
        code = FAILED
    _drop_output()
    sys.exit(code)


def _run(options: argparse.Namespace, screen: Screen) -> int:
    url = (options.url or os.environ.get("SLUICE_URL") or "").strip()
    if not url:
        raise SluiceError("Where is the API? Set SLUICE_URL to its address, such as Terraform's output `api_url`")
    parallel = getattr(options, "parallel", 1)
    # The screen ends first: messages of threads whose connections are being closed are of no interest.
    with connect(parallel=parallel) as http, screen:
        api = Api(url, credentials(url), http, tell=screen.note)
        if options.command == "upload":
            return _upload(options, api, screen)
        if options.command == "list":
            return _list(options, api)
        if options.command == "quota":
            return _quota(api)
        # An id that is given twice means one file.
        file_ids = list(dict.fromkeys(options.file_ids))
        if options.command == "download":
            receiver = Receiver(api, replace=options.force, watcher=screen)
            return _each(file_ids, screen, lambda file_id: _print(file_id, str(receiver.fetch(file_id, options.to))))
        return _each(file_ids, screen, lambda file_id: _delete(file_id, api))


def _each(names: Sequence[str], screen: Screen, work: Callable[[str], None]) -> int:
    """Call `work` with each name; an error with one does not stop the others."""
    code = 0
    for name in names:
        try:
            screen.begin(name)
            work(name)
        except SluiceError as error:
            screen.note(f"sluice: {quoted(name)}: {error}")
            if isinstance(error, ProblemError) and error.status == 415:
                screen.note(f"  --content-type names another type, such as {OCTETS}")
            code = FAILED
            if error.hopeless:
                break
        except BrokenPipeError:
            raise
        except OSError as error:
            screen.note(f"sluice: {quoted(name)}: {error.strerror or error}")
            code = FAILED
    return code


def _upload(options: argparse.Namespace, api: Api, screen: Screen) -> int:
    sender = Sender(api, States(tell=screen.note), parallel=options.parallel, watcher=screen)
    sent: deque[tuple[str, Upload]] = deque()
    code = 0

    def send(name: str) -> None:
        nonlocal code
        sent.append((name, sender.send(Path(name), options.content_type or content_type_of(name))))
        screen.hide()
        # Sluice inspects the first files while the last ones are sent.
        while sent:
            name, upload = sent[0]
            try:
                upload = sender.look(upload) if options.wait else upload
            except SluiceError:
                # The state is asked again at the end.
                return
            if options.wait and not upload.ended and upload.state != "available":
                return
            sent.popleft()
            code = max(code, _settle(name, upload, sender, options.wait, screen), key=_WORSE.index)

    each = _each(options.files, screen, send)
    screen.hide()
    for name, upload in sent:
        code = max(code, _settle(name, upload, sender, options.wait, screen), key=_WORSE.index)
    return max(code, each, key=_WORSE.index)


def _settle(name: str, upload: Upload, sender: Sender, seconds: float, screen: Screen) -> int:
    """Wait for the result of a sent file, and print it."""
    try:
        upload = sender.wait(upload, seconds=seconds)
    except EndedError as error:
        screen.note(f"sluice: {quoted(name)} was {error}")
        return FAILED
    except SluiceError as error:
        screen.note(f"sluice: {quoted(name)} was sent as {quoted(upload.file_id)}, but its state could not be read")
        screen.note(f"sluice: {quoted(name)}: {error}")
        return FAILED
    _print(upload.file_id, name)
    if upload.state != "available" and seconds:
        state = quoted(upload.state)
        screen.note(f"sluice: {quoted(name)} was sent, and is still {state}. Run the same command to look again.")
        return NOT_YET
    return 0


def _list(options: argparse.Namespace, api: Api) -> int:
    files = api.files(state=options.state, prefix=options.prefix)
    if not _is_terminal(sys.stdout):
        for file in files:
            _print(file.file_id, file.state, str(file.size), file.upload_time, file.file_name, flush=False)
        return 0
    console = Console(highlight=False)
    while True:
        # Users copy ids, so they are never shortened, even on a narrow terminal.
        table = Table(Column("file id", min_width=36), "state", "size", "uploaded", "name", box=None)
        for file in islice(files, TABLE_ROWS):
            time = file.upload_time[:16].replace("T", " ")
            row = (file.file_id, file.state, decimal(file.size), time, file.file_name)
            table.add_row(*(Text(printable(cell)) for cell in row))
        console.print(table)
        if table.row_count < TABLE_ROWS:
            return 0


def _quota(api: Api) -> int:
    quota = api.quota()
    rows = {
        "bytes": (quota.used_bytes, quota.quota_bytes, quota.left_bytes),
        "files": (quota.used_files, quota.quota_files, quota.left_files),
    }
    if not _is_terminal(sys.stdout):
        for name, numbers in rows.items():
            _print(name, *map(str, numbers), flush=False)
        _print("max_upload_bytes", str(quota.max_upload_bytes), flush=False)
        _print("allowed_content_types", *quota.allowed_content_types, flush=False)
        return 0
    table = Table("", *(Column(title, justify="right") for title in ("used", "quota", "left")), box=None)
    for name, numbers in rows.items():
        table.add_row(name, *(decimal(each) if name == "bytes" else f"{each:,}" for each in numbers))
    console = Console(highlight=False)
    console.print(table)
    types = printable(", ".join(quota.allowed_content_types))
    console.print(Text(f"\nLargest file: {decimal(quota.max_upload_bytes)}\nTypes: {types}"))
    return 0


def _delete(file_id: str, api: Api) -> None:
    try:
        api.delete(file_id)
    except ProblemError as error:
        if error.status != 409 or api.file(file_id).state not in {"uploading", "scanning"}:
            raise
        # It is still an upload.
        api.abort(file_id)


def _print(*fields: str, flush: bool = True) -> None:
    """Print a result as exactly one line."""
    try:
        print(*map(printable, fields), sep="\t", flush=flush)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror or error}; not written: {' '.join(fields)}") from None


def _flush() -> None:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output: {error.strerror or error}") from None


def _drop_output() -> None:
    """Discard buffered output, so that Python does not write it to a broken output at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _is_terminal(stream: TextIO | None) -> bool:
    # rich also looks at FORCE_COLOR, which continuous integration sets.
    return stream is not None and stream.isatty()


def content_type_of(name: str) -> str:
    """Return the media type of a file, by the end of its name."""
    try:
        content_type, packing = mimetypes.guess_type(Path(name).name)
    except (OSError, ValueError):
        # The machine's table of media types cannot be read, or the name looks like an invalid URL.
        return OCTETS
    return PACKED.get(packing, OCTETS) if packing else content_type or OCTETS


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    for name, value in vars(options).items():
        # File names may contain any bytes; all other arguments become parts of requests.
        for text in value if isinstance(value, list) else [value]:
            if name not in {"files", "to"} and isinstance(text, str) and text != without_surrogates(text):
                parser.error(f"{quoted(text)} is not UTF-8")
    if options.command == "download" and options.to is not None:
        to = Path(options.to)
        if len(set(options.file_ids)) > 1 and not to.is_dir():
            parser.error(f"--to {quoted(options.to)} is not a folder; there are several files to write")
        if options.to.endswith(("/", os.sep)) and not to.is_dir():
            parser.error(f"--to {quoted(options.to)}: there is no such folder")
        options.to = to
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sluice", description=DESCRIPTION, epilog=ENVIRONMENT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="instead of SLUICE_URL")
    commands = parser.add_subparsers(dest="command", required=True)
    upload = commands.add_parser("upload", help="send files, and wait until they are available")
    upload.add_argument("files", nargs="+", metavar="FILE")
    upload.add_argument("--content-type", help="media type; by default guessed from the name")
    upload.add_argument("--parallel", type=_count, default=4, metavar="N", help="parts at a time (%(default)s)")
    upload.add_argument(
        "--wait",
        type=_seconds,
        default=600,
        metavar="SECONDS",
        help="how long a sent file may take to become available (%(default)s), else the exit code is 3; 0: do not wait",
    )
    listing = commands.add_parser(
        "list", help="list your files, newest first; separated by tabs if the output is not a terminal"
    )
    listing.add_argument("--state", default="", help="available, uploading, rejected ...")
    listing.add_argument("--prefix", default="", help="beginning of the name")
    download = commands.add_parser("download", help="download files and check their checksums")
    download.add_argument("file_ids", nargs="+", metavar="FILE_ID")
    download.add_argument("--to", metavar="PATH", help="folder or name; by default the file's own name, here")
    download.add_argument("--force", action="store_true", help="overwrite")
    delete = commands.add_parser("delete", help="delete files, or abort their uploads")
    delete.add_argument("file_ids", nargs="+", metavar="FILE_ID")
    commands.add_parser(
        "quota",
        help="show how much of your quota is used, and what is taken; with tabs if the output is not a terminal",
    )
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
