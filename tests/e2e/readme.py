"""The commands in a part of the README, for tests that run them unchanged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.e2e.account import Clone

# Beginnings of shell lines in the README.
PROGRAMS = ("aws", "export", "make", "npx", "terraform")


def section(text: str, title: str) -> str:
    """Return the part of a page below a heading, up to the next heading of its level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no part {title!r}"
    return found[1]


def commands(text: str) -> list[str]:
    """Return the commands in a part of a page: code in the text, and lines of code blocks, in order."""
    found = []
    for token in _tokens(MarkdownIt().enable("table").parse(text)):
        lines = token.content.splitlines() if token.type in {"code_block", "fence"} else [token.content]
        found += [line.strip() for line in lines if line.split(" ")[0] in PROGRAMS and " " in line.strip()]
    return found


def _tokens(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        if token.type in {"code_inline", "code_block", "fence"}:
            yield token
        yield from _tokens(token.children or [])


@dataclass
class Reader:
    """A person who runs exactly the commands of a part of the README.

    Attributes:
        clone: where it is typed.
        printed: commands of the part.
        left: those that were not typed yet.
        environment: what is typed where `dev` is printed.
    """

    clone: Clone
    printed: list[str]
    left: set[str]
    environment: str

    @classmethod
    def of(cls, clone: Clone, title: str, environment: str = "dev") -> Reader:
        """Return a reader of a part of the README in a clone, with an environment in place of `dev`."""
        printed = commands(section((clone.folder / "README.md").read_text(), title))
        return cls(clone, printed, set(printed), environment)

    def types(
        self, command: str, variables: Mapping[str, str] | None = None, *, then: str = "", status: int = 0
    ) -> str:
        """Type a command of the README; return what it printed.

        Args:
            variables: exported only for this command.
            then: options that the README mentions beside the command.
            status: with which the command has to end.
        """
        assert command in self.printed, f"the README does not say `{command}`; it says {self.printed}"
        self.left.discard(command)
        command = command.replace("ENVIRONMENT=dev", f"ENVIRONMENT={self.environment}")
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self.clone.variables[name] = value
            return ""
        return self.clone.run(f"{command} {then}".rstrip(), variables, status=status)
