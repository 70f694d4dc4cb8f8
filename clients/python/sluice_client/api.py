"""The calls of Sluice's API that the client makes. Each may be made twice: the pauses and attempts are in here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn
from urllib.parse import quote, urlsplit

import httpx

from sluice_client.connection import PASSING, Patience, retry_after, said_of
from sluice_client.errors import ProblemError, SluiceError, UnreachableError

ENDED = frozenset({"aborted", "rejected", "expired", "deleted", "quarantined"})
# A link is left alone when it ends this soon: the request has to be there before. Short-lived ones get a quarter.
_MARGIN_SECONDS = 15.0


class Answer:
    """A JSON object that the API answered, read field by field."""

    def __init__(self, fields: Mapping[str, object], what: str) -> None:
        """
        Args:
            what: the call, for errors.
        """
        self._fields = fields
        self._what = what

    @classmethod
    def of(cls, response: httpx.Response, what: str) -> Answer:
        """Read a response.

        Raises:
            SluiceError: it is no JSON object.
        """
        try:
            fields = response.json()
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise SluiceError(f"{what}: HTTP {response.status_code} without an answer of Sluice. Is SLUICE_URL right?")
        return cls(fields, what)

    def __contains__(self, name: str) -> bool:
        return self._fields.get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """A string; the default where it is missing."""
        value = self._fields.get(name, default)
        return value if isinstance(value, str) else self._is_not_what_is_known(name)

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number; the default where it is missing."""
        value = self._fields.get(name, default)
        return value if isinstance(value, int) else self._is_not_what_is_known(name)

    def object(self, name: str) -> Answer:
        """An object."""
        value = self._fields.get(name)
        return Answer(value, self._what) if isinstance(value, dict) else self._is_not_what_is_known(name)

    def objects(self, name: str) -> list[Answer]:
        """A list of objects."""
        values = self._fields.get(name)
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            self._is_not_what_is_known(name)
        return [Answer(value, self._what) for value in values]

    def texts(self, name: str) -> dict[str, str]:
        """An object of strings."""
        found = self.object(name)
        return {field: found.text(field) for field in found._fields}

    def _is_not_what_is_known(self, name: str) -> NoReturn:
        raise SluiceError(f"{self._what}: the answer has no {name} that this version of the client knows")


@dataclass(frozen=True)
class Link:
    """Where to send one part, with which headers, and until when by this machine's monotonic clock."""

    number: int
    url: str
    headers: Mapping[str, str]
    good_until: float

    @property
    def good(self) -> bool:
        """Whether there is time left to begin a request."""
        return time.monotonic() < self.good_until

    @classmethod
    def of(cls, answer: Answer) -> Link:
        """Read a link; its query says how long it is good (S3, "Authenticating requests: using query parameters")."""
        url = answer.text("url")
        seconds = float(httpx.QueryParams(urlsplit(url).query).get("X-Amz-Expires", "inf"))
        good_until = time.monotonic() + seconds - min(_MARGIN_SECONDS, seconds / 4)
        return cls(answer.number("part_number"), url, answer.texts("headers"), good_until)


@dataclass(frozen=True)
class Form:
    """Where to post a small file, and the fields that go before it."""

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
    """An upload as the API tells of it.

    Attributes:
        failure: why it ended.
        part_size: bytes of a part; 0 for one piece.
        form: how to send it in one piece; None once the bytes are there.
        links: of the first parts, after a start.
        parts: what S3 has; None once they have been put together.
    """

    file_id: str
    state: str
    failure: str = ""
    part_size: int = 0
    form: Form | None = None
    links: tuple[Link, ...] = ()
    parts: tuple[StoredPart, ...] | None = None

    @property
    def ended(self) -> bool:
        """Whether it will never be available."""
        return self.state in ENDED


@dataclass(frozen=True)
class Declaration:
    """What is said about a file before it is sent."""

    file_name: str
    size: int
    content_type: str
    checksum: str
    part_checksums: Sequence[str] = ()


@dataclass(frozen=True)
class File:
    """A file as the API tells of it; size in bytes, time in ISO 8601."""

    file_id: str
    file_name: str
    size: int
    content_type: str
    checksum: str
    state: str
    upload_time: str

    @classmethod
    def of(cls, answer: Answer) -> File:
        """Read one."""
        names = ("file_id", "file_name", "content_type", "checksum", "state", "upload_time")
        return cls(size=answer.number("size"), **{name: answer.text(name) for name in names})


