"""Decisions of the functions for uploads and files, with AWS in memory."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.common.contract import MAX_FILE_BYTES, MAX_PARTS, MAX_POST_BYTES, FailureCode, State
from functions.common.objects import Part
from functions.common.records import FileRecord, Quota, timestamp, to_item
from functions.common.rest_api import Refused
from functions.files.listing import Page, cursor_after
from functions.uploads.logic import Declaration, Rules, file_id_of
from functions.uploads.parts import Cut, checksum_of, faults
from tests.unit.fakes import QUOTAS, FakeContext, refusal, rest_event, sha256
from tests.unit.memory import Aws, call, start

MIB = 2**20
LARGE = MAX_POST_BYTES + 1
RULES = Rules(900_000_000, ("text/plain", "image/*"), Quota(10**9, 10), 900, timedelta(hours=24), "arn:aws:kms:::key/k")
COMPOSITE = f"{sha256(b'any')}-{Cut.of(LARGE).count}"


def body(**changed: object) -> str:
    return json.dumps(
        {"file_name": "a.txt", "size": 5, "checksum": sha256(b"hello"), "content_type": "text/plain"} | changed
    )


def ask(method: str, path: str, text: str | None = None, **event: Any) -> tuple[int, dict[str, Any]]:  # noqa: ANN401
    function = "files" if path.startswith(("/files", "/quota")) else "uploads"
    return call(function, rest_event(method, path, text, **event))


# the declaration


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (None, 400, "Missing request body"),
        ("[]", 400, "must be a JSON object"),
        (body(size=None), 400, "Missing size"),
        (body(size="5"), 400, "must be a whole number"),
        (body(size=True), 400, "must be a whole number"),
        (body(size=5.5), 400, "must be a whole number"),
        (body(size=0), 400, "must be 1 or more"),
        (body(size=900_000_001), 413, "larger than 900000000 bytes"),
        (body(checksum=None), 400, "Missing checksum"),
        (body(checksum="x"), 400, "Invalid checksum"),
        (body(checksum=sha256(b"hello")[:-2] + "p="), 400, "Invalid checksum"),
        (body(checksum=COMPOSITE), 400, "Invalid checksum"),
        (body(size=LARGE), 400, "here 12 of 8388608 bytes"),
        (body(size=LARGE, checksum=None), 400, "Missing checksum"),
        (body(size=LARGE, checksum=f"{sha256(b'any')}-11"), 400, "here 12 of 8388608 bytes"),
        (body(size=LARGE, checksum=COMPOSITE, part_checksums="x"), 400, "Invalid part_checksums"),
        (body(size=LARGE, checksum=COMPOSITE, part_checksums=[sha256(b"")] * 11), 400, "a list of 10 at most"),
        (body(size=LARGE, checksum=COMPOSITE, part_checksums=["x"]), 400, "Invalid part_checksums/1"),
        (body(file_name="a/b"), 400, "Invalid file_name"),
        (body(content_type="video/mp4"), 415, "the type video/mp4 is not allowed"),
        (body(content_type="text"), 400, "Invalid content_type"),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(text: str | None, status: int, words: str) -> None:
    with pytest.raises(Refused, match=words) as refused:
        Declaration.parse(text, rules=RULES)
    assert refused.value.status == status


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=5,
)
NAMES = ["file_name", "size", "content_type", "checksum", "part_checksums"]


@given(st.text() | st.dictionaries(st.sampled_from(NAMES) | st.text(), JSON).map(json.dumps))
def test_whatever_comes_is_refused_in_words_or_is_right(text: str) -> None:
    try:
        declaration = Declaration.parse(text, rules=RULES)
    except Refused as refused:
        assert refused.status in {400, 413, 415}
    else:
        assert 1 <= declaration.size <= RULES.max_bytes


@given(st.integers(MAX_POST_BYTES + 1, MAX_FILE_BYTES))
def test_a_file_is_cut_as_s3_takes_it(size: int) -> None:
    cut = Cut.of(size)
    assert 1 <= cut.count <= MAX_PARTS
    assert cut.part_size % (8 * MIB) == 0
    assert 1 <= cut.size_of(cut.count) <= cut.part_size <= 5 * 2**30
    assert (cut.count - 1) * cut.part_size + cut.size_of(cut.count) == size


def test_the_checksum_of_parts_is_as_s3_writes_it() -> None:
    """Two parts of which the digests are known: SHA-256 of the empty string, and of "abc" (FIPS 180-2)."""
    empty = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    abc = bytes.fromhex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    expected = base64.b64encode(hashlib.sha256(empty + abc).digest()).decode()
    assert checksum_of([empty, abc]) == f"{expected}-2"


def test_parts_are_put_together_when_all_is_right_and_not_before() -> None:
    cut = Cut(20 * MIB, 8 * MIB)
    digests = [hashlib.sha256(bytes([n])).digest() for n in range(3)]
    checksum = checksum_of(digests)
    right = [Part(n + 1, cut.size_of(n + 1), base64.b64encode(digests[n]).decode(), "e") for n in range(3)]
    assert faults(cut, checksum, right) == []
    assert faults(cut, checksum, right[:2]) == [("parts/3", "it has not arrived")]
    assert faults(cut, checksum, [*right, Part(4, 1, "x", "e")]) == [("parts/4", "there are only 3 parts")]
    short = [right[0], Part(2, 1, right[1].checksum, "e"), right[2]]
    assert faults(cut, checksum, short) == [("parts/2", f"it has 1 bytes instead of {8 * MIB}")]
    blank = [right[0], Part(2, right[1].size, "", "e"), right[2]]
    assert faults(cut, checksum, blank) == [("parts/2", "it was sent without its checksum")]
    swapped = [right[0], Part(2, right[1].size, right[0].checksum, "e"), right[2]]
    assert [field for field, _ in faults(cut, checksum, swapped)] == ["checksum"]
    assert faults(cut, "", swapped) == []
    assert faults(cut, "", right[:2]) == [("parts/3", "it has not arrived")]


def test_a_key_of_a_caller_names_one_file_and_no_key_names_a_new_one() -> None:
    assert file_id_of("ann", "12345678") == file_id_of("ann", "12345678")
    assert len({file_id_of("ann", "12345678"), file_id_of("bob", "12345678"), file_id_of("ann", "12345679")}) == 3
    assert file_id_of("ann", None) != file_id_of("ann", None)
    for wrong in ("", "1234567", "x" * 129, "with blank", "a\n12345678"):
        with pytest.raises(Refused, match="Invalid Idempotency-Key"):
            file_id_of("ann", wrong)


# uploads


def test_a_start_answers_with_a_form_that_pins_everything(aws: Aws) -> None:
    status, begun = ask("POST", "/uploads", body())
    assert (status, begun["method"], begun["state"]) == (201, "post", "uploading")
    fields = begun["post"]["fields"]
    assert fields["key"] == f"uploads/{begun['file_id']}"
    conditions = json.loads(fields["policy"])
    assert ["content-length-range", 5, 5] in conditions
    assert {name: value for each in conditions if isinstance(each, dict) for name, value in each.items()} == {
        "Content-Type": "text/plain",
        "x-amz-checksum-algorithm": "SHA256",
        "x-amz-checksum-sha256": sha256(b"hello"),
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:us-east-1:000000000000:key/files",
    }
    assert begun["post"]["url"].endswith("for=900")


def test_a_start_in_parts_answers_with_links_that_pin_size_and_checksum(aws: Aws) -> None:
    checksums = [sha256(b"one"), sha256(b"two")]
    _, begun = ask("POST", "/uploads", body(size=LARGE, checksum=COMPOSITE, part_checksums=checksums))
    assert (begun["method"], begun["part_size"], begun["part_count"]) == ("multipart", 8 * MIB, 12)
    (upload_id,) = aws.s3.uploads
    key = f"uploads/{begun['file_id']}"
    assert [part["url"] for part in begun["parts"]] == [
        f"https://signed/upload_part/{key}?for=900&upload={upload_id}&PartNumber={n}&ContentLength={8 * MIB}"
        f"&ChecksumSHA256={checksum}"
        for n, checksum in enumerate(checksums, 1)
    ]
    assert begun["parts"][0]["headers"] == {"content-length": str(8 * MIB), "x-amz-checksum-sha256": checksums[0]}
    _, last = ask(
        "POST",
        f"/uploads/{begun['file_id']}/parts",
        json.dumps({"parts": [{"part_number": 12, "checksum": checksums[0]}]}),
    )
    assert f"ContentLength={LARGE - 11 * 8 * MIB}&" in last["parts"][0]["url"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (None, "Invalid parts"),
        ([], "a list of 1 to 100"),
        ([{"part_number": 1, "checksum": sha256(b"")}] * 101, "a list of 1 to 100"),
        ([7], "Invalid parts/1"),
        ([{"part_number": 0, "checksum": sha256(b"")}], "must be 1 or more, and 12 at most"),
        ([{"part_number": 13, "checksum": sha256(b"")}], "12 at most"),
        ([{"part_number": 1, "checksum": "x"}], "Invalid parts/1/checksum"),
    ],
)
def test_wrong_parts_are_refused(aws: Aws, parts: object, words: str) -> None:
    _, begun = ask("POST", "/uploads", body(size=LARGE, checksum=COMPOSITE))
    status, problem = ask("POST", f"/uploads/{begun['file_id']}/parts", json.dumps({"parts": parts}))
    assert (status, words in problem["detail"]) == (400, True), problem


def test_an_upload_whose_time_is_over_takes_nothing(aws: Aws) -> None:
    _, begun = ask("POST", "/uploads", body(size=LARGE, checksum=COMPOSITE))
    path = f"/uploads/{begun['file_id']}"
    aws.change(begun["file_id"], expires_time="2020-01-01T00:00:00.000+00:00")
    parts = json.dumps({"parts": [{"part_number": 1, "checksum": sha256(b"")}]})
    assert ask("POST", f"{path}/parts", parts)[0] == 409
    assert ask("POST", f"{path}/complete", "{}")[0] == 409
    assert "parts" not in ask("GET", path)[1]


def test_no_link_outlives_its_upload(aws: Aws) -> None:
    _, begun = ask("POST", "/uploads", body())
    aws.change(begun["file_id"], expires_time=timestamp(datetime.now(UTC) + timedelta(seconds=100)))
    form = ask("GET", f"/uploads/{begun['file_id']}")[1]["post"]
    assert 95 <= int(form["url"].rpartition("=")[2]) <= 100


@pytest.mark.parametrize("state", ["aborted", "expired", "rejected", "quarantined", "deleted", "ending"])
def test_what_has_ended_cannot_be_completed(aws: Aws, state: str) -> None:
    _, begun = ask("POST", "/uploads", body())
    aws.change(begun["file_id"], state=state, ends_as="deleted" if state == "ending" else "")
    status, problem = ask("POST", f"/uploads/{begun['file_id']}/complete", "{}")
    assert (status, problem["detail"]) == (409, f"The upload is {'deleted' if state == 'ending' else state}")


@pytest.mark.parametrize(
    ("state", "status", "said"),
    [
        ("scanning", 200, "scanning"),
        ("available", 200, "available"),
        ("rejected", 409, "The upload is rejected"),
        ("uploading", 409, "The upload is aborted"),
    ],
)
def test_a_second_completion_answers_with_the_current_state(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, state: str, status: int, said: str
) -> None:
    _, begun = ask("POST", "/uploads", body(size=LARGE, checksum=COMPOSITE))
    file_id = begun["file_id"]
    aws.change(file_id, upload_id="u1")

    def pages(operation: str) -> Any:  # noqa: ANN401
        """Another call completes the upload, and the workflow takes the object, before S3 lists the parts."""
        assert operation == "list_parts"
        aws.change(file_id, state=state)
        raise refusal("NoSuchUpload", "ListParts")

    monkeypatch.setattr(aws.s3, "get_paginator", pages)
    answer = ask("POST", f"/uploads/{file_id}/complete", "{}")
    assert (answer[0], answer[1].get("state") or answer[1]["detail"]) == (status, said)


# the checksum that is agreed at completion

PARTS = [b"x" * Cut.of(LARGE).size_of(number) for number in range(1, Cut.of(LARGE).count + 1)]
WHOLE = checksum_of([hashlib.sha256(part).digest() for part in PARTS])
UNHASHED = json.dumps({"file_name": "a.txt", "size": LARGE, "content_type": "text/plain"})


def sent(aws: Aws, text: str = UNHASHED, parts: list[bytes] = PARTS, key: str = "12345678") -> str:
    """Start an upload in parts and send the parts; return its id."""
    first = json.loads(text) | {"part_checksums": [sha256(parts[0])]}
    _, begun = ask("POST", "/uploads", json.dumps(first), headers={"Idempotency-Key": key})
    upload_id = aws.items()[begun["file_id"]]["upload_id"]
    aws.s3.uploads[upload_id] = (f"uploads/{begun['file_id']}", dict(enumerate(parts, 1)))
    return str(begun["file_id"])


@pytest.mark.parametrize("said", [None, "{}", json.dumps({"checksum": WHOLE})])
def test_an_upload_without_a_checksum_gets_that_of_its_parts(aws: Aws, said: str | None) -> None:
    file_id = sent(aws)
    for path in (f"/uploads/{file_id}", f"/files/{file_id}"):
        assert "checksum" not in ask("GET", path)[1]
    (listed,) = ask("GET", "/files")[1]["files"]
    assert "checksum" not in listed
    for _ in range(2):
        assert ask("POST", f"/uploads/{file_id}/complete", said)[0] == 200
    assert aws.s3.versions[f"uploads/{file_id}"][0][2] == WHOLE
    (listed,) = ask("GET", "/files")[1]["files"]
    assert {listed["checksum"], ask("GET", f"/uploads/{file_id}")[1]["checksum"]} == {WHOLE}
    # The same start is the same upload, also now that the checksum is known.
    assert ask("POST", "/uploads", UNHASHED, headers={"Idempotency-Key": "12345678"})[1]["file_id"] == file_id


@pytest.mark.parametrize("changed", [{"size": LARGE + 1}, {"checksum": WHOLE}])
def test_another_declaration_under_the_key_of_one_without_a_checksum_is_refused(
    aws: Aws, changed: dict[str, object]
) -> None:
    sent(aws)
    other = json.dumps(json.loads(UNHASHED) | changed)
    assert ask("POST", "/uploads", other, headers={"Idempotency-Key": "12345678"})[0] == 422


def test_the_checksum_at_completion_is_held_to(aws: Aws) -> None:
    file_id = sent(aws)
    status, problem = ask("POST", f"/uploads/{file_id}/complete", json.dumps({"checksum": COMPOSITE}))
    assert (status, [fault["field"] for fault in problem["errors"]]) == (409, ["checksum"])
    assert not aws.s3.objects
    assert "checksum" not in aws.items()[file_id]
    assert ask("POST", f"/uploads/{file_id}/complete", json.dumps({"checksum": WHOLE}))[0] == 200
    for state in ("uploading", "scanning", "available"):
        aws.change(file_id, state=state)
        assert ask("POST", f"/uploads/{file_id}/complete", json.dumps({"checksum": WHOLE}))[0] == 200
        assert ask("POST", f"/uploads/{file_id}/complete", json.dumps({"checksum": COMPOSITE}))[0] == 409


def test_the_checksum_of_the_start_is_held_to_at_completion(aws: Aws) -> None:
    file_id = sent(aws, json.dumps(json.loads(UNHASHED) | {"checksum": COMPOSITE}))
    for said in (None, json.dumps({"checksum": WHOLE})):
        status, problem = ask("POST", f"/uploads/{file_id}/complete", said)
        assert (status, [fault["field"] for fault in problem["errors"]]) == (409, ["checksum"])
    assert not aws.s3.objects


@pytest.mark.parametrize("wrong", ["x", sha256(b"any"), f"{sha256(b'any')}-11", 7, None, ""])
def test_a_wrong_checksum_at_completion_is_refused(aws: Aws, wrong: object) -> None:
    file_id = sent(aws)
    status, problem = ask("POST", f"/uploads/{file_id}/complete", json.dumps({"checksum": wrong}))
    assert (status, "checksum" in problem["detail"]) == (400, True)


def test_a_small_file_is_completed_with_its_own_checksum(aws: Aws) -> None:
    _, begun = ask("POST", "/uploads", body())
    aws.s3.store(f"uploads/{begun['file_id']}", b"hello")
    path = f"/uploads/{begun['file_id']}/complete"
    assert ask("POST", path, json.dumps({"checksum": sha256(b"hello")}))[0] == 200
    assert ask("POST", path, json.dumps({"checksum": sha256(b"other")}))[0] == 409
    assert ask("POST", path, json.dumps({"checksum": COMPOSITE}))[0] == 400


@pytest.mark.parametrize(
    ("meanwhile", "status"),
    [
        ({"checksum": WHOLE}, 200),
        ({"checksum": COMPOSITE}, 409),
        ({"state": "ending", "ends_as": "aborted"}, 409),
    ],
)
def test_the_first_of_two_who_complete_decides_on_the_checksum(
    aws: Aws, monkeypatch: pytest.MonkeyPatch, meanwhile: dict[str, object], status: int
) -> None:
    file_id = sent(aws)
    pages = aws.s3.get_paginator

    def listing(operation: str) -> Any:  # noqa: ANN401
        aws.change(file_id, **meanwhile)
        return pages(operation)

    monkeypatch.setattr(aws.s3, "get_paginator", listing)
    assert ask("POST", f"/uploads/{file_id}/complete", "{}")[0] == status
    assert bool(aws.s3.objects) == (status == 200)


def test_the_second_of_two_who_complete_is_held_to_the_checksum_of_the_first(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call puts the parts together while the second lists them."""
    file_id = sent(aws)

    def listing(operation: str) -> Any:  # noqa: ANN401
        aws.change(file_id, checksum=WHOLE)
        aws.s3.store(f"uploads/{file_id}", b"".join(PARTS), WHOLE)
        raise refusal("NoSuchUpload", "ListParts")

    monkeypatch.setattr(aws.s3, "get_paginator", listing)
    assert ask("POST", f"/uploads/{file_id}/complete", json.dumps({"checksum": COMPOSITE}))[0] == 409
    assert ask("POST", f"/uploads/{file_id}/complete", json.dumps({"checksum": WHOLE}))[0] == 200


