"""The client on unusual machines: their files, names, folders, terminals and environments."""

from __future__ import annotations

import contextlib
import errno
import os
import pty
import pwd
import signal
import socket
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sluice_client import cli, parts
from sluice_client.api import Api
from sluice_client.errors import FileChangedError, SluiceError
from sluice_client.parts import LocalFile, cut
from sluice_client.receiving import Receiver
from sluice_client.state import Remembered, States
from sluice_client.text import local_name, printable

from tests.unit.client.harness import LARGE, SMALL, Run, Setup, program

# Each begins a command of a terminal, moves what is shown, or hides it.
ESCAPES = "\x1b[2J \x9b2J \x85 \x07 \x7f \r \u202e \u2066 \u200b \ufeff \u2028 \U000e0041"

# One file, and the others.


def test_what_concerns_one_file_stays_with_it(setup: Setup, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str, flags: int) -> int:
        for name, number in (("secret", errno.EACCES), ("broken", errno.EIO), ("many", errno.EMFILE)):
            if Path(path).name == name:
                raise OSError(number, os.strerror(number), path)
        return opened(path, flags)

    opened = parts._open
    monkeypatch.setattr(parts, "_open", refused)
    good = ["a", "b", "c"]
    names = [
        "a",
        "folder",
        "secret",
        "broken",
        "many",
        "pipe",
        "b",
        "/dev/zero",
        "none",
        "empty",
        "loop",
        "socket",
        "x" * 300,
    ]
    names += ["/proc/self/mem", "c/", "c"]
    for name in (*good, "secret", "broken", "many"):
        setup.file(name.encode(), name)
    (setup.folder / "folder").mkdir()
    (setup.folder / "empty").touch()
    (setup.folder / "loop").symlink_to("loop")
    os.mkfifo(setup.folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        code, out, err = run("upload", *names)
    assert code == 1
    stored = {record.declared["file_name"]: record.file_id for record in setup.sluice.records.values()}
    assert out == f"{stored['a']}\ta\n{stored['b']}\tb\n{stored['c']}\tc/\n{stored['c']}\tc\n"
    said = [line for line in err.splitlines() if "cannot be read" in line]
    assert said == [
        "sluice: secret: cannot be read: Permission denied",
        "sluice: broken: cannot be read: Input/output error",
        "sluice: many: cannot be read: Too many open files",
    ]
    assert err.count("is not a file") == 4
    assert err.count("is empty") == 2
    assert err.count("No such file") == 1
    assert err.count("File name too long") == 1
    assert len(err.splitlines()) == 12


def test_a_name_that_is_not_utf8_stays_with_its_file(setup: Setup, run: Run) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    setup.file(b"x", name)
    setup.file(b"y", "y")
    code, out, err = run("upload", name, "y")
    assert (code, len(setup.sluice.records)) == (1, 1)
    assert out == f"{setup.sluice.only().file_id}\ty\n"
    assert err == "sluice: caf\\udce9.txt: its name is not UTF-8; rename it\n"


def test_results_come_while_the_others_are_sent(setup: Setup) -> None:
    setup.file(b"first", "first")
    setup.file(b"second", "second")
    setup.file(b"third", "third")
    go_on = threading.Event()
    setup.sluice.before_part = lambda number: None if len(setup.sluice.records) < 3 else assert_true(go_on.wait(20))
    with program(setup, "upload", "first", "second", "third") as running:
        assert running.stdout is not None
        first, second = running.stdout.readline(), running.stdout.readline()
        go_on.set()
        rest, err = running.communicate(timeout=20)
    ids = [record.file_id for record in setup.sluice.records.values()]
    assert [first, second, rest] == [f"{ids[0]}\tfirst\n", f"{ids[1]}\tsecond\n", f"{ids[2]}\tthird\n"]
    assert (running.returncode, err) == (0, "")


def assert_true(value: bool) -> None:
    assert value


def test_the_id_of_a_file_that_was_sent_is_said_whatever_comes_then(
    setup: Setup, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.file(b"first", "first")
    setup.file(b"second", "second")

    def forbid(number: int) -> None:
        # From the second file's bytes on, the token is too old.
        if len(setup.sluice.records) == 2:
            setup.sluice.token = ""

    setup.sluice.then = [("scanning", "")]
    setup.sluice.before_part = forbid
    code, out, err = run("upload", "first", "second")
    assert (code, out) == (1, "")
    first = next(iter(setup.sluice.records))
    assert f"sluice: first was sent as {first}, but its state could not be read\n" in err


def test_a_file_that_becomes_a_pipe_does_not_hang(setup: Setup) -> None:
    path = setup.file(SMALL)
    file = LocalFile.look_at(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FileChangedError):
        list(file.read(cut(file.size, 0)[0]))


@pytest.mark.parametrize("content", [SMALL, LARGE])
def test_a_file_that_vanishes_while_it_is_sent_has_changed(setup: Setup, content: bytes) -> None:
    path = setup.file(content)
    setup.sluice.cut_after.append(1_000)
    setup.sluice.before_part = lambda number: path.unlink(missing_ok=True)
    with pytest.raises(FileChangedError):
        setup.sender(parallel=1).send(path, "video/quicktime")


def test_a_file_whose_name_no_path_can_hold(setup: Setup) -> None:
    with pytest.raises(SluiceError, match="null"):
        setup.sender().send(setup.folder / "a\0b", "text/plain")


def test_a_table_of_types_that_cannot_be_read_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise PermissionError(errno.EACCES, "no", "/etc/mime.types")

    assert cli.content_type_of("http://[a.txt") == "text/plain"
    monkeypatch.setattr("mimetypes.guess_type", fail)
    assert cli.content_type_of("a.txt") == "application/octet-stream"


# Names.


@pytest.mark.parametrize(
    "name",
    [
        "文" * 83 + ".txt",
        "文" * 85,
        "x" * 255,
        "😀" * 60 + ".tar.gz",
        "a.txt ",
        "-rf",
        " ",
        "...",
        "a" + "\u0301" * 100,
        "CON",
        "a:b",
    ],
)
def test_a_name_that_can_be_uploaded_can_be_downloaded(setup: Setup, run: Run, name: str) -> None:
    setup.file(b"content", name)
    code, out, _ = run("upload", "--", name)
    assert code == 0
    record = setup.sluice.only()
    assert record.declared["file_name"] == name
    (setup.folder / "to").mkdir()
    code, out, err = run("download", "--to", "to", record.file_id)
    assert (code, err) == (0, "")
    assert out == f"{record.file_id}\t{Path('to') / name}\n"
    assert (setup.folder / "to" / name).read_bytes() == b"content"


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("文" * 255, "文" * 85),
        ("文" * 200 + ".pdf", "文" * 83 + ".pdf"),
        ("x" * 300 + ".tar.gz", "x" * 248 + ".tar.gz"),
        ("x" * 300 + "." + "y" * 300, "x" * 255),
        ("." + "x" * 300, "." + "x" * 254),
        ("a\0b", "a_b"),
        ("a\nb\x1b[2J", "a_b_[2J"),
        ("\u202egnp.exe", "_gnp.exe"),
        ("a\ud800b", "a_b"),
        ("a/b/", "b"),
        ("日本語 　.txt", "日本語 　.txt"),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_names_that_no_folder_can_hold_are_changed(setup: Setup, name: str, stored: str) -> None:
    # Half of a surrogate pair comes as U+FFFD from the API's answer already.
    assert local_name(name) == stored
    file = setup.sluice.add(name.replace("\ud800", "\0"), b"x")
    assert Receiver(setup.api()).fetch(file.file_id, setup.folder).name == stored


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("com1 .tar.gz", "_com1 .tar.gz"),
        ("LPT²", "_LPT²"),
        ("console", "console"),
        ("a. . .", "a"),
        ("a ", "a"),
        ('a<b>c:d"e|f?g*h', "a_b_c_d_e_f_g_h"),
        ("file.txt::$DATA", "file.txt__$DATA"),
    ],
)
def test_names_that_windows_takes_for_something_else_are_changed_there(name: str, stored: str) -> None:
    assert local_name(name, windows=True) == stored


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/..", "\\", "..\\.."])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(SluiceError, match="--to"):
        local_name(name)
    with pytest.raises(SluiceError):
        local_name("... .", windows=True)


