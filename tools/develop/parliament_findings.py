"""Runs parliament in the judges' environment: policy documents by name in, what it finds by name out, as JSON."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

import parliament  # noqa: E402 - it warns as it is imported


def main() -> None:
    """Judge the documents of standard input, each separately."""
    # What its own command line does for --include-community-auditors: the titles of their findings.
    parliament.override_config(Path(parliament.__file__).parent / "community_auditors" / "config_override.yaml")
    found = {}
    for name, document in json.load(sys.stdin).items():
        policy = parliament.analyze_policy_string(document, include_community_auditors=True)
        found[name] = [
            {"check": finding.issue, "says": says}
            for finding in map(parliament.enhance_finding, policy.findings)
            for says in in_words(finding.title, finding.detail)
        ]
    json.dump(found, sys.stdout)


def in_words(title: str, detail: object) -> list[str]:
    """Return a finding as texts, one for each action that it lists."""
    details = detail if isinstance(detail, list) else [detail] if detail else [""]
    return [
        f"{item['action']} needs {item['required_format']}" if isinstance(item, dict) else f"{item or title}"
        for item in details
    ]


if __name__ == "__main__":
    main()