def test_an_abort_claims_the_record_and_has_it_discarded(aws: Aws) -> None:
    _, begun = ask("POST", "/uploads", body())
    assert ask("DELETE", f"/uploads/{begun['file_id']}") == (204, {})
    assert aws.functions.invoked == [{"file_id": begun["file_id"]}]
    assert aws.items()[begun["file_id"]]["state"] == "ending"
    assert ask("GET", f"/uploads/{begun['file_id']}")[1]["state"] == "aborted"


@pytest.mark.parametrize("state", ["quarantined", "ending"])
def test_a_file_in_quarantine_is_deleted_and_not_aborted(aws: Aws, state: str) -> None:
    _, begun = ask("POST", "/uploads", body())
    file_id = begun["file_id"]
    aws.change(
        file_id, state=state, failure="malware_found: bad", **({"ends_as": "quarantined"} if state == "ending" else {})
    )
    status, problem = ask("DELETE", f"/uploads/{file_id}")
    assert (status, "use DELETE /files" in problem["detail"]) == (409, True)
    status, problem = ask("DELETE", f"/files/{file_id}")
    if state == "ending":
        # Another caller has claimed it; that ends in a moment.
        assert (status, "try again in a moment" in problem["detail"]) == (409, True)
        return
    assert status == 204
    assert (aws.items()[file_id]["ends_as"], aws.functions.invoked) == ("deleted", [{"file_id": file_id}])