@given(st.text(st.characters(), min_size=1, max_size=300), st.booleans(), st.sampled_from([255, 143]))
@example("文" * 255, False, 143)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_ends_in_one_that_a_folder_can_hold(tmp_path: Path, name: str, windows: bool, longest: int) -> None:
    try:
        stored = local_name(name, longest=longest, windows=windows)
    except SluiceError:
        return
    assert len(os.fsencode(stored)) <= longest
    assert not set(stored) & set("/\\\0")
    path = tmp_path / stored
    path.write_bytes(b"")
    assert path.parent.resolve() == path.resolve().parent
    path.unlink()


@given(st.text(st.characters()))
@example(ESCAPES)
@example("日本語\u3000\u00a0\u202f é \u0627\u200c\u0628 👩\u200d💻")
def test_what_is_printed_is_one_line_without_orders(text: str) -> None:
    shown = printable(text)
    for character in shown:
        assert unicodedata.category(character) not in {"Cc", "Cs", "Zl", "Zp"}
        assert unicodedata.category(character) != "Cf" or character in "\u200c\u200d"
    assert "".join(it for it in text if it in shown) == "".join(it for it in text if printable(it) == it)


def test_names_with_escapes_are_listed_and_told_harmlessly(setup: Setup, run: Run) -> None:
    name = f"{ESCAPES}\tx\ny.txt"
    file = setup.sluice.add(name, b"x")
    _, out, _ = run("list")
    [line] = out.splitlines()
    assert len(line.split("\t")) == 5
    assert line.endswith(r"\x1b[2J \x9b2J \x85 \x07 \x7f \r \u202e \u2066 \u200b \ufeff \u2028 \U000e0041\tx\ny.txt")
    (setup.folder / "in").mkdir()
    _, out, _ = run("download", "--to", "in", file.file_id)
    assert out.count("\n") == 1
    assert "\x1b" not in out
    code, _, err = run("download", "--to", "in", file.file_id)
    assert code == 1
    assert "\x1b" not in err
    setup.sluice.then = [("rejected", f"because {ESCAPES}")]
    setup.file(b"x", "\x1b]0;title\x07")
    code, _, err = run("upload", "\x1b]0;title\x07")
    assert code == 1
    assert err.startswith(r"sluice: \x1b]0;title\x07 was rejected: because \x1b[2J \x9b2J")
    assert err.count("\n") == 1


