"""A plan as Markdown for a comment on GitHub: risks first, then access, then every change by concern.

Values come from anywhere, so nothing of them is Markdown: they stand in code spans, code fences or escaped HTML. The
report is made of whole pieces that are put in while there is room, so that it is never cut inside a table or a fold.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tools.operate.plan.access import Access, access_of, policy_in, statements_of
from tools.operate.plan.read import UNKNOWN, Action, Change, Plan, differences, document_in
from tools.operate.plan.risk import RISKS, RiskFinding, risks

# GitHub refuses a longer comment ("body is too long"). Counted in bytes of UTF-8 here, which are never fewer.
GITHUB_LIMIT = 65_536
# Below this a report is shown unfolded.
_SHORT = 4_000
# Room of one value in a table, in characters.
_VALUE = 160
# Lines of one document's difference.
_LINES = 120
# Left free for the last line, which says what was left out.
_TAIL = 200

_WORDS: dict[Action, str] = {
    "create": "created",
    "change": "changed",
    "replace": "replaced",
    "destroy": "destroyed",
    "forget": "forgotten (it stays in AWS)",
    "move": "moved",
    "import": "imported",
    "read": "read",
}
_COLUMNS: tuple[Action, ...] = ("create", "change", "replace", "destroy", "forget", "move", "import")


def report(plan: Plan, *, title: str, nothing: str = "No changes", limit: int = GITHUB_LIMIT) -> str:
    """Return the report of a plan.

    Args:
        title: what was planned, such as `Plan of prod`.
        nothing: what to say of a plan that does nothing.
        limit: bytes that the report may have.
    """
    if not plan:
        return f"**{_text(title)}: {nothing}**\n"
    counts = ", ".join(
        f"{plan.count(action)} {_WORDS[action]}" for action in _COLUMNS if plan.count(action)
    )  # fmt: skip
    findings = risks(plan)
    accesses = [access for access in map(access_of, plan.changes) if access]
    concerns = sorted({change.concern for change in plan.changes})
    page = _Page(limit - _TAIL)
    page.add(f"## {_text(title)}: {counts or 'only outputs'}\n\n{_risk_line(findings)}\n")
    page.add_all([_risk(finding) for finding in findings], "risks", share=0.25)
    page.add_all([_row(plan, concern) for concern in concerns], "concerns", head=_head(plan), share=0.1)
    if plan.outputs:
        page.add(f"\nOutputs that change: {', '.join(map(_code, plan.outputs[:20]))}\n")
    page.fold("Access gained (+) and lost (-)", [_access(access) for access in accesses], "policies", share=0.4)
    for concern in concerns:
        changes = [change for change in plan.changes if change.concern == concern]
        page.fold(f"{concern}: {_counts(changes)}", [_change(change) for change in changes], "changes")
    return page.text(short=_SHORT)


class _Page:
    """A page of whole pieces of Markdown, limited in size."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._pieces: list[str] = []
        self._left_out: dict[str, int] = {}

    def add(self, piece: str) -> bool:
        """Add a piece if there is room for it."""
        size = len(piece.encode())
        if size > self._room:
            return False
        self._room -= size
        self._pieces.append(piece)
        return True

    def add_all(self, pieces: Sequence[str], what: str, *, head: str = "", share: float = 1.0) -> None:
        """Add as many pieces as fit into a share of the remaining room."""
        if not pieces or not self.add(head if pieces[0].startswith("\n") else f"\n{head}"):
            return
        reserved = int(self._room * (1 - share))
        self._room -= reserved
        missing = sum(not self.add(piece) for piece in pieces)
        self._room += reserved
        if missing:
            self._left_out[what] = self._left_out.get(what, 0) + missing

    def fold(self, title: str, pieces: Sequence[str], what: str, *, share: float = 1.0) -> None:
        """Add pieces that a reader can fold."""
        opening, closing = f"\n<details>\n<summary>{_text(title)}</summary>\n", "\n</details>\n"
        room = len((opening + closing).encode()) + 10
        if not pieces:
            return
        if self._room < room + min(len(piece.encode()) for piece in pieces):
            self._left_out[what] = self._left_out.get(what, 0) + len(pieces)
            return
        self._room -= len(closing.encode()) + len(" open")
        self.add(opening)
        self.add_all(pieces, what, share=share)
        self._pieces.append(closing)

    def text(self, *, short: int) -> str:
        """Return all pieces, and the number of those that did not fit."""
        text = "".join(self._pieces)
        if len(text) < short:
            text = text.replace("\n<details>\n", "\n<details open>\n")
        if self._left_out:
            counts = ", ".join(f"{what} ({number})" for what, number in self._left_out.items())
            text += f"\n**Left out for want of room: {counts}.** The plan's JSON has them.\n"
        return text