@pytest.mark.parametrize("state", ["rejected", "aborted", "expired"])
def test_of_a_file_that_has_ended_nothing_is_left_to_delete(aws: Aws, state: str) -> None:
    _, begun = ask("POST", "/uploads", body())
    aws.change(begun["file_id"], state=state, ends_as=state)
    status, problem = ask("DELETE", f"/files/{begun['file_id']}")
    assert (status, problem["detail"]) == (409, f"The file is {state}: nothing of it is left to delete")


def test_an_old_key_of_an_upload_whose_time_is_over_gets_no_dead_link(aws: Aws) -> None:
    key = {"Idempotency-Key": "12345678"}
    for text in (body(), body(size=LARGE, checksum=COMPOSITE)):
        _, begun = ask("POST", "/uploads", text, headers=key)
        aws.change(begun["file_id"], expires_time="2020-01-01T00:00:00.000+00:00")
        over = {"file_id": begun["file_id"], "state": "expired", "expires_time": "2020-01-01T00:00:00.000+00:00"}
        assert ask("POST", "/uploads", text, headers=key) == (201, over)
        assert aws.items()[begun["file_id"]]["ends_as"] == "expired"
        assert aws.functions.invoked.pop() == {"file_id": begun["file_id"]}
        aws.change(begun["file_id"], state="expired", ends_as="expired")
        assert ask("POST", "/uploads", text, headers=key) == (201, over)
        key = {"Idempotency-Key": "87654321"}