def test_notes_are_no_markup_and_no_emoji(setup: Setup, run: Run) -> None:
    code, _, err = run("upload", "[bold]:smile:[/bold]\\")
    assert code == 1
    assert err == "sluice: [bold]:smile:[/bold]\\: No such file or directory\n"


# What only helps.


@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": "/dev/null"},
        {"HOME": ""},
        {"HOME": "relative"},
        {"XDG_STATE_HOME": "/dev/null"},
        {"XDG_STATE_HOME": "/proc/nowhere"},
        {"XDG_STATE_HOME": "relative", "HOME": "/dev/null"},
        {"XDG_STATE_HOME": "x" * 5_000},
        {},
    ],
)
def test_a_large_file_needs_no_folder_for_its_state(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(setup.folder)
    monkeypatch.setattr("tests.unit.client.harness.States", lambda folder: States(tell=setup.said.append))
    sender = setup.sender()
    upload = sender.wait(sender.send(setup.file(LARGE), "video/quicktime"), seconds=10)
    assert upload.state == "available"
    if environment.get("HOME") not in {"", "relative"}:
        assert len(setup.said) == 1, "told once"
        assert "The state of this upload cannot be saved" in setup.said[0]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_or_read_only_disk_does_not_stop_an_upload(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    sender = setup.sender()
    assert sender.send(setup.file(LARGE), "video/quicktime").file_id
    assert setup.remembered() == []
    assert setup.sluice.only().content == LARGE


GOOD = '{"size": 397537, "mtime_ns": 1, "part_size": 65536, "digests": [], "content_type": "", "file_id": ""}'


@pytest.mark.parametrize(
    "damage",
    [
        *("null", "[]", "\ufeff{}", "[" * 100_000, '{"a":' * 100_000, "9" * 5_000, GOOD, GOOD.replace("[]", "null")),
        *(
            GOOD.replace("[]", it)
            for it in ("[1]", '["zz"]', '"x"', '["' + "0" * 64 + '"]', "[[]]", "{}", str(["\ud800"]))
        ),
        *(GOOD.replace("65536", it) for it in ("0", "-1", '"x"', "null", "1e9", "true", "NaN")),
        *(GOOD.replace('"file_id": ""', f'"file_id": {it}') for it in ("1", "null", "[]", "{}")),
    ],
    ids=range(26),
)
def test_a_state_file_that_this_version_did_not_write_is_not_believed(setup: Setup, damage: str) -> None:
    path = setup.file(LARGE)
    states = States(setup.states)
    states.save(setup.sluice.url, path, Remembered(1, 1, 1, ("0" * 64,)))
    [place] = setup.remembered()
    place.write_text(damage, errors="surrogatepass")
    assert states.load(setup.sluice.url, path) is None
    sender = setup.sender()
    assert sender.send(path, "video/quicktime").file_id
    assert setup.sluice.only().content == LARGE


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to(path)])
def test_a_state_file_that_is_no_file_is_not_opened(setup: Setup, make: Callable[[Path], None]) -> None:
    path = setup.file(LARGE)
    states = States(setup.states)
    states.save(setup.sluice.url, path, Remembered(1, 1, 1, ("0" * 64,)))
    [place] = setup.remembered()
    place.unlink()
    make(place)
    sender = setup.sender()
    assert sender.send(path, "video/quicktime").file_id


