"""The calls of Sluice's API that the client makes, with their retries: every call is idempotent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from urllib.parse import quote, urlencode

import httpx

from sluice_client.answers import Answer, problem
from sluice_client.connections import Connections, Reply, address
from sluice_client.errors import SluiceError, UnreachableError
from sluice_client.retries import PASSING, Patience, retry_after, server_time
from sluice_client.text import quoted

ENDED = frozenset({"aborted", "rejected", "expired", "deleted", "quarantined"})
# A link that expires within this time is not used, since the request has to arrive before. For short-lived links, a
# quarter of their time.
_MARGIN_SECONDS = 15.0
# A page of the list may be empty, since DynamoDB filters records; a list with more empty pages than this has no end.
_MOST_EMPTY_PAGES = 1_000
# A quota may be larger than the integers that all implementations of JSON agree on: a setting accepts 2**60 bytes.
_MOST_QUOTA = 2**63 - 1


@dataclass(frozen=True)
class Link:
    """A link for one part: address, headers, and the end of its validity by this machine's monotonic clock."""

    number: int
    url: str
    headers: Mapping[str, str]
    good_until: float

    @property
    def good(self) -> bool:
        """True if there is enough time left to begin a request."""
        return time.monotonic() < self.good_until

    @classmethod
    def of(cls, answer: Answer) -> Link:
        """Read a link; its query has the validity in seconds (S3, "Authenticating requests: query parameters")."""
        url = answer.address("url")
        said = httpx.URL(url).params.get("X-Amz-Expires", "")
        seconds = float(said) if said.isascii() and said.isdigit() else float("inf")
        good_until = time.monotonic() + seconds - min(_MARGIN_SECONDS, seconds / 4)
        return cls(answer.number("part_number"), url, answer.headers("headers"), good_until)


@dataclass(frozen=True)
class Form:
    """A form to post a small file: the address, and the fields that go before the file."""

    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class StoredPart:
    """A part that S3 has: its number from 1, bytes, and SHA-256 in base64."""

    number: int
    size: int
    checksum: str


@dataclass(frozen=True)
class Upload:
    """The state of an upload, as the API returns it.

    Attributes:
        failure: the reason why it ended.
        part_size: bytes of a part; 0 for a file that is sent in one request.
        form: for a file that is sent in one request; None when the bytes have arrived.
        links: of the first parts, after a start.
        parts: the parts that S3 has; None when they have been assembled.
        checksum: of the whole file; empty if the API does not know it yet.
    """

    file_id: str
    state: str
    failure: str = ""
    part_size: int = 0
    form: Form | None = None
    links: tuple[Link, ...] = ()
    parts: tuple[StoredPart, ...] | None = None
    checksum: str = ""

    @property
    def ended(self) -> bool:
        """True if it can never become available."""
        return self.state in ENDED


@dataclass(frozen=True)
class Declaration:
    """The declaration of a file before it is sent; the checksum of a file in parts follows at completion."""

    file_name: str
    size: int
    content_type: str
    checksum: str = ""
    part_checksums: Sequence[str] = ()


@dataclass(frozen=True)
class File:
    """A file, as the API returns it; size in bytes, time in ISO 8601."""

    file_id: str
    file_name: str
    size: int
    content_type: str
    checksum: str
    state: str
    upload_time: str

    @classmethod
    def of(cls, answer: Answer) -> File:
        """Read a file from an answer."""
        names = ("file_id", "file_name", "content_type", "state", "upload_time")
        texts = {name: answer.text(name) for name in names}
        # An upload that was started without a checksum has none yet.
        return cls(size=answer.number("size"), checksum=answer.text("checksum", ""), **texts)


@dataclass(frozen=True)
class Quota:
    """The limits of an upload, and the bytes and files that the caller uses, may have, and may still add.

    Attributes:
        used_bytes, used_files: of files and of unfinished uploads.
        quota_bytes, quota_files: what the caller may have.
        max_upload_bytes: of the largest file that is taken.
        allowed_content_types: media types that are taken, and patterns such as `image/*`.
    """

    used_bytes: int
    used_files: int
    quota_bytes: int
    quota_files: int
    left_bytes: int
    left_files: int
    max_upload_bytes: int
    allowed_content_types: tuple[str, ...]

    @classmethod
    def of(cls, answer: Answer) -> Quota:
        """Read a quota from an answer."""
        types = "allowed_content_types"
        numbers = [field.name for field in fields(cls) if field.name != types]
        return cls(
            **{name: answer.number(name, most=_MOST_QUOTA) for name in numbers},
            allowed_content_types=answer.strings(types),
        )