def test_an_upload_whose_bytes_came_in_time_is_not_expired_by_its_key(aws: Aws) -> None:
    key = {"Idempotency-Key": "12345678"}
    _, begun = ask("POST", "/uploads", body(), headers=key)
    aws.s3.store(f"uploads/{begun['file_id']}", b"hello")
    aws.change(begun["file_id"], expires_time="2020-01-01T00:00:00.000+00:00")
    assert ask("POST", "/uploads", body(), headers=key)[0] == 409
    assert aws.items()[begun["file_id"]]["state"] == "uploading"


CAUSE = json.dumps({"errorMessage": "Access denied: arn:aws:kms:us-east-1:1:key/inside", "stackTrace": ["inside"]})


@pytest.mark.parametrize("state", ["uploading", "scanning", "available", "rejected", "quarantined", "expired"])
def test_no_answer_holds_what_aws_said_of_an_error(aws: Aws, state: str) -> None:
    """Records of an earlier release hold it, in every state."""
    _, begun = ask("POST", "/uploads", body())
    aws.change(begun["file_id"], state=state, failure=CAUSE)
    for path in (f"/files/{begun['file_id']}", f"/uploads/{begun['file_id']}", "/files"):
        status, answer = ask("GET", path)
        assert (status, "inside" in str(answer), "arn:aws:kms" in str(answer.get("failure"))) == (200, False, False)
        if path != "/files" and state not in {"available", "expired"}:
            assert answer["failure_code"] in set(FailureCode)
            assert answer["failure"]