class Api:
    """The API of one environment."""

    def __init__(
        self,
        url: str,
        auth: httpx.Auth,
        http: httpx.Client,
        patience: Patience = Patience(),  # noqa: B008 - it is frozen
        tell: Callable[[str], None] = lambda message: None,
    ) -> None:
        """
        Args:
            url: with the stage, such as Terraform's output `api_url`.
            tell: told why something takes longer.

        Raises:
            SluiceError: the address is not one to send credentials to.
        """
        self.url = url.rstrip("/")
        self.http = http
        self.patience = patience
        self.tell = tell
        self._auth = auth
        self._host = urlsplit(url).hostname or ""
        if not self._host or urlsplit(url).scheme not in {"https", "http"}:
            raise SluiceError(f"SLUICE_URL is {url!r}; it has to be the address of the API, beginning with https://")
        if urlsplit(url).scheme == "http" and self._host not in {"localhost", "127.0.0.1", "::1"}:
            raise SluiceError(f"{url} is not encrypted; tokens go over https:// alone")

    def start(self, declaration: Declaration, *, key: str) -> Upload:
        """Begin an upload, or find the one that was begun with this key."""
        body: dict[str, object] = {
            "file_name": declaration.file_name,
            "size": declaration.size,
            "content_type": declaration.content_type,
            "checksum": declaration.checksum,
        }
        if declaration.part_checksums:
            body["part_checksums"] = list(declaration.part_checksums)
        return self._upload("POST", "/uploads", body, {"Idempotency-Key": key})

    def links(self, file_id: str, parts: Sequence[tuple[int, str]]) -> list[Link]:
        """Links for parts, given by their numbers and checksums, 100 at most."""
        body = {"parts": [{"part_number": number, "checksum": checksum} for number, checksum in parts]}
        _, answer = self._call("POST", f"/uploads/{_segment(file_id)}/parts", body)
        return [Link.of(link) for link in answer.objects("parts")]

    def status(self, file_id: str) -> Upload:
        """What has arrived of an upload."""
        return self._upload("GET", f"/uploads/{_segment(file_id)}")

    def complete(self, file_id: str) -> Upload:
        """Have the upload checked and put together."""
        return self._upload("POST", f"/uploads/{_segment(file_id)}/complete", {})

    def abort(self, file_id: str) -> None:
        """Give up an upload."""
        self._call("DELETE", f"/uploads/{_segment(file_id)}")

    def files(self, *, state: str = "", prefix: str = "") -> Iterator[File]:
        """The caller's files, newest first, page by page."""
        query = {name: value for name, value in (("limit", "100"), ("state", state), ("prefix", prefix)) if value}
        while True:
            _, answer = self._call("GET", f"/files?{httpx.QueryParams(query)}")
            yield from map(File.of, answer.objects("files"))
            if "cursor" not in answer:
                return
            query["cursor"] = answer.text("cursor")

    def file(self, file_id: str) -> File:
        """One file."""
        _, answer = self._call("GET", f"/files/{_segment(file_id)}")
        return File.of(answer)

    def download_link(self, file_id: str) -> str:
        """A link to the bytes of a file, good for a minute."""
        _, answer = self._call("GET", f"/files/{_segment(file_id)}/content")
        return answer.text("download_url")

    def delete(self, file_id: str) -> None:
        """Delete a file."""
        self._call("DELETE", f"/files/{_segment(file_id)}")

    def _upload(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Upload:
        response, answer = self._call(method, path, body, headers)
        state = answer.text("state")
        if state == "uploading" and "expires_time" in answer and _past(answer.text("expires_time"), response):
            # The sweeper will write down what is so already: nothing more is taken for it.
            state = "expired"
        form = answer.object("post") if "post" in answer else None
        multipart = answer.text("method", "") == "multipart"
        # A start has links in `parts`, a status what S3 has.
        parts = answer.objects("parts") if multipart and "parts" in answer else None
        return Upload(
            file_id=answer.text("file_id"),
            state=state,
            failure=answer.text("failure", ""),
            part_size=answer.number("part_size", 0),
            form=Form(form.text("url"), form.texts("fields")) if form else None,
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
    ) -> tuple[httpx.Response, Answer]:
        what = f"{method} {path.partition('?')[0]}"
        failures = 0
        while True:
            at_least = 0.0
            try:
                response = self.http.request(
                    method, f"{self.url}{path}", json=body, headers=dict(headers or {}), auth=self._auth
                )
            except httpx.TransportError as error:
                failed: SluiceError = UnreachableError(said_of(error, self._host))
            else:
                if response.is_success:
                    return response, Answer({}, what) if response.status_code == 204 else Answer.of(response, what)
                failed = problem(response, what)
                if response.status_code not in PASSING:
                    raise failed
                at_least = retry_after(response)
            failures += 1
            if failures == self.patience.attempts:
                raise failed
            self.tell(f"{failed}; trying again")
            self.patience.pause(failures, at_least=at_least)


def problem(response: httpx.Response, what: str) -> ProblemError:
    """What a refusal says: RFC 9457, or the short forms of API Gateway and of AWS's firewall."""
    try:
        answer = Answer.of(response, what)
    except SluiceError as error:
        return ProblemError(response.status_code, str(error))
    said = ""
    for name in ("detail", "error", "message", "title"):
        if not said and name in answer:
            said = answer.text(name)
    faults = answer.objects("errors") if "errors" in answer else []
    errors = [(fault.text("field"), fault.text("detail")) for fault in faults]
    if response.status_code == 401:
        said = f"{said or 'Unauthorized'}: the token is wrong or has expired. Get a new one, then run the command again"
    return ProblemError(response.status_code, said or what, errors, answer.text("request_id", ""))


def _segment(file_id: str) -> str:
    # Ids come from people too: what is none must not become another path.
    return quote(file_id, safe="")


def _past(moment: str, response: httpx.Response) -> bool:
    """Whether a time is over by the server's clock, which may not be this machine's."""
    try:
        now = parsedate_to_datetime(response.headers["Date"])
    except (KeyError, ValueError):
        now = datetime.now(UTC)
    try:
        return datetime.fromisoformat(moment) <= now
    except (ValueError, TypeError):
        return False