def test_two_at_once_send_one_file(setup: Setup) -> None:
    path = setup.file(LARGE)
    ids: list[str] = []

    def send() -> None:
        sender = setup.sender()
        ids.append(sender.wait(sender.send(path, "video/quicktime"), seconds=10).file_id)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert ids == [setup.sluice.only().file_id] * 3
    assert setup.sluice.only().content == LARGE
    assert setup.remembered() == []


def test_a_working_folder_that_is_gone_does_not_stop_an_upload(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = setup.folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    path = setup.file(LARGE)
    gone.rmdir()
    assert setup.sender().send(path, "video/quicktime").file_id


def test_a_machine_without_another_thread_says_so(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    path = setup.file(SMALL)
    sender = setup.sender()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(SluiceError, match="another thread"):
        sender.send(path, "text/plain")


# What a download writes.


def test_one_download_does_not_overwrite_another_of_the_same_command(setup: Setup, run: Run) -> None:
    one, two = setup.sluice.add("same.txt", b"one"), setup.sluice.add("same.txt", b"two")
    for to in (["--to", "file"], ["--to", "none/"], ["--to", "none/file"]):
        code, out, err = run("download", one.file_id, two.file_id, *to, "--force")
        assert (code, out) == (2, "")
        assert "is not a folder" in err
    assert list(setup.folder.iterdir()) == []
    setup.file(b"zero", "same.txt")
    code, out, err = run("download", one.file_id, two.file_id, one.file_id, "--force")
    assert (code, out) == (1, f"{one.file_id}\tsame.txt\n")
    assert err == f"sluice: {two.file_id}: same.txt was written by this command for another file\n"
    assert (setup.folder / "same.txt").read_bytes() == b"one"


def test_names_that_are_one_file_on_this_file_system_are_one(setup: Setup) -> None:
    one, two = setup.sluice.add("a.txt", b"one"), setup.sluice.add("A.TXT", b"two")
    receiver = Receiver(setup.api(), replace=True)
    receiver.fetch(one.file_id, setup.folder)
    # As where case does not count.
    (setup.folder / "A.TXT").hardlink_to(setup.folder / "a.txt")
    with pytest.raises(SluiceError, match=r"A.TXT was written by this command"):
        receiver.fetch(two.file_id, setup.folder)


def test_a_file_that_appears_during_a_download_stays(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    file = setup.sluice.add("a.txt", b"new")
    link = Api.download_link

    def appear(api: Api, file_id: str) -> str:
        setup.file(b"precious", "a.txt")
        return link(api, file_id)

    monkeypatch.setattr(Api, "download_link", appear)
    with pytest.raises(SluiceError, match="exists already"):
        Receiver(setup.api()).fetch(file.file_id, setup.folder)
    assert (setup.folder / "a.txt").read_bytes() == b"precious"

    def no_links(path: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    with pytest.raises(SluiceError, match="exists already"):
        Receiver(setup.api()).fetch(file.file_id, setup.folder)
    assert Receiver(setup.api()).fetch(file.file_id, setup.folder / "b.txt").read_bytes() == b"new"
    assert {path.name for path in setup.folder.iterdir()} == {"a.txt", "b.txt"}


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/null")])
def test_devices_and_pipes_are_not_replaced(setup: Setup, make: Callable[[Path], None]) -> None:
    file = setup.sluice.add("a.txt", b"new")
    make(setup.folder / "special")
    with pytest.raises(SluiceError, match="is not a file, so it is not replaced"):
        Receiver(setup.api(), replace=True).fetch(file.file_id, setup.folder / "special")


def test_a_link_stays_and_what_it_names_is_replaced(setup: Setup) -> None:
    file = setup.sluice.add("a.txt", b"new")
    (setup.folder / "in").mkdir()
    setup.file(b"old", "in/real")
    (setup.folder / "link").symlink_to("in/real")
    Receiver(setup.api(), replace=True).fetch(file.file_id, setup.folder / "link")
    assert (setup.folder / "link").is_symlink()
    assert (setup.folder / "in" / "real").read_bytes() == b"new"


def test_what_cannot_be_written_stays_with_its_file(setup: Setup, run: Run) -> None:
    one = setup.sluice.add("one.txt", b"one")
    code, _, err = run("download", one.file_id, "--to", "none/file")
    assert (code, err) == (1, f"sluice: {one.file_id}: there is no folder none\n")
    code, _, err = run("download", one.file_id, "--to", "/proc/file")
    assert code == 1
    assert err.startswith(f"sluice: {one.file_id}: /proc/file cannot be written: ")
    code, out, err = run("download", "none", one.file_id)
    assert (code, out) == (1, f"{one.file_id}\tone.txt\n")


@pytest.mark.parametrize("file_id", ["", ".", "..", "\udcff"])
def test_ids_that_are_none_are_not_sent(setup: Setup, run: Run, file_id: str) -> None:
    for command in ("download", "delete"):
        code, _, err = run(command, file_id)
        assert code in {1, 2}
        assert "Traceback" not in err
    assert setup.sluice.log == []


# Proxies, terminals, pipes.


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1080", "httpx[socks]"),
        ("HTTPS_PROXY", "socks5h://127.0.0.1:1080", "httpx[socks]"),
        ("HTTP_PROXY", "ftp://127.0.0.1:1", "cannot be used"),
        ("ALL_PROXY", "http://user:secret@[::1", "cannot be used"),
        ("HTTPS_PROXY", "http://user:secret@a:b", "cannot be used"),
        ("NO_PROXY", "[::1", ""),
        ("NO_PROXY", "*.*.*,,://,a:b:c", ""),
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    for each in ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(each, raising=False)
        monkeypatch.delenv(each.lower(), raising=False)
    monkeypatch.setenv(name, value)
    code, _, err = run("list")
    assert err.count("\n") <= 1
    assert words in err
    assert code == (1 if err else 0)
    assert "secret" not in err


LOCALES = [
    {"PYTHONIOENCODING": "cp1252"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "ascii:strict"},
    {"PYTHONIOENCODING": "utf-16"},
    {"LC_ALL": "C"},
    {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "no_SUCH.locale"},
]


@pytest.mark.parametrize("environment", LOCALES)
def test_names_in_a_terminal_of_any_encoding(setup: Setup, environment: dict[str, str]) -> None:
    name = "日本語 é.txt"
    setup.file(b"content", name)
    with program(setup, "upload", name, "なし", environment=environment) as running:
        out, err = running.communicate(timeout=20)
    assert (running.returncode, "Traceback" in err) == (1, False)
    record = setup.sluice.only()
    assert record.declared["file_name"] == name
    (setup.folder / "to").mkdir()
    for command in (["list"], ["download", "--to", "to", record.file_id]):
        with program(setup, *command, environment=environment) as running:
            out, err = running.communicate(timeout=20)
        assert (running.returncode, err) == (0, "")
        assert record.file_id in out.replace("\0", "")
    assert (setup.folder / "to" / name).read_bytes() == b"content"


def on_terminal(setup: Setup, *arguments: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """Run the command on its own terminal; return the exit code and the output."""
    ours, theirs = pty.openpty()
    with program(setup, *arguments, stdout=theirs, stderr=theirs, environment=environment) as running:
        os.close(theirs)
        shown = b""
        # Linux returns EIO after the other end is closed.
        with contextlib.suppress(OSError):
            while chunk := os.read(ours, 65_536):
                shown += chunk
        running.wait(20)
    os.close(ours)
    return running.returncode, shown.decode(errors="replace")


@pytest.mark.parametrize(
    "environment",
    [
        *({"COLUMNS": columns, "LINES": "1"} for columns in ("0", "1", "²", "9" * 5_000)),
        *({"TERM": term} for term in ("dumb", "", "xterm-256color")),
        *({"TERM": "xterm", **locale} for locale in LOCALES[:2]),
        {"TERM": "xterm", "NO_COLOR": "1"},
    ],
    ids=str,
)
def test_terminals_of_any_kind(setup: Setup, environment: dict[str, str]) -> None:
    setup.sluice.add(f"日本語{ESCAPES}.txt", b"x")
    setup.sluice.allowed_content_types = [f"text/日本語{ESCAPES}"]
    setup.file(SMALL, "[red]:smile:名\\")
    for arguments in (["list"], ["quota"], ["upload", "none", "[red]:smile:名\\"]):
        code, shown = on_terminal(setup, *arguments, environment=environment)
        assert code == (1 if "none" in arguments else 0), shown
        assert "Traceback" not in shown
        assert not any(order in shown for order in ("\x1b[2J", "\x9b", "\x85", "\x07", "\u202e"))


def test_a_quota_on_a_terminal_is_a_table_for_people(setup: Setup) -> None:
    setup.sluice.quota_bytes = 2 * 10**12
    setup.sluice.add("a.txt", b"x" * 1_234)
    code, shown = on_terminal(setup, "quota", environment={"TERM": "dumb"})
    rows = [line.split() for line in shown.splitlines() if line]
    assert code == 0
    assert rows == [
        ["used", "quota", "left"],
        ["bytes", "1.2", "kB", "2.0", "TB", "2.0", "TB"],
        ["files", "1", "1,000", "999"],
        ["Largest", "file:", "5.0", "GB"],
        ["Types:", "image/*,", "text/plain"],
    ]


def test_a_list_for_a_program_has_tabs_whatever_colours_are_forced(setup: Setup) -> None:
    setup.sluice.add("a.txt", b"x")
    with program(setup, "list", environment={"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}) as running:
        out, _ = running.communicate(timeout=20)
    assert out.count("\t") == 4
    assert "\x1b" not in out


def test_a_reader_that_has_enough_ends_the_command_in_silence(setup: Setup) -> None:
    for number in range(40):
        setup.sluice.add(f"{number}{'x' * 200}.txt", b"x")
    setup.file(b"x", "x")
    for arguments in (["list"], ["upload", "x"], ["--help"]):
        ours, theirs = os.pipe()
        os.close(ours)
        with program(setup, *arguments, stdout=theirs) as running:
            os.close(theirs)
            _, err = running.communicate(timeout=20)
        assert err == ""
        assert running.returncode == (0 if "--help" in arguments else 1)


def test_a_full_disk_for_the_results_is_said(setup: Setup) -> None:
    setup.sluice.add("a.txt", b"x")
    setup.file(b"x", "x")
    for arguments in (["list"], ["quota"], ["upload", "x"]):
        with Path("/dev/full").open("w") as full, program(setup, *arguments, stdout=full) as running:
            _, err = running.communicate(timeout=20)
        assert err.startswith("sluice: standard output: No space left on device")
        assert err.count("\n") == 1
        assert running.returncode == 1
    # What was stored is not lost.
    assert list(setup.sluice.records)[-1] in err


@pytest.mark.parametrize("how", ["closed", "broken", "full"])
def test_work_goes_on_when_nobody_reads_the_notes(setup: Setup, how: str) -> None:
    setup.file(b"x", "x")
    ours, theirs = os.pipe()
    os.close(ours)
    with Path("/dev/full").open("w") as full:
        stderr: IO[str] | int = full if how == "full" else theirs
        arguments = ["upload", "none", "x", "none"]
        if how == "closed":
            command = ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-m", "sluice_client", *arguments]
            running = program(setup, command=command)
        else:
            running = program(setup, *arguments, stderr=stderr)
        with running:
            out, _ = running.communicate(timeout=20)
    os.close(theirs)
    assert out == f"{setup.sluice.only().file_id}\tx\n"
    assert running.returncode == 1


@pytest.mark.parametrize("arguments", [["list"], ["download", "ID"], ["upload", "x"], ["delete", "ID"]])
def test_an_interruption_is_one_line_and_130(setup: Setup, arguments: list[str]) -> None:
    file = setup.sluice.add("a.txt", b"x")
    setup.file(b"x", "x")
    held, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        go_on.wait(20)

    setup.sluice.before_call = hold
    with program(setup, *[it.replace("ID", file.file_id) for it in arguments]) as running:
        assert held.wait(20)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=20)
    go_on.set()
    again = " Run the same command again to resume." if "upload" in arguments else ""
    assert (running.returncode, out, err) == (130, "", f"\nStopped.{again}\n")


def test_an_interruption_at_any_moment_has_no_traceback(setup: Setup) -> None:
    setup.file(SMALL, "x")
    setup.sluice.then = [("scanning", "")]
    codes = []
    for number in range(25):
        with program(setup, "upload", "x") as running:
            time.sleep(0.02 * number)
            running.send_signal(signal.SIGINT)
            _, err = running.communicate(timeout=20)
        codes.append(running.returncode)
        # Until Python itself has begun, ^C is not the program's.
        if any(words in err for words in ("cli.py", "httpx", "rich", "Stopped")):
            assert err.strip() in {"Stopped.", "Stopped. Run the same command again to resume."}, (number, err)
    assert codes[-1] == 130