def test_an_owner_reads_why_in_a_sentence_and_a_code(aws: Aws) -> None:
    _, begun = ask("POST", "/uploads", body())
    aws.change(begun["file_id"], state="rejected", failure="checksum_mismatch: it is: something else")
    for path in (f"/files/{begun['file_id']}", f"/uploads/{begun['file_id']}"):
        _, answer = ask("GET", path)
        assert (answer["failure"], answer["failure_code"]) == ("it is: something else", "checksum_mismatch")


def test_a_prefix_finds_a_name_however_either_is_composed(aws: Aws) -> None:
    composed, decomposed = "\u00fcber.txt", "u\u0308ber.txt"
    for name in (composed, decomposed, "uber.txt"):
        assert ask("POST", "/uploads", body(file_name=name))[0] == 201
    for prefix in ("\u00fcb", "u\u0308b", "\u00fc"):
        found = ask("GET", "/files", query={"prefix": prefix})[1]["files"]
        # Names stay as they were sent.
        assert sorted(file["file_name"] for file in found) == sorted([composed, decomposed]), prefix


def test_an_available_file_is_not_aborted(aws: Aws) -> None:
    _, begun = ask("POST", "/uploads", body())
    aws.change(begun["file_id"], state="available")
    assert ask("DELETE", f"/uploads/{begun['file_id']}")[0] == 409
    assert aws.items()[begun["file_id"]]["state"] == "available"


