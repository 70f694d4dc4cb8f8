"""Uploads whose bytes go to S3 directly: as a client sends them, and as a stranger tries to."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import urllib.request
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from functions.common.contract import MAX_POST_BYTES, MIN_PART_BYTES, State
from functions.common.records import FileRecord, Quota, QuotaExceededError, Records, from_item, timestamp
from functions.uploads.parts import Cut, checksum_of
from modules.settings import CONTENT_TYPES
from tests.e2e.conftest import Deployed, wait_for
from tools.develop.caller import caller
from tools.develop.local import Api
from tools.embedded_aws import control

LARGE = MAX_POST_BYTES + 1
CUT = Cut.of(LARGE)


def digest(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def part(number: int) -> bytes:
    """A part of a file whose bytes nobody has to keep."""
    return bytes([number]) * CUT.size_of(number)


WHOLE = checksum_of([hashlib.sha256(part(number)).digest() for number in range(1, CUT.count + 1)])


@pytest.fixture(scope="module")
def stranger(deployed: Deployed) -> Api:
    """The API as someone else calls it."""
    return replace(deployed.api, caller=caller(deployed.aws, deployed.outputs, "stranger"))


def ask(api: Api, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Any:  # noqa: ANN401
    """Call the API: status and answer."""
    data = None if body is None else json.dumps(body).encode()
    status, answer = api.request(method, path, data, headers=headers)
    return status, json.loads(answer or "{}")


def declared(content: bytes, **changed: object) -> dict[str, object]:
    return {
        "file_name": "a.txt",
        "size": len(content),
        "content_type": "text/plain",
        "checksum": digest(content),
        **changed,
    }


def start(api: Api, declaration: dict[str, object], **headers: str) -> dict[str, Any]:
    status, begun = ask(api, "POST", "/uploads", declaration, headers)
    assert status == 201, begun
    assert isinstance(begun, dict)
    return begun


def post(deployed: Deployed, form: dict[str, Any], content: bytes, **changed: str) -> int:
    """Send a form as a browser does: fields, then the file."""
    boundary = secrets.token_hex(16)
    lines = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in {**form["fields"], **changed}.items()
    )
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'.encode()
    body = lines + head + content + f"\r\n--{boundary}--\r\n".encode()
    return send(deployed, "POST", form["url"], body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})


def put(deployed: Deployed, link: dict[str, Any], content: bytes, **changed: str) -> int:
    return send(deployed, link["method"], link["url"], content, {**link["headers"], **changed})


def send(deployed: Deployed, method: str, url: str, body: bytes, headers: dict[str, str]) -> int:
    import ssl

    request = urllib.request.Request(url, body, headers, method=method)
    trust = ssl.create_default_context(cafile=str(deployed.aws.ca_bundle))
    try:
        with urllib.request.urlopen(request, context=trust, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def state(api: Api, file_id: str) -> str:
    return str(ask(api, "GET", f"/files/{file_id}")[1].get("state", "none"))


def available(api: Api, file_id: str) -> Callable[[], bool]:
    return lambda: state(api, file_id) == "available"


def quota(api: Api) -> tuple[int, int]:
    """Return the bytes and files that count for a caller, as the API answers them."""
    status, answer = ask(api, "GET", "/quota")
    assert status == 200, answer
    used_bytes, used_files = answer["used_bytes"], answer["used_files"]
    assert answer == {
        "used_bytes": used_bytes,
        "used_files": used_files,
        "quota_bytes": 100 * 2**30,
        "quota_files": 100_000,
        "left_bytes": 100 * 2**30 - used_bytes,
        "left_files": 100_000 - used_files,
        "max_upload_bytes": 50 * 2**30,
        "allowed_content_types": list(CONTENT_TYPES),
    }
    return used_bytes, used_files


def recorded_quota(deployed: Deployed, file_id: str) -> tuple[int, int]:
    """Return the bytes and files that count for the owner of a file, as the tables have them."""
    record = deployed.dynamodb().get_item(TableName=deployed.outputs["table_name"], Key={"file_id": {"S": file_id}})
    owner = str(from_item(record["Item"])["owner"])
    table = deployed.outputs["quotas_table_name"]
    item = from_item(deployed.dynamodb().get_item(TableName=table, Key={"owner": {"S": owner}})["Item"])
    return int(item["bytes"]), int(item["files"])


def large(api: Api, numbers: range | list[int] = range(1, 3), **changed: object) -> dict[str, Any]:
    """Begin an upload in parts, with links for the first ones."""
    checksums = [digest(part(number)) for number in numbers]
    return start(
        api,
        {
            "file_name": "large.bin",
            "size": LARGE,
            "content_type": "application/octet-stream",
            "checksum": WHOLE,
            "part_checksums": checksums,
            **changed,
        },
    )


def links(api: Api, file_id: str, numbers: range) -> list[dict[str, Any]]:
    wanted = [{"part_number": number, "checksum": digest(part(number))} for number in numbers]
    status, answer = ask(api, "POST", f"/uploads/{file_id}/parts", {"parts": wanted})
    assert status == 200, answer
    return list(answer["parts"])


# in one piece


def test_a_form_carries_a_file_to_s3_and_the_workflow_opens_it(deployed: Deployed) -> None:
    api, content = deployed.api, secrets.token_bytes(200_000)
    begun = start(api, declared(content, content_type="application/octet-stream"))
    file_id = begun["file_id"]
    assert (begun["state"], begun["method"]) == ("uploading", "post")
    assert ask(api, "POST", f"/uploads/{file_id}/complete", {})[0] == 409, "no byte has arrived"
    assert post(deployed, begun["post"], content) == 204
    status, done = ask(api, "POST", f"/uploads/{file_id}/complete", {})
    assert (status, done["file_url"]) == (200, f"{api.url}/files/{file_id}/content")
    wait_for(available(api, file_id))
    assert ask(api, "POST", f"/uploads/{file_id}/complete", {})[1]["state"] == "available", "again changes nothing"
    link = ask(api, "GET", f"/files/{file_id}/content")[1]["download_url"]
    assert api.fetch(link) == (200, content)


@pytest.mark.parametrize(
    "change",
    [
        {"content": b"hellO"},
        {"content": b"hello!"},
        {"content": b"hell"},
        {"Content-Type": "text/html"},
        {"key": "uploads/other"},
        {"x-amz-server-side-encryption": "AES256"},
        {"x-amz-checksum-sha256": digest(b"other"), "content": b"other"},
    ],
)
def test_s3_refuses_what_was_not_declared(deployed: Deployed, change: dict[str, Any]) -> None:
    begun = start(deployed.api, declared(b"hello"))
    content = change.pop("content", b"hello")
    refused = post(deployed, begun["post"], content, **change)
    assert 400 <= refused < 500, refused
    assert state(deployed.api, begun["file_id"]) == "uploading"


def test_a_crashed_client_gets_a_fresh_form(deployed: Deployed) -> None:
    begun = start(deployed.api, declared(b"hello"))
    status, found = ask(deployed.api, "GET", f"/uploads/{begun['file_id']}")
    assert (status, found["state"], found["size"]) == (200, "uploading", 5)
    assert post(deployed, found["post"], b"hello") == 204
    wait_for(available(deployed.api, begun["file_id"]))
    assert "post" not in ask(deployed.api, "GET", f"/uploads/{begun['file_id']}")[1]


# in parts


def test_parts_are_sent_resumed_and_put_together(deployed: Deployed) -> None:
    api = deployed.api
    begun = large(api)
    file_id = begun["file_id"]
    assert (begun["part_size"], begun["part_count"]) == (MIN_PART_BYTES, CUT.count)
    for number, link in enumerate(begun["parts"], 1):
        assert put(deployed, link, part(number)) == 200
    status, problem = ask(api, "POST", f"/uploads/{file_id}/complete", {})
    assert (status, problem["errors"][0]) == (409, {"field": "parts/3", "detail": "it has not arrived"})
    there = ask(api, "GET", f"/uploads/{file_id}")[1]["parts"]
    assert there == [
        {"part_number": number, "size": MIN_PART_BYTES, "checksum": digest(part(number))} for number in (1, 2)
    ]
    for number, link in enumerate(links(api, file_id, range(3, CUT.count + 1)), 3):
        assert put(deployed, link, part(number)) == 200
    with ThreadPoolExecutor() as both:
        answers = list(both.map(lambda _: ask(api, "POST", f"/uploads/{file_id}/complete", {}), range(2)))
    assert [status for status, _ in answers] == [200, 200], f"both callers learn that it is complete: {answers}"
    wait_for(available(api, file_id))
    known = ask(api, "GET", f"/files/{file_id}")[1]
    assert (known["size"], known["checksum"]) == (LARGE, WHOLE)
    assert ask(api, "DELETE", f"/uploads/{file_id}")[0] == 409
    assert ask(api, "DELETE", f"/files/{file_id}")[0] == 204
    wait_for(lambda: leftovers(deployed, file_id) == 0)


@pytest.mark.parametrize(
    "fault",
    ["a flipped byte", "another checksum", "a longer part", "another part's link", "a header that is not signed"],
)
def test_s3_refuses_a_part_that_was_not_declared(deployed: Deployed, fault: str) -> None:
    begun = large(deployed.api)
    first, second = begun["parts"]
    content, changed = part(1), {}
    if fault == "a flipped byte":
        content = b"\x00" + content[1:]
    elif fault == "another checksum":
        content = b"\x00" + content[1:]
        changed = {"x-amz-checksum-sha256": digest(content)}
    elif fault == "a longer part":
        content += b"!"
        changed = {"content-length": str(len(content)), "x-amz-checksum-sha256": digest(content)}
    elif fault == "a header that is not signed":
        changed = {"x-amz-storage-class": "GLACIER"}
    else:
        first = second
    assert put(deployed, first, content, **changed) in {400, 403}
    assert ask(deployed.api, "GET", f"/uploads/{begun['file_id']}")[1]["parts"] == []
    ask(deployed.api, "DELETE", f"/uploads/{begun['file_id']}")


def test_a_form_that_is_sent_again_stores_nothing_more(deployed: Deployed) -> None:
    content = b"the same again"
    started = start(deployed.api, declared(content))
    for _ in range(3):
        assert post(deployed, started["post"], content) == 204
    wait_for(available(deployed.api, started["file_id"]))
    assert post(deployed, started["post"], content) == 204
    wait_for(lambda: leftovers(deployed, started["file_id"]) == 1)
    # It is scanned again, and then as open as before.
    wait_for(lambda: deployed.api.request("GET", f"/files/{started['file_id']}/content")[0] == 200)


def test_a_small_file_that_s3_refused_is_given_up(deployed: Deployed, stranger: Api) -> None:
    """A caller who gets an error sends the file again: it does not count twice. Bucket policies do not bind root."""
    root: Any = boto3.client("s3", **deployed.options(control.ROOT))  # type: ignore[call-overload]
    bucket = deployed.outputs["bucket_name"]
    policy = root.get_bucket_policy(Bucket=bucket)["Policy"]
    account = deployed.outputs["alerts_topic_arn"].split(":")[4]
    role = f"arn:aws:iam::{account}:role/sluice-local-upload-function-us-east-1"
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"ArnEquals": {"aws:PrincipalArn": role}},
    }
    document = json.loads(policy)
    body = {"file_name": "refused.txt", "file_content": base64.b64encode(b"hello").decode()}
    try:
        root.put_bucket_policy(
            Bucket=bucket, Policy=json.dumps({**document, "Statement": [*document["Statement"], deny]})
        )
        assert ask(stranger, "POST", "/upload", body)[0] == 500
    finally:
        root.put_bucket_policy(Bucket=bucket, Policy=policy)
    (file,) = ask(stranger, "GET", "/files?prefix=refused")[1]["files"]
    deployed.denied_on_purpose.add(f"arn:aws:s3:::{bucket}/uploads/{file['file_id']}")
    assert file["state"] == "aborted"
    item: Any = {"TableName": deployed.outputs["table_name"], "Key": {"file_id": {"S": file["file_id"]}}}
    wait_for(lambda: "purge_time" in deployed.dynamodb().get_item(**item)["Item"])


def test_parts_of_another_file_are_not_put_together(deployed: Deployed) -> None:
    """Each part is what its link says; together they are not what was declared."""
    api = deployed.api
    begun = large(api, checksum=checksum_of([hashlib.sha256(b"other").digest()] * CUT.count))
    for number, link in enumerate(links(api, begun["file_id"], range(1, CUT.count + 1)), 1):
        assert put(deployed, link, part(number)) == 200
    status, problem = ask(api, "POST", f"/uploads/{begun['file_id']}/complete", {})
    assert (status, problem["errors"][0]["field"]) == (409, "checksum")
    assert ask(api, "DELETE", f"/uploads/{begun['file_id']}")[0] == 204
    wait_for(lambda: leftovers(deployed, begun["file_id"]) == 0)
    assert ask(api, "DELETE", f"/uploads/{begun['file_id']}")[0] == 204, "again changes nothing"


def test_the_checksum_of_a_file_in_parts_may_follow(deployed: Deployed) -> None:
    """The workflow compares what S3 stored with the checksum that was agreed at completion."""
    api = deployed.api
    declared_first = {"file_name": "unhashed.bin", "size": LARGE, "content_type": "application/octet-stream"}
    file_id = start(api, declared_first)["file_id"]
    for number, link in enumerate(links(api, file_id, range(1, CUT.count + 1)), 1):
        assert put(deployed, link, part(number)) == 200
    assert "checksum" not in ask(api, "GET", f"/uploads/{file_id}")[1]
    assert "checksum" not in ask(api, "GET", "/files?prefix=unhashed")[1]["files"][0]
    other = checksum_of([hashlib.sha256(b"other").digest()] * CUT.count)
    status, problem = ask(api, "POST", f"/uploads/{file_id}/complete", {"checksum": other})
    assert (status, problem["errors"][0]["field"]) == (409, "checksum")
    for _ in range(2):
        assert ask(api, "POST", f"/uploads/{file_id}/complete", {"checksum": WHOLE})[0] == 200
    wait_for(available(api, file_id))
    assert ask(api, "GET", f"/files/{file_id}")[1]["checksum"] == WHOLE
    assert ask(api, "DELETE", f"/files/{file_id}")[0] == 204


def leftovers(deployed: Deployed, file_id: str) -> int:
    """Versions and unfinished uploads of a file."""
    import boto3

    from tools.embedded_aws import control

    s3: Any = boto3.client("s3", **deployed.options(control.ROOT))  # type: ignore[call-overload]
    where = {"Bucket": deployed.outputs["bucket_name"], "Prefix": f"uploads/{file_id}"}
    versions = s3.list_object_versions(**where)
    unfinished = s3.list_multipart_uploads(**where).get("Uploads", [])
    return len([*versions.get("Versions", []), *versions.get("DeleteMarkers", []), *unfinished])


# whose it is


def test_a_stranger_finds_nothing_on_any_verb(deployed: Deployed, stranger: Api) -> None:
    small, many = start(deployed.api, declared(b"hello")), large(deployed.api)
    for file_id in (small["file_id"], many["file_id"], str(uuid.uuid4())):
        checksum = digest(b"x")
        for method, path, body in [
            ("POST", f"/uploads/{file_id}/parts", {"parts": [{"part_number": 1, "checksum": checksum}]}),
            ("GET", f"/uploads/{file_id}", None),
            ("POST", f"/uploads/{file_id}/complete", {}),
            ("DELETE", f"/uploads/{file_id}", None),
            ("GET", f"/files/{file_id}", None),
            ("GET", f"/files/{file_id}/content", None),
            ("DELETE", f"/files/{file_id}", None),
        ]:
            status, problem = ask(stranger, method, path, body)
            assert (status, problem["type"]) == (404, "urn:sluice:problem:not-found"), (method, path)
    assert state(deployed.api, small["file_id"]) == "uploading"
    listed = ask(stranger, "GET", "/files?limit=100")[1]["files"]
    assert {small["file_id"], many["file_id"]}.isdisjoint(file["file_id"] for file in listed)
    for file_id in (small["file_id"], many["file_id"]):
        ask(deployed.api, "DELETE", f"/uploads/{file_id}")


def test_the_same_key_is_the_same_upload_only_for_its_owner(deployed: Deployed, stranger: Api) -> None:
    key = {"Idempotency-Key": secrets.token_hex(16)}
    first = start(deployed.api, declared(b"hello"), **key)
    assert start(deployed.api, declared(b"hello"), **key)["file_id"] == first["file_id"]
    status, problem = ask(deployed.api, "POST", "/uploads", declared(b"other"), key)
    assert (status, problem["type"]) == (422, "urn:sluice:problem:idempotency-key-reused")
    assert start(stranger, declared(b"hello"), **key)["file_id"] != first["file_id"]
    ask(deployed.api, "DELETE", f"/uploads/{first['file_id']}")
    assert ask(deployed.api, "POST", "/uploads", declared(b"hello"), key)[1]["state"] == "aborted"


def test_files_are_listed_newest_first_in_pages(deployed: Deployed, stranger: Api) -> None:
    name = secrets.token_hex(4)
    ids = [start(stranger, declared(b"hello", file_name=f"{name}-{n}.txt"))["file_id"] for n in range(5)]
    found: list[str] = []
    cursor = ""
    while True:
        status, page = ask(stranger, "GET", f"/files?limit=2&prefix={name}{cursor}")
        assert status == 200, page
        found += [file["file_id"] for file in page["files"]]
        if page["cursor"] is None:
            break
        cursor = f"&cursor={page['cursor']}"
    assert found == ids[::-1]
    ask(stranger, "DELETE", f"/uploads/{ids[0]}")
    assert ask(stranger, "GET", f"/files?prefix={name}&state=aborted")[1]["files"][0]["file_id"] == ids[0]
    assert len(ask(stranger, "GET", f"/files?prefix={name}&state=uploading")[1]["files"]) == 4
    for file_id in ids[1:]:
        ask(stranger, "DELETE", f"/uploads/{file_id}")


# how much


def test_the_quota_is_reserved_and_given_back(deployed: Deployed) -> None:
    # Callers of this test only: what other tests delete is given back a moment later.
    owner, stranger = (
        replace(deployed.api, caller=caller(deployed.aws, deployed.outputs, f"{name}-{secrets.token_hex(4)}"))
        for name in ("owner", "stranger")
    )
    assert quota(owner) == quota(stranger) == (0, 0), "they never uploaded anything"
    begun = start(owner, declared(b"hello"))
    assert quota(owner) == recorded_quota(deployed, begun["file_id"]) == (5, 1)
    assert post(deployed, begun["post"], b"hello") == 204
    wait_for(available(owner, begun["file_id"]))
    theirs = start(stranger, declared(b"hi"))
    assert (quota(owner), quota(stranger)) == ((5, 1), (2, 1))
    assert ask(owner, "DELETE", f"/files/{begun['file_id']}")[0] == 204
    assert ask(owner, "DELETE", f"/files/{begun['file_id']}")[0] == 204
    wait_for(lambda: quota(owner) == (0, 0))
    assert recorded_quota(deployed, begun["file_id"]) == (0, 0)
    assert leftovers(deployed, begun["file_id"]) == 0
    assert quota(stranger) == (2, 1), "it is another owner's"
    assert ask(stranger, "DELETE", f"/uploads/{theirs['file_id']}")[0] == 204
    wait_for(lambda: quota(stranger) == (0, 0))


def test_the_quota_holds_when_many_start_at_once(deployed: Deployed) -> None:
    import boto3

    from tools.embedded_aws import control

    client: Any = boto3.client("dynamodb", **deployed.options(control.ROOT))  # type: ignore[call-overload]
    records = Records(client, deployed.outputs["table_name"], deployed.outputs["quotas_table_name"])
    now, owner, results = datetime.now(UTC), f"many-{secrets.token_hex(4)}", []

    def begin() -> None:
        file_id = str(uuid.uuid4())
        file = ("a", "text/plain", 3, "checksum", f"uploads/{file_id}")
        record = FileRecord(file_id, owner, *file, State.ABORTED, timestamp(now), "url")
        try:
            records.create(record, quota=Quota(bytes=10, files=100), now=now)
            results.append("begun")
        except QuotaExceededError:
            results.append("refused")

    threads = [threading.Thread(target=begin) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["begun"] * 3 + ["refused"] * 9
    quotas = client.get_item(TableName=deployed.outputs["quotas_table_name"], Key={"owner": {"S": owner}})["Item"]
    assert (quotas["bytes"], quotas["files"]) == ({"N": "9"}, {"N": "3"})


def test_what_is_too_much_is_refused_before_a_byte_is_sent(deployed: Deployed) -> None:
    checksum = f"{digest(b'x')}-6400"
    status, problem = ask(
        deployed.api, "POST", "/uploads", {**declared(b"x"), "size": 50 * 2**30 + 1, "checksum": checksum}
    )
    assert (status, problem["type"]) == (413, "urn:sluice:problem:too-large")
    status, problem = ask(deployed.api, "POST", "/uploads", declared(b"x", content_type="application/x-msdownload"))
    assert (status, problem["type"]) == (415, "urn:sluice:problem:unsupported-type")