# Pieces


def _risk_line(findings: Sequence[RiskFinding]) -> str:
    counts = {risk: sum(finding.risk == risk for finding in findings) for risk in RISKS}
    named = [f"{risk} ({count})" for risk, count in counts.items() if count]
    return f"**Risk: {', '.join(named)}**" if named else "**Risk: none found**"


def _risk(finding: RiskFinding) -> str:
    return f"- **{finding.risk}** {_code(finding.address)}: {_text(finding.text)}\n"


def _columns(plan: Plan) -> list[Action]:
    return [action for action in _COLUMNS if plan.count(action)]


def _head(plan: Plan) -> str:
    columns = _columns(plan)
    return f"| concern | {' | '.join(map(_WORDS.__getitem__, columns))} |\n|---|{'---|' * len(columns)}\n"


def _row(plan: Plan, concern: str) -> str:
    changes = [change for change in plan.changes if change.concern == concern]
    cells = [str(sum(change.action == action for change in changes) or "") for action in _columns(plan)]
    return f"| {_code(concern)} | {' | '.join(cells)} |\n"


def _counts(changes: Sequence[Change]) -> str:
    numbers = {action: sum(change.action == action for change in changes) for action in _COLUMNS}
    return ", ".join(f"{number} {_WORDS[action]}" for action, number in numbers.items() if number)


def _access(access: Access) -> str:
    lines = [f"{sign} {_line(sentence)}" for sign, sentence in access.sentences()]
    if access.unknown:
        lines.append("! a policy of it is known after the apply only")
    return f"\n{_code(access.address)}\n\n{_fence(lines)}"


def _heading(change: Change) -> str:
    """Return what happens to a resource, its former address, and the attributes that it is replaced for."""
    first = f"\n**{_WORDS[change.action]}** {_code(change.address)}"
    if change.moved_from:
        first += f", which was {_code(change.moved_from)}"
    if change.replaced_for:
        first += f", because of {', '.join(map(_code, change.replaced_for[:5]))}"
    if change.action == "replace":
        first += " (gone until its successor is there)" if change.gap else " (its successor comes first)"
    return first + "\n"


def _change(change: Change) -> str:
    """Return the section of one change: its heading, a table of attributes, and the documents that differ."""
    pieces = [_heading(change)]
    documents, rows = [], []
    if change.action in {"change", "replace"}:
        for path, before, after in differences(change):
            if before != UNKNOWN and after != UNKNOWN and _is_document(before) and _is_document(after):
                documents.append(_document(path, before, after))
            else:
                rows.append(f"| {_code(path)} | {_value(before)} | {_value(after)} |\n")
    elif change.action in {"create", "destroy"}:
        values = change.after if change.action == "create" else change.before
        for path, value in sorted(values.items()):
            if policy_in(value) is not None:
                pair = (None, value) if change.action == "create" else (value, None)
                documents.append(_document(path, *pair))
    if change.action == "change" and not rows and not any(documents):
        pieces.append("\nNothing that can be shown before the apply.\n")
    if rows:
        pieces.append("\n| attribute | before | after |\n|---|---|---|\n" + "".join(rows))
    return "".join([*pieces, *documents])


def _is_document(value: object) -> bool:
    return value in (None, "") or (isinstance(value, str) and document_in(value) is not None)