# quota


def test_the_quota_counts_bytes_and_files(aws: Aws) -> None:
    assert ask("POST", "/uploads", body(size=900_000_000, checksum=f"{sha256(b'x')}-108"))[0] == 201
    status, problem = ask("POST", "/uploads", body(size=100_000_001, checksum=COMPOSITE))
    assert (status, problem["type"]) == (403, "urn:sluice:problem:quota-exceeded")
    assert ask("POST", "/uploads", body(size=100_000_000))[0] == 201, "to the last byte"
    assert ask("POST", "/uploads", body(size=1))[0] == 403
    assert ask("POST", "/uploads", body(), user_arn="arn:aws:iam::000000000000:user/bob")[0] == 201


def test_a_file_too_many_is_refused(aws: Aws) -> None:
    assert [ask("POST", "/uploads", body(size=1))[0] for _ in range(11)] == [201] * 10 + [403]
    assert len(aws.items()) == 10


# Other names of the two types that are allowed by name.
NAMES = [
    "application/binary",
    "application/download",
    "application/force-download",
    "application/unknown",
    "application/x-download",
    "application/x-octet-stream",
    "binary/octet-stream",
    "text/x-log",
    "unknown/unknown",
]


def quota(used_bytes: int, used_files: int, left_bytes: int, left_files: int) -> dict[str, object]:
    """Return an answer of GET /quota with the limits of these tests."""
    return {
        "used_bytes": used_bytes,
        "used_files": used_files,
        "quota_bytes": 10**9,
        "quota_files": 10,
        "left_bytes": left_bytes,
        "left_files": left_files,
        "max_upload_bytes": 900_000_000,
        "allowed_content_types": ["text/plain", "application/octet-stream", "image/*", *NAMES],
    }