class Api:
    """The API of one environment."""

    def __init__(
        self,
        url: str,
        auth: httpx.Auth,
        http: Connections,
        patience: Patience = Patience(),  # noqa: B008 - it is frozen
        tell: Callable[[str], None] = lambda message: None,
    ) -> None:
        """
        Args:
            url: with the stage, such as Terraform's output `api_url`.
            tell: called with the reason when something takes longer.

        Raises:
            SluiceError: credentials may not be sent to this address.
        """
        found = address(url)
        if found is None or found.query or found.fragment:
            shown = quoted(url.rpartition("@")[2])
            if url.startswith("http://"):
                raise SluiceError(f"{shown} is not encrypted; tokens are sent over https:// only")
            raise SluiceError(
                f"SLUICE_URL is '{shown}'; it has to be the address of the API, beginning with https://, "
                "without a password, a query, or a fragment"
            )
        self.url = url.rstrip("/")
        self.http = http
        self.patience = patience
        self.tell = tell
        self._auth = auth

    def start(self, declaration: Declaration, *, key: str) -> Upload:
        """Start an upload, or return the one that was started with this key."""
        body: dict[str, object] = {
            "file_name": declaration.file_name,
            "size": declaration.size,
            "content_type": declaration.content_type,
        }
        if declaration.checksum:
            body["checksum"] = declaration.checksum
        if declaration.part_checksums:
            body["part_checksums"] = list(declaration.part_checksums)
        return self._upload("POST", "/uploads", body, {"Idempotency-Key": key})

    def links(self, file_id: str, parts: Sequence[tuple[int, str]]) -> list[Link]:
        """Return links for up to 100 parts, given by their numbers and checksums."""
        body = {"parts": [{"part_number": number, "checksum": checksum} for number, checksum in parts]}
        _, answer = self._call("POST", f"/uploads/{_segment(file_id)}/parts", body)
        return [Link.of(link) for link in answer.objects("parts")]

    def status(self, file_id: str) -> Upload:
        """Return the state of an upload, with the parts that have arrived."""
        return self._upload("GET", f"/uploads/{_segment(file_id)}")

    def complete(self, file_id: str, checksum: str = "") -> Upload:
        """Complete an upload: Sluice checks its parts, also against a checksum of the whole, and S3 assembles them."""
        body = {"checksum": checksum} if checksum else {}
        return self._upload("POST", f"/uploads/{_segment(file_id)}/complete", body)

    def abort(self, file_id: str) -> None:
        """Abort an upload."""
        self._call("DELETE", f"/uploads/{_segment(file_id)}")

    def files(self, *, state: str = "", prefix: str = "") -> Iterator[File]:
        """Yield the caller's files, newest first, page by page."""
        query = {name: value for name, value in (("limit", "100"), ("state", state), ("prefix", prefix)) if value}
        seen: set[int] = set()
        empty = 0
        while True:
            # HTML forms encode a space as `+`; AWS signatures accept only `%20`.
            _, answer = self._call("GET", f"/files?{urlencode(query, quote_via=quote)}")
            files = answer.objects("files")
            yield from map(File.of, files)
            if "cursor" not in answer:
                return
            query["cursor"] = answer.text("cursor")
            empty = 0 if files else empty + 1
            if hash(query["cursor"]) in seen or empty > _MOST_EMPTY_PAGES:
                raise SluiceError(
                    "The API's list of files does not end: it repeats a page, or has too many empty pages"
                )
            seen.add(hash(query["cursor"]))

    def file(self, file_id: str) -> File:
        """Return a file."""
        _, answer = self._call("GET", f"/files/{_segment(file_id)}")
        return File.of(answer)

    def download_link(self, file_id: str) -> str:
        """Return a link to the bytes of a file, which is valid for a minute."""
        _, answer = self._call("GET", f"/files/{_segment(file_id)}/content")
        return answer.address("download_url")

    def delete(self, file_id: str) -> None:
        """Delete a file."""
        self._call("DELETE", f"/files/{_segment(file_id)}")

    def quota(self) -> Quota:
        """Return how much of the caller's quota is used and left."""
        _, answer = self._call("GET", "/quota")
        return Quota.of(answer)

    def _upload(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Upload:
        reply, answer = self._call(method, path, body, headers)
        state = answer.text("state")
        if state == "uploading" and "expires_time" in answer and _past(answer.text("expires_time"), reply):
            # The API accepts nothing more for it; the sweeper has only not yet changed the record.
            state = "expired"
        form = answer.object("post") if "post" in answer else None
        multipart = answer.text("method", "") == "multipart"
        # `parts` has links after a start, and the stored parts in a status.
        parts = answer.objects("parts") if multipart and "parts" in answer else None
        return Upload(
            file_id=answer.text("file_id"),
            state=state,
            failure=answer.text("failure", ""),
            part_size=answer.number("part_size", 0),
            checksum=answer.text("checksum", ""),
            form=Form(form.address("url"), form.texts("fields")) if form else None,
            links=tuple(Link.of(part) for part in parts or () if "url" in part),
            parts=None
            if parts is None
            else tuple(
                StoredPart(part.number("part_number"), part.number("size"), part.text("checksum", ""))
                for part in parts
                if "url" not in part
            ),
        )

    def _call(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Reply, Answer]:
        what = f"{method} {quoted(path.partition('?')[0])}"
        failures = 0
        give_up = time.monotonic() + self.patience.longest_call_seconds
        while True:
            at_least = 0.0
            attempts = self.patience.attempts
            try:
                reply = self.http.ask(method, f"{self.url}{path}", json=body, headers=headers, auth=self._auth)
            except UnreachableError as error:
                failed: SluiceError = error
            else:
                if reply.is_success:
                    return reply, Answer({}, what) if reply.status == 204 else Answer.of(reply, what)
                failed = problem(reply, what)
                if reply.status not in PASSING:
                    raise failed
                if reply.status == 500:
                    attempts = min(attempts, self.patience.attempts_on_500)
                at_least = retry_after(reply.headers)
            failures += 1
            if failures >= attempts or time.monotonic() + at_least > give_up:
                raise failed
            self.tell(f"{failed}; trying again")
            self.patience.pause(failures, at_least=at_least)


def _segment(file_id: str) -> str:
    # Users enter ids too: a wrong one must not become another path.
    if file_id in {"", ".", ".."}:
        raise SluiceError(f"{file_id!r} is not the id of a file")
    try:
        return quote(file_id, safe="")
    except UnicodeEncodeError:
        raise SluiceError(f"'{quoted(file_id)}' is not the id of a file") from None


def _past(moment: str, reply: Reply) -> bool:
    """Return whether a time is in the past, by the server's clock."""
    try:
        return datetime.fromisoformat(moment) <= server_time(reply.headers)
    except (ValueError, TypeError, OverflowError):
        return False
