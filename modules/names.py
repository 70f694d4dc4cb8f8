"""Names of resources that tools of operators look up, beside the constructs that have them.

Every name in AWS is the environment's prefix, a hyphen and one of these names: `f"{settings.prefix}-{WORKFLOW}"`.
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import urlsplit

# The state machine, and the tables.
WORKFLOW = "file"
FILES_TABLE = "files"
QUOTAS_TABLE = "quotas"
# The queue of reports about asynchronous invocations that failed.
FAILURES_QUEUE = "failures"
# Sources of events that start the workflow: S3, and the malware scan. Their dead-letter queues are named after them.
STORED_EVENTS = "workflow"
SCAN_EVENTS = "scan"

DEAD_LETTERS_SUFFIX = "-dead-letters"


def slug(name: str) -> str:
    """Return a name with underscores, such as a construct's id, as part of a name in AWS: with hyphens."""
    return name.replace("_", "-")


def address_of(path: str) -> str:
    """Return the address of an element, from its path in the tree of constructs; the path begins with the stack.

    A child `Default` is the main resource of its construct, and not part of the address (CDK's convention).
    """
    return "_".join(part for part in path.split("/")[1:] if part and part != "Default")


def dead_letters_of(source: str) -> str:
    """Return the name of the dead-letter queue of a function, a queue, a schedule or a source of events."""
    return f"{source}{DEAD_LETTERS_SUFFIX}"


def state_object_key(component: str) -> str:
    """Return the key of a component's Terraform state in the state bucket; the lock is at the key with `.tflock`."""
    return f"{component}.tfstate"


def webhook_secret_name(prefix: str, url: str) -> str:
    """Return the name of the secret of a webhook's receiver, without the `-` and the digits that Terraform adds."""
    return f"{prefix}-webhooks-{receiver_slug(url)}"


def receiver_slug(url: str) -> str:
    """Return the name of a webhook's receiver in names of resources: its host, and a hash of its URL.

    The name depends only on the URL, so a receiver keeps its queue when others are added or removed. It has 24
    characters at most: SQS allows 80 for the name of a queue.
    """
    host = re.sub(r"[^a-z0-9]+", "-", str(urlsplit(url).hostname).lower())[:17].strip("-")
    return f"{host}-{hashlib.sha256(url.encode()).hexdigest()[:6]}"