def test_a_caller_who_never_uploaded_anything_has_all_of_the_quota_left(aws: Aws) -> None:
    assert ask("GET", "/quota") == (200, quota(0, 0, 10**9, 10))


def test_a_caller_sees_what_they_use_and_not_what_others_use(aws: Aws) -> None:
    bob = {"user_arn": "arn:aws:iam::000000000000:user/bob"}
    begun = [ask("POST", "/uploads", body(size=size))[1]["file_id"] for size in (300, 5)]
    ask("POST", "/uploads", body(size=7), **bob)
    assert ask("GET", "/quota") == (200, quota(305, 2, 10**9 - 305, 8))
    assert ask("GET", "/quota", **bob) == (200, quota(7, 1, 10**9 - 7, 9))
    # The bytes of a file that is to be deleted count until they are removed.
    aws.change(begun[0], state="available")
    assert ask("DELETE", f"/files/{begun[0]}")[0] == 204
    assert ask("GET", "/quota") == (200, quota(305, 2, 10**9 - 305, 8))
    start("discard").handler(*aws.functions.invoked, FakeContext())
    assert ask("GET", "/quota") == (200, quota(5, 1, 10**9 - 5, 9))


def test_what_is_used_is_read_as_it_is_at_this_moment(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def get_item(**request: object) -> dict[str, object]:
        asked.append(request)
        return {}

    monkeypatch.setattr(aws.dynamodb, "get_item", get_item)
    assert ask("GET", "/quota")[0] == 200
    owner = {"owner": {"S": "arn:aws:iam::000000000000:user/ann"}}
    assert asked == [{"TableName": QUOTAS, "Key": owner, "ConsistentRead": True}]


@pytest.mark.parametrize(
    ("stored", "answered"),
    [
        # An operator has lowered the quota.
        ({"bytes": 10**9 + 1, "files": 11}, quota(10**9 + 1, 11, 0, 0)),
        # It drifted, and the sweeper has not counted it again.
        ({"bytes": -5, "files": -1}, quota(0, 0, 10**9, 10)),
    ],
)
def test_no_number_of_a_quota_is_below_zero(aws: Aws, stored: dict[str, int], answered: dict[str, int]) -> None:
    item = to_item({"owner": "arn:aws:iam::000000000000:user/ann", **stored})
    aws.dynamodb.put_item(TableName=QUOTAS, Item=item)
    assert ask("GET", "/quota") == (200, answered)


def test_the_quota_is_that_of_the_verified_caller_whatever_the_request_says(aws: Aws) -> None:
    bob = "arn:aws:iam::000000000000:user/bob"
    ask("POST", "/uploads", body(size=7), user_arn=bob)
    forged: Any = {"query": {"owner": bob}, "headers": {"Owner": bob}}
    assert ask("GET", "/quota", json.dumps({"owner": bob}), **forged) == (200, quota(0, 0, 10**9, 10))
    status, problem = ask("GET", "/quota", user_arn=None, **forged)
    assert (status, problem["type"]) == (401, "urn:sluice:problem:unauthorized")


def test_trouble_with_the_table_of_quotas_tells_nothing(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**request: object) -> None:
        raise refusal("InternalServerError", "GetItem")

    monkeypatch.setattr(aws.dynamodb, "get_item", refuse)
    status, problem = ask("GET", "/quota")
    assert (status, problem["detail"]) == (500, "The request could not be handled")
    assert "secret" not in str(problem)


# files


def test_a_file_is_deleted_once_and_stays_deleted(aws: Aws) -> None:
    _, begun = ask("POST", "/uploads", body())
    path = f"/files/{begun['file_id']}"
    assert ask("DELETE", path)[0] == 409, "it is an upload still"
    aws.change(begun["file_id"], state="available")
    assert ask("DELETE", path)[0] == 204
    assert ask("GET", path)[0] == 404
    assert ask("GET", f"{path}/content")[0] == 409
    assert ask("DELETE", path)[0] == 204
    assert aws.functions.invoked == [{"file_id": begun["file_id"]}] * 2


def test_a_file_under_a_legal_hold_is_not_deleted(aws: Aws) -> None:
    _, begun = ask("POST", "/uploads", body())
    aws.change(begun["file_id"], state="available", legal_hold=True)
    status, problem = ask("DELETE", f"/files/{begun['file_id']}")
    assert (status, problem["detail"]) == (409, "The file is under a legal hold")
    assert aws.items()[begun["file_id"]]["state"] == "available"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"limit": "0"}, "Invalid limit"),
        ({"limit": "101"}, "Invalid limit"),
        ({"limit": "-1"}, "Invalid limit"),
        ({"limit": "x"}, "Invalid limit"),
        ({"state": "ending"}, "Invalid state"),
        ({"cursor": "x"}, "Invalid cursor"),
        ({"cursor": "W10"}, "Invalid cursor"),
        ({"owner": "bob"}, "no parameter owner"),
    ],
)
def test_a_wrong_list_is_refused(aws: Aws, query: dict[str, str], words: str) -> None:
    status, problem = ask("GET", "/files", query=query)
    assert (status, words in problem["detail"]) == (400, True), problem