def _document(path: str, before: object, after: object) -> str:
    """Return the difference of a JSON document: a policy statement by statement, other documents line by line."""
    policies = [policy_in(before), policy_in(after)]
    if any(policies):
        old, new = (statements_of(policy) if policy else [] for policy in policies)
        lines = [line for statement in _paired(old, new) for line in statement]
    else:
        old_lines, new_lines = (_pretty(_sorted(document_in(str(value or "")) or [])) for value in (before, after))
        lines = [line for line in difflib.unified_diff(old_lines, new_lines, n=2, lineterm="") if line[:3] not in _ENDS]
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"… {len(lines) - _LINES} more lines"]
    return f"\n{_code(path)}\n\n{_fence(lines)}" if lines else ""


_ENDS = ("---", "+++")


def _paired(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> Iterator[list[str]]:
    """Return the difference of each statement that changed, compared with the one of the same id."""
    old = [statement for statement in before if statement not in after]
    new = [statement for statement in after if statement not in before]
    by_sid = {statement["Sid"]: statement for statement in new if statement.get("Sid")}
    for statement in old:
        successor = by_sid.pop(statement.get("Sid", ""), None)
        if successor is not None:
            new.remove(successor)
        yield _statement(statement, successor)
    for statement in new:
        yield _statement(None, statement)


def _statement(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[str]:
    old, new = (_pretty(_in_order(each)) if each else [] for each in (before, after))
    said = difflib.unified_diff(old, new, n=99, lineterm="")
    sid = (after or before or {}).get("Sid", "")
    return [f"@@ {_line(str(sid))} @@", *[line for line in said if line[:3] not in (*_ENDS, "@@ ")]]


def _in_order(statement: dict[str, Any]) -> dict[str, Any]:
    """Return a statement's parts in a fixed order: AWS returns them in another order."""
    return dict(sorted(statement.items(), key=lambda part: (_PARTS.index(part[0]) if part[0] in _PARTS else 99, part)))


_PARTS = (
    "Sid",
    "Effect",
    "Principal",
    "NotPrincipal",
    "Action",
    "NotAction",
    "Resource",
    "NotResource",
    "Condition",
)


def _sorted(content: object) -> object:
    """Return the document with sorted names: AWS returns them in another order."""
    return json.loads(json.dumps(content, sort_keys=True))


def _pretty(content: object) -> list[str]:
    return [_line(line) for line in json.dumps(content, indent=2, ensure_ascii=False).split("\n")]


# Text that is no Markdown

# What may mean something in Markdown as GitHub reads it. An underscore inside a word means nothing, and is common here.
_MARKUP = re.compile(r"[^\w ,.:;/()=+'-]|(?<![^\W_])_|_(?![^\W_])|:(?=/)|(?<=www)\.", re.IGNORECASE)


def _value(value: object) -> str:
    """Return one value as a cell of a table."""
    if value is None:
        return ""
    text = value if isinstance(value, str) and value else None
    said = text if text is not None else json.dumps(value, default=str, ensure_ascii=False)
    if not isinstance(value, (str, int, float, bool, list, dict)):
        said = str(value)
    if len(said) > _VALUE:
        said = f"{said[:_VALUE]}… ({len(said):,} characters)"
    return _code(said)


def _line(text: str) -> str:
    """Return text on one line, with escapes for invisible characters: they could change the meaning of the line."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _text(text: str) -> str:
    """Return text outside of code: without Markdown, HTML, links and mentions."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", _line(text))


def _code(text: str) -> str:
    """Return a code span. GitHub's tables and code spans have no common escape, so some get HTML instead."""
    line = _line(text)
    if not line.strip() or "`" in line or "|" in line:
        return f"<code>{re.sub(r'[^0-9A-Za-z ]', lambda found: f'&#{ord(found[0])};', line)}</code>"
    return f"`{line}`"


def _fence(lines: Sequence[str]) -> str:
    """Return a code fence. Each of the lines begins with a sign, so none can end it."""
    return "\n".join(["```diff", *lines, "```", ""])
