"""docs/openapi.yaml against the deployed system: its examples are sent, its links followed, its errors provoked.

Each story uses the API as a client would. Every answer, of errors too, has to be one that the document has for its
operation: status, type of content, schema, headers. In the end all that is documented was seen, or is named below with
the reason why not.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest

from tests.e2e.answers import Answer
from tests.e2e.conftest import Deployed, wait_for
from tests.e2e.test_api_authorization import ask
from tests.e2e.test_uploads import post, put
from tests.openapi import Operation, document, event_validator
from tools.develop.caller import Bearer, caller

DOCUMENT = document()
OPERATIONS = DOCUMENT.operations()
NOBODYS = "00000000-0000-4000-8000-000000000000"

NOT_PROVOKED: Mapping[tuple[str, str], str] = {
    **{(name, "500"): "trouble of ours: tests/unit makes it" for name in OPERATIONS},
    **{(name, "403"): "takes a firewall or an IAM policy, and `local` has neither" for name in OPERATIONS},
    **{(name, "429"): "one limit for all: getDeepHealth, which has its own, shows the answer" for name in OPERATIONS},
    ("getDeepHealth", "503"): "takes an outage: tests/unit makes it",
    ("startUpload", "409"): "takes bytes of an upload that is over, before the workflow sees them: tests/unit makes it",
}
PROVOKED_ALL_THE_SAME = {("startUpload", "403"), ("uploadSmall", "403"), ("getDeepHealth", "429")}


@dataclass
class Client:
    """Calls operations by their name, and holds every answer to the document."""

    deployed: Deployed
    user: Bearer
    seen: set[tuple[str, str]] = field(default_factory=set)

    def call(
        self,
        name: str,
        status: int,
        body: Any = None,  # noqa: ANN401 - bytes, or anything that JSON has
        *,
        signed: bool = True,
        query: Mapping[str, object] | None = None,
        key: str | None = None,
        **parameters: str,
    ) -> Answer:
        """Call an operation; it has to answer with this status."""
        operation = OPERATIONS[name]
        path = operation.path.format(**parameters) + (f"?{urlencode(query)}" if query else "")
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        answered = ask(
            self.deployed,
            operation.method,
            path,
            token=f"Bearer {self.user.token}" if signed and not operation.is_open else None,
            body=sent,
            origin=None,
            **({"Idempotency-Key": key} if key else {}),
        )
        self.hold(operation, answered)
        assert answered.status == status, f"{name}: {answered.status} {answered.body[:500]!r}"
        return answered

    def hold(self, operation: Operation, answered: Answer) -> None:
        """Hold an answer to what is documented."""
        status = str(answered.status)
        assert status in operation.responses, f"{operation.id} answers {status}: {answered.body[:500]!r}"
        self.seen.add((operation.id, status))
        response = operation.responses[status]
        for header, described in response["headers"].items():
            schema = DOCUMENT.follow(described)["schema"]
            value: object = answered.headers[header.lower()]
            if schema["type"] == "integer":
                value = int(str(value))
            DOCUMENT.validator(schema).validate(value)
        if "content" not in response:
            assert answered.body == b"", f"{operation.id} {status}"
            return
        kind = answered.headers["content-type"].partition(";")[0]
        assert kind in response["content"], f"{operation.id} {status} comes as {kind}: {answered.body[:500]!r}"
        faults = [
            f"{'/'.join(map(str, error.absolute_path))}: {error.message}"
            for error in DOCUMENT.validator(response["content"][kind]["schema"]).iter_errors(answered.json)
        ]
        assert not faults, f"{operation.id} {status}: {faults}"
        if kind == "application/problem+json":
            assert answered.json["status"] == answered.status

    def follow(self, name: str, status: int, link: str, answered: Answer, **more: Any) -> Answer:  # noqa: ANN401
        """Call what a link of an answer leads to."""
        described = OPERATIONS[name].responses[str(answered.status)]["links"][link]
        parameters = {
            parameter: answered.json[expression.removeprefix("$response.body#/")]
            for parameter, expression in described["parameters"].items()
        }
        return self.call(described["operationId"], status, **parameters, **more)

    def wait_until_available(self, file_id: str) -> None:
        """Until the workflow has opened the file."""
        wait_for(lambda: self.call("getFile", 200, file_id=file_id).json["state"] == "available")

    def other(self, name: str) -> Client:
        """Somebody else, whose answers are noted with these."""
        user = caller(self.deployed.aws, self.deployed.outputs, name)
        assert isinstance(user, Bearer)
        return replace(self, user=user)


@pytest.fixture(scope="module")
def client(deployed: Deployed) -> Client:
    assert isinstance(deployed.api.caller, Bearer)
    return Client(deployed, deployed.api.caller)


# stories


def a_small_file(client: Client) -> None:
    """Started twice, sent, opened, announced, listed, fetched, deleted."""
    example, key = OPERATIONS["startUpload"].examples()["small"], f"small-{secrets.token_hex(8)}"
    topic = client.deployed.outputs["files_topic_arn"]
    with client.deployed.subscribed(topic) as queue:
        started = client.call("startUpload", 201, example, key=key)
        assert started.json["method"] == "post"
        again = client.call("startUpload", 201, example, key=key)
        assert again.json["file_id"] == started.json["file_id"]
        client.call("startUpload", 422, example | {"file_name": "other.txt"}, key=key)
        state = client.follow("startUpload", 200, "status", started)
        assert state.json["checksum"] == example["checksum"]
        client.follow("startUpload", 409, "complete", started, body={})
        client.follow("startUpload", 409, "parts", started, body=OPERATIONS["signParts"].examples()["next"])
        file_id = started.json["file_id"]
        client.call("getFileContent", 409, file_id=file_id)
        client.call("deleteFile", 409, file_id=file_id)
        assert post(client.deployed, state.json["post"], b"Hello, Sluice?\n") in {400, 403}
        assert post(client.deployed, state.json["post"], b"Hello, Sluice!\n") == 204
        client.wait_until_available(file_id)
        event = next_event(client.deployed, queue)
    assert (event["event"], event["file_id"]) == ("file_uploaded", file_id)

    over = client.call("startUpload", 201, example, key=key)
    assert "method" not in over.json
    completed = client.follow("startUpload", 200, "complete", started, body={})
    client.follow("startUpload", 409, "abort", started)
    parameters = {each["name"]: each["example"] for each in OPERATIONS["listFiles"].parameters if "example" in each}
    page = client.call("listFiles", 200, query=parameters)
    assert file_id in {each["file_id"] for each in page.json["files"]}
    assert client.follow("completeUpload", 200, "file", completed).json["file_name"] == example["file_name"]
    link = client.follow("completeUpload", 200, "content", completed).json["download_url"]
    assert client.deployed.api.fetch(link) == (200, b"Hello, Sluice!\n")
    client.other("stranger").call("getFile", 404, file_id=file_id)
    client.follow("completeUpload", 204, "delete", completed)
    client.follow("completeUpload", 204, "delete", completed)
    client.follow("completeUpload", 404, "file", completed)


def next_event(deployed: Deployed, queue: str) -> dict[str, Any]:
    """The next event of the topic; it is what the schema says."""
    sqs = boto3.client("sqs", **deployed.options(deployed.operator))  # type: ignore[call-overload]
    (message,) = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)["Messages"]
    told = json.loads(message["Body"])
    event: dict[str, Any] = json.loads(told["Message"])
    event_validator().validate(event)
    assert told["MessageAttributes"]["event"]["Value"] == event["event"]
    return event


def a_large_file(client: Client) -> None:
    """Started, sent in parts, resumed, completed twice, fetched."""
    example = OPERATIONS["startUpload"].examples()["large"]
    part = bytes(8 * 2**20)
    started = client.call("startUpload", 201, example)
    assert (started.json["part_size"], started.json["part_count"]) == (len(part), 12)
    links = started.json["parts"]
    assert [link["part_number"] for link in links] == list(range(1, 11))
    for link in links:
        assert put(client.deployed, link, part) == 200
    signed = client.follow("startUpload", 200, "parts", started, body=OPERATIONS["signParts"].examples()["next"])
    flipped = b"\1" + part[1:]
    assert put(client.deployed, signed.json["parts"][0], flipped) in {400, 403}
    assert put(client.deployed, signed.json["parts"][0], part) == 200
    state = client.follow("startUpload", 200, "status", started)
    assert [each["part_number"] for each in state.json["parts"]] == list(range(1, 12))
    incomplete = client.follow("startUpload", 409, "complete", started, body={})
    assert [each["field"] for each in incomplete.json["errors"]] == ["parts/12"]
    assert put(client.deployed, signed.json["parts"][1], part) == 200
    completed = client.follow("startUpload", 200, "complete", started, body={})
    client.follow("startUpload", 200, "complete", started, body={})
    client.wait_until_available(completed.json["file_id"])
    client.follow("startUpload", 409, "parts", started, body=OPERATIONS["signParts"].examples()["next"])
    assert client.follow("startUpload", 200, "status", started).json["state"] == "available"
    assert client.follow("completeUpload", 200, "file", completed).json["checksum"] == example["checksum"]
    client.follow("completeUpload", 204, "delete", completed)


def an_upload_that_is_given_up(client: Client) -> None:
    """Aborted twice; its state tells."""
    started = client.call("startUpload", 201, OPERATIONS["startUpload"].examples()["large"])
    client.follow("startUpload", 204, "abort", started)
    client.follow("startUpload", 204, "abort", started)
    assert client.follow("startUpload", 200, "status", started).json["state"] == "aborted"
    client.follow("startUpload", 409, "complete", started, body={})


def a_small_file_in_one_request(client: Client) -> None:
    """As earlier callers send it."""
    example = OPERATIONS["uploadSmall"].examples()["hello"]
    stored = client.call("uploadSmall", 200, example)
    client.wait_until_available(stored.json["file_id"])
    assert client.follow("uploadSmall", 200, "file", stored).json["size"] == 15
    link = client.follow("uploadSmall", 200, "content", stored).json["download_url"]
    assert client.deployed.api.fetch(link) == (200, b"Hello, Sluice!\n")
    client.follow("uploadSmall", 204, "delete", stored)


def a_list_of_several_pages(client: Client) -> None:
    """The link to the next page leads to the end."""
    reader = client.other("reader")
    example = OPERATIONS["startUpload"].examples()["small"]
    ids = [reader.call("startUpload", 201, example).json["file_id"] for _ in range(3)]
    page = reader.call("listFiles", 200, query={"limit": 2})
    listed = [each["file_id"] for each in page.json["files"]]
    cursor = OPERATIONS["listFiles"].responses["200"]["links"]["next"]["parameters"]["cursor"]
    while page.json[cursor.removeprefix("$response.body#/")]:
        page = reader.call("listFiles", 200, query={"limit": 2, "cursor": page.json["cursor"]})
        listed += [each["file_id"] for each in page.json["files"]]
    assert listed == ids[::-1]
    for file_id in ids:
        reader.call("abortUpload", 204, file_id=file_id)


def wrong_requests(client: Client) -> None:
    """Send requests that the gateway refuses, and requests that the functions refuse."""
    start, small = OPERATIONS["startUpload"].examples()["small"], OPERATIONS["uploadSmall"].examples()["hello"]
    wrong: list[Any] = [b"{", [], start | {"size": "15"}, start | {"size": 0}, start | {"checksum": "x"}]
    for body in wrong:
        client.call("startUpload", 400, body)
    client.call("startUpload", 400, start, key="short")
    client.call("startUpload", 413, OPERATIONS["startUpload"].examples()["large"] | {"size": 2**42})
    client.call("startUpload", 415, start | {"content_type": "application/x-msdownload"})
    for body in (b"{", small | {"file_name": 1}, small | {"file_content": "?"}, {"file_name": "a"}):
        client.call("uploadSmall", 400, body)
    client.call("uploadSmall", 413, small | {"file_content": "A" * 6_000_004})
    client.call("uploadSmall", 413, small | {"file_content": "A" * 10_000_000})
    client.call("uploadSmall", 415, small | {"content_type": "application/x-msdownload"})
    client.call("listFiles", 400, query={"limit": 101})
    client.call("listFiles", 400, query={"cursor": "x"})
    started = client.call("startUpload", 201, OPERATIONS["startUpload"].examples()["large"])
    for parts in ([], [{"part_number": 13, "checksum": start["checksum"]}], [{"part_number": 1, "checksum": "x"}]):
        client.follow("startUpload", 400, "parts", started, body={"parts": parts})
    client.follow("startUpload", 400, "complete", started, body=[])
    for link in ("parts", "complete"):
        client.follow("startUpload", 413, link, started, body={"parts": [], "more": "A" * 10_500_000})
    client.follow("startUpload", 204, "abort", started)


def no_token_or_nothing_there(client: Client) -> None:
    """401 everywhere but at health; 404 wherever a file is named, for strangers too."""
    theirs = client.other("owner").call("startUpload", 201, OPERATIONS["startUpload"].examples()["large"])
    for name, operation in OPERATIONS.items():
        body = next(iter(operation.examples().values()), None)
        names_a_file = "{file_id}" in operation.path
        if names_a_file:
            client.call(name, 401, body, signed=False, file_id=NOBODYS)
            client.call(name, 404, body, file_id=NOBODYS)
            client.call(name, 404, body, file_id=theirs.json["file_id"])
        elif not operation.is_open:
            client.call(name, 401, body, signed=False)
    client.other("owner").call("abortUpload", 204, file_id=theirs.json["file_id"])


def a_full_quota(client: Client) -> None:
    """Two declarations fill it; nothing more is taken until one is given up."""
    greedy = client.other("greedy")
    assert greedy.call("getQuota", 200).json["used_bytes"] == 0
    digest = OPERATIONS["startUpload"].examples()["small"]["checksum"]
    # 50 GiB in parts of 8 MiB.
    half = {"file_name": "half.bin", "size": 50 * 2**30, "checksum": f"{digest}-6400"}
    started = [greedy.call("startUpload", 201, half) for _ in range(2)]
    assert greedy.call("getQuota", 200).json["left_bytes"] == 0
    greedy.call("startUpload", 403, OPERATIONS["startUpload"].examples()["small"])
    greedy.call("uploadSmall", 403, OPERATIONS["uploadSmall"].examples()["hello"])
    for each in started:
        greedy.follow("startUpload", 204, "abort", each)


def health(client: Client) -> None:
    """Open to all; the deep one as often as the document says."""
    client.call("getHealth", 200)
    wrong = ask(client.deployed, "GET", "/health", origin=None, Content_Type="text/plain")
    client.hold(OPERATIONS["getHealth"], wrong)
    assert wrong.status == 415

    def has_answered(status: str) -> bool:
        client.hold(OPERATIONS["getDeepHealth"], ask(client.deployed, "GET", "/health/deep", origin=None))
        return ("getDeepHealth", status) in client.seen

    wait_for(lambda: has_answered("200"))
    wait_for(lambda: has_answered("429"))


STORIES: list[Callable[[Client], None]] = [
    a_small_file,
    a_large_file,
    an_upload_that_is_given_up,
    a_small_file_in_one_request,
    a_list_of_several_pages,
    wrong_requests,
    no_token_or_nothing_there,
    a_full_quota,
    health,
]
_told: set[str] = set()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_answers_are_as_documented(client: Client, story: Callable[[Client], None]) -> None:
    _told.add(story.__name__)
    story(client)


def test_everything_documented_was_seen_or_has_a_reason(client: Client) -> None:
    for story in STORIES:
        if story.__name__ not in _told:
            story(client)
    documented = {(name, status) for name, operation in OPERATIONS.items() for status in operation.responses}
    assert documented - client.seen == documented & (set(NOT_PROVOKED) - PROVOKED_ALL_THE_SAME)