@given(st.dictionaries(st.sampled_from(["limit", "state", "cursor", "prefix"]) | st.text(), st.text()))
def test_whatever_is_asked_for_is_refused_in_words_or_is_right(query: Mapping[str, str]) -> None:
    try:
        page = Page.parse(query)
    except Refused as refused:
        assert refused.status == 400
    else:
        assert 1 <= page.limit <= 100


def test_a_cursor_leads_to_where_it_came_from() -> None:
    last = {"upload_time": "2026-01-02T12:00:00.000+00:00", "file_id": "0c5e2f6e-1111-4222-8333-444455556666"}
    assert Page.parse({"cursor": cursor_after(last) or ""}).after == last
    assert cursor_after(None) is None


def test_a_list_with_a_filter_finds_what_is_far_behind(aws: Aws) -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    for number in range(230):
        moment = timestamp(now + timedelta(seconds=number))
        name = "needle.txt" if number in {0, 229} else "hay.txt"
        record = FileRecord(f"f{number}", "ann", name, "text/plain", 1, "c", "k", State.AVAILABLE, moment, "u")
        aws.records.create(record, quota=Quota(10**6, 10**6), now=now)
    found, after = aws.records.of_owner("ann", limit=1, after=None, prefix="needle")
    assert [item["file_id"] for item in found] == ["f229"]
    found, after = aws.records.of_owner("ann", limit=1, after=after, prefix="needle")
    assert ([item["file_id"] for item in found], after) == (["f0"], None)
