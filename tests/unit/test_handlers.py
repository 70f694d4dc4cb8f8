"""The handlers as Lambda calls them, with AWS in memory."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from msgspec import ValidationError

from tests.unit.fakes import FakeContext, refusal, rest_event
from tests.unit.memory import Aws, call, start

CONTENT = base64.b64encode(b"hello").decode()
BODY = json.dumps({"file_name": "a b.txt", "file_content": CONTENT, "content_type": "text/plain"})


def test_an_upload_is_recorded_and_stored(aws: Aws) -> None:
    status, answer = call("upload", rest_event("POST", "/upload", BODY))
    assert status == 200
    file_id = answer["file_id"]
    assert answer == {
        "message": "File uploaded successfully",
        "file_id": file_id,
        "file_url": f"https://abc123.execute-api.us-east-1.amazonaws.com/v1/files/{file_id}/content",
    }
    assert aws.s3.objects == {f"uploads/{file_id}": b"hello"}
    record = aws.items()[file_id]
    times = [datetime.fromisoformat(record.pop(name)) for name in ("upload_time", "due_time", "expires_time")]
    assert [int((time - times[0]).total_seconds()) for time in times] == [0, 15 * 60, 15 * 60]
    assert times[0].tzinfo == UTC
    assert record.pop("due_shard") in {str(shard) for shard in range(16)}
    assert record == {
        "file_id": file_id,
        "owner": "arn:aws:iam::000000000000:user/ann",
        "file_name": "a b.txt",
        "content_type": "text/plain",
        "size": 5,
        "checksum": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
        "object_key": f"uploads/{file_id}",
        "state": "uploading",
        "file_url": answer["file_url"],
    }
    assert aws.quota("arn:aws:iam::000000000000:user/ann") == (5, 1)


def test_a_wrong_request_writes_nothing(aws: Aws) -> None:
    assert call("upload", rest_event("POST", "/upload", "{")) == (400, {"error": "Invalid JSON in request body"})
    event = {**rest_event("POST", "/upload", base64.b64encode(b"\xff").decode()), "isBase64Encoded": True}
    assert call("upload", event) == (400, {"error": "Request body must be UTF-8"})
    assert (aws.items(), aws.s3.objects) == ({}, {})


def test_the_largest_file_that_is_taken_is_the_settings(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_UPLOAD_BYTES", "4")
    said = "file_content is larger than 4 bytes, which is the most that is taken here"
    assert call("upload", rest_event("POST", "/upload", BODY)) == (413, {"error": said})
    assert (aws.items(), aws.s3.objects) == ({}, {})


def test_a_body_in_base64_is_read(aws: Aws) -> None:
    event = {**rest_event("POST", "/upload", base64.b64encode(BODY.encode()).decode()), "isBase64Encoded": True}
    assert call("upload", event)[0] == 200


def test_a_caller_whom_nobody_verified_is_refused(aws: Aws) -> None:
    assert call("upload", rest_event("POST", "/upload", BODY, user_arn=None)) == (401, {"error": "Unauthorized"})
    assert aws.items() == {}


@pytest.mark.parametrize("trouble", ["TransactWriteItems", "PutObject"])
def test_trouble_with_aws_is_a_500_that_tells_nothing_and_a_log_line_that_tells_all(
    aws: Aws, trouble: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**request: object) -> None:
        raise refusal("InternalServerError", trouble)

    if trouble == "TransactWriteItems":
        monkeypatch.setattr(aws.dynamodb, "transact_write_items", refuse)
    aws.s3.failing = trouble == "PutObject"
    answer = call("upload", rest_event("POST", "/upload", BODY))
    assert answer == (500, {"error": "Upload failed", "request_id": FakeContext.aws_request_id})
    logged = capsys.readouterr().out
    assert "secret detail" in logged
    assert CONTENT not in logged
    # Told that it failed: what was begun is given up.
    assert [record["ends_as"] for record in aws.items().values()] == ["aborted"] * (trouble == "PutObject")
    assert aws.functions.invoked == [{"file_id": file_id} for file_id in aws.items()]


def test_a_defect_of_ours_is_a_500_that_tells_nothing(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    module = start("upload")
    monkeypatch.setattr(module, "upload", lambda *arguments, **options: [][len("inside")])
    answer = module.handler(rest_event("POST", "/upload", BODY), FakeContext())
    assert (answer["statusCode"], json.loads(answer["body"])["error"]) == (500, "Upload failed")
    assert "index out of range" not in answer["body"]


def test_a_log_line_has_the_request_id_and_never_the_content(aws: Aws, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("upload", rest_event("POST", "/upload", BODY))[0] == 200
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    said = [(line["function_request_id"], line["level"]) for line in lines]
    assert said == [(FakeContext.aws_request_id, "INFO")]
    assert CONTENT not in str(lines)
    assert "hello" not in str(lines)


NO_SUCH_FILE = {
    "type": "urn:sluice:problem:not-found",
    "title": "Not found",
    "status": 404,
    "detail": "No such file",
}


def available(aws: Aws) -> str:
    """Upload a file, and do what the workflow does."""
    file_id = str(call("upload", rest_event("POST", "/upload", BODY))[1]["file_id"])
    aws.change(file_id, state="available")
    return file_id


def test_the_owner_gets_a_link_with_the_name_of_the_file(aws: Aws) -> None:
    file_id = available(aws)
    status, answer = call("files", rest_event("GET", f"/files/{file_id}/content"))
    assert (status, answer["expires_in"]) == (200, 60)
    assert answer["download_url"] == (
        f"https://signed/get_object/uploads/{file_id}?for=60&type=text/plain&attachment; filename*=UTF-8''a%20b.txt"
    )


@pytest.mark.parametrize(
    ("declared", "detected", "served"),
    [
        ("text/plain; charset=utf-16", "text/plain", "text/plain; charset=utf-16"),
        ("image/jpg", "image/jpeg", "image/jpg"),
        ("image/png", "image/jpeg", "image/jpeg"),
        ("application/octet-stream", "image/png", "image/png"),
        # Opened before a type was looked for.
        ("image/png", "", "image/png"),
    ],
)
def test_a_file_is_handed_out_as_what_it_is(aws: Aws, declared: str, detected: str, served: str) -> None:
    file_id = available(aws)
    aws.change(file_id, content_type=declared, detected_type=detected)
    _, answer = call("files", rest_event("GET", f"/files/{file_id}/content"))
    assert f"&type={served}&attachment" in answer["download_url"]


def test_a_stranger_and_a_file_that_is_not_there_look_the_same(aws: Aws) -> None:
    file_id = available(aws)
    stranger = rest_event("GET", f"/files/{file_id}/content", user_arn="arn:aws:iam::000000000000:user/bob")
    missing = rest_event("GET", "/files/nothing/content")
    assert call("files", stranger) == call("files", missing) == (404, NO_SUCH_FILE)


def test_a_file_that_is_still_uploading_cannot_be_fetched(aws: Aws) -> None:
    file_id = call("upload", rest_event("POST", "/upload", BODY))[1]["file_id"]
    status, answer = call("files", rest_event("GET", f"/files/{file_id}/content"))
    assert (status, answer["detail"]) == (409, "The file is uploading")


@pytest.mark.parametrize("name", ["upload", "uploads", "files", "inspect", "discard", "sweep"])
def test_a_function_with_wrong_variables_does_not_start(aws: Aws, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET_NAME", "arn:aws:s3:::bucket")
    with pytest.raises(ValidationError, match="BUCKET_NAME"):
        start(name)
    monkeypatch.setenv("BUCKET_NAME", "a-bucket")
    monkeypatch.delenv("TABLE_NAME")
    with pytest.raises(ValidationError, match="TABLE_NAME"):
        start(name)
