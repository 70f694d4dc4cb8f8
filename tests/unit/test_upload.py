from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.common.contract import MAX_CONTENT_BYTES
from functions.common.rest_api import Refused
from functions.upload.logic import UploadRequest

CONTENT = base64.b64encode(b"hello").decode()


ALLOWED = ("text/plain", "application/octet-stream", "image/*")


def parse(text: str | None) -> UploadRequest:
    return UploadRequest.parse(text, allowed=ALLOWED)


def body(**fields: object) -> str:
    return json.dumps({"file_name": "a.txt", "file_content": CONTENT, **fields})


def test_a_right_request() -> None:
    assert parse(body(content_type="text/plain; charset=utf-8")) == UploadRequest(
        "a.txt", b"hello", "text/plain; charset=utf-8"
    )


def test_the_content_type_has_a_default() -> None:
    assert parse(body()).content_type == "application/octet-stream"


def kinds_of_characters() -> dict[str, str]:
    """One character of each kind that changes how a name looks, or is not a valid character."""
    return {
        "C0": "\x1b",
        "delete": "\x7f",
        "next line, of C1": "\x85",
        "control sequence introducer, of C1": "\x9b",
        "soft hyphen": "\xad",
        "zero width space": "\u200b",
        "left-to-right mark": "\u200e",
        "Arabic letter mark": "\u061c",
        "line separator": "\u2028",
        "override": "\u202e",
        "isolate": "\u2066",
        "word joiner": "\u2060",
        "byte order mark": "\ufeff",
        "annotation": "\ufff9",
        "shorthand": "\U0001bca0",
        "tag": "\U000e0041",
        "noncharacter": "\ufdd0",
        "noncharacter at the end of a plane": "\U0010ffff",
        "slash": "/",
        "backslash": "\\",
    }


@pytest.mark.parametrize("kind", kinds_of_characters())
def test_a_name_holds_nothing_that_a_terminal_or_a_reader_takes_for_something_else(kind: str) -> None:
    for name in ("a{}b.txt", "{}a", "a{}"):
        with pytest.raises(Refused, match="Invalid file_name"):
            parse(body(file_name=name.format(kinds_of_characters()[kind])))


@pytest.mark.parametrize(
    "name",
    [
        "\U0001f468\u200d\U0001f469\u200d\U0001f467.png",
        "\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.txt",
        "\u0600\u06f1.txt",
        "u\u0308ber.txt",
        "\u2764\ufe0f.txt",
        " .profile",
        "\u3000a",
    ],
)
def test_names_that_people_write_are_taken_as_they_are(name: str) -> None:
    assert parse(body(file_name=name)).file_name == name


@pytest.mark.parametrize("name", [" ", "\u3000", ".", " ..", "\u200d", "\u200c.\u200d.", ".\u200c"])
def test_a_name_of_which_nothing_is_seen_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="Invalid file_name"):
        parse(body(file_name=name))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "Missing request body"),
        ("", "Missing request body"),
        ("{", "Invalid JSON in request body"),
        ("[" * 100_000, "Invalid JSON in request body"),
        ("[]", "Request body must be a JSON object"),
        ("{}", "Missing file_name"),
        (body(file_name=None), "Missing file_name"),
        (body(file_name=""), "Missing file_name"),
        (body(file_name=7), "Invalid file_name: it must be a string"),
        (
            body(file_name="../secret"),
            "Invalid file_name: a plain name without slashes or control characters is needed",
        ),
        (body(file_name="a\nb"), "Invalid file_name: a plain name without slashes or control characters is needed"),
        (
            body(file_name="a\u202etxt.exe"),
            "Invalid file_name: a plain name without slashes or control characters is needed",
        ),
        (body(file_name=".."), "Invalid file_name: a plain name without slashes or control characters is needed"),
        (body(file_name="\ud800"), "Invalid file_name: it is not valid Unicode"),
        (body(file_name="é" * 128), "Invalid file_name: longer than 255 bytes"),
        (json.dumps({"file_name": "a"}), "Missing file_content"),
        (body(file_content=""), "Empty file_content"),
        (body(file_content=["x"]), "Invalid file_content: it must be a string"),
        (body(file_content="a"), "Invalid file_content: it is not base64"),
        (body(file_content="äöü="), "Invalid file_content: it is not base64"),
        (body(file_content="aGVs bG8="), "Invalid file_content: it is not base64"),
        (body(content_type="text"), "Invalid content_type: a media type such as image/png is needed"),
        (
            body(content_type="text/plain\r\nX-Evil: 1"),
            "Invalid content_type: a media type such as image/png is needed",
        ),
        (body(content_type=1), "Invalid content_type: a media type such as image/png is needed"),
    ],
)
def test_a_wrong_request_says_what_is_wrong(text: str | None, message: str) -> None:
    with pytest.raises(Refused) as caught:
        parse(text)
    assert (caught.value.status, caught.value.message) == (400, message)


def test_the_largest_content_fits_and_one_byte_more_does_not() -> None:
    largest = base64.b64encode(b"x" * MAX_CONTENT_BYTES).decode()
    assert len(parse(body(file_content=largest)).content) == MAX_CONTENT_BYTES
    for size in (MAX_CONTENT_BYTES + 1, MAX_CONTENT_BYTES + 1000):
        with pytest.raises(Refused) as caught:
            parse(body(file_content=base64.b64encode(b"x" * size).decode()))
        assert caught.value.status == 413


def test_content_beyond_the_limit_of_all_files_is_refused_here_too() -> None:
    assert len(UploadRequest.parse(body(), allowed=ALLOWED, max_bytes=5).content) == 5
    with pytest.raises(Refused, match="larger than 4 bytes, which is the most that is taken here") as caught:
        UploadRequest.parse(body(), allowed=ALLOWED, max_bytes=4)
    assert caught.value.status == 413


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.dictionaries(st.sampled_from(["file_name", "file_content", "content_type"]) | st.text(), JSON)


@given(st.text() | FIELDS.map(json.dumps) | JSON.map(json.dumps))
def test_whatever_comes_is_refused_in_words_or_is_right(text: str) -> None:
    try:
        request = parse(text)
    except Refused as refused:
        assert refused.status in {400, 413, 415}
        assert refused.message
    else:
        assert request.content
        assert 0 < len(request.file_name.encode()) <= 255
        assert "/" not in request.file_name


@given(st.binary(min_size=1, max_size=2000), st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=60))
def test_content_and_name_arrive_unchanged(content: bytes, name: str) -> None:
    request = parse(body(file_name=name, file_content=base64.b64encode(content).decode()))
    assert (request.content, request.file_name) == (content, name)
