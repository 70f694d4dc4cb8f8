"""`make diagram`: draws each environment's architecture from its Terraform JSON, into docs/.

Nothing is drawn that is not in the JSON: boxes are resources, and arrows are references between them, in integrations,
policies of roles, targets, subscriptions and mappings. What would hide the picture is folded: dead-letter queues,
alarms, log groups and keys are counts.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthesis.child_environment import child_environment
from synthesis.paths import ROOT
from tools.operate.console import Failure, exit_with, say, shown
from tools.operate.synthesize import synthesize, terraform_json

DOCS = ROOT / "docs"
# The fullest one has the plain name.
FILES = {
    "prod": "architecture.svg",
    "staging": "architecture-staging.svg",
    "dev": "architecture-dev.svg",
    "local": "architecture-local.svg",
}
# `local` has to know where its AWS is; a picture does not show it.
ANYWHERE = {"AWS_ENDPOINT_URL": "https://127.0.0.1:4566"}

# Graphviz as WebAssembly, from node_modules: the same picture on every machine.
_RENDER = """
import { instance } from "@viz-js/viz";
let text = "";
for await (const chunk of process.stdin) text += chunk;
process.stdout.write((await instance()).renderString(text, { format: "svg", engine: "dot" }));
"""
_NOTE = "drawn by `make diagram` from Terraform JSON; source "

Json = Mapping[str, Any]

REQUEST, FILE, USE, FAILURE = "request", "file", "use", "failure"
# From the weakest to the strongest: where two arrows would lie on one another, the stronger one is drawn.
_STRENGTH = [USE, FAILURE, REQUEST, FILE]
# Colours that are told apart on white and on grey, and by those who see no red or no green.
_ARROWS = {
    REQUEST: 'color="#1f5fa8" penwidth=2.0',
    FILE: 'color="#b45309" penwidth=2.6',
    USE: 'color="#8a8f98" penwidth=1.1',
    FAILURE: 'color="#9f1239" penwidth=1.3 style=dashed',
}
_LOOKS = {
    "person": 'shape=ellipse style=filled fillcolor="#ffffff" color="#4b5563"',
    "compute": 'shape=box style="filled,rounded" fillcolor="#fdf0e1" color="#c2751b"',
    "store": 'shape=cylinder style=filled fillcolor="#e6f2e8" color="#3f7d4e"',
    "message": 'shape=box style="filled,rounded" fillcolor="#fbe9f0" color="#b0406f"',
    "edge": 'shape=box style="filled,rounded" fillcolor="#ece8f7" color="#6a51a3"',
    "note": 'shape=box style=filled fillcolor="#f3f4f6" color="#9ca3af"',
}
# Groups in the order of the picture.
_GROUPS = {
    "requests": "Requests",
    "storage": "What is kept",
    "processing": "What happens to a file",
    "events": "Who is told",
    "failures": "When something fails",
}
# What an action does to what it is about, by the start of its name.
_WRITES = ("Put", "Update", "Delete", "Abort", "Create", "Complete")
_READS = ("Get", "List", "Query", "Scan", "BatchGet", "Head")
# Letters of a line of a box.
_WIDEST = 28
# Routes that a function's box names; the others are counted.
_ROUTES_SHOWN = 3


@dataclass(frozen=True)
class Box:
    """A box of the picture: its lines, the first of which is its name, its group, and how it looks."""

    lines: tuple[str, ...]
    group: str
    look: str


@dataclass(frozen=True)
class Arrow:
    """An arrow from one box to another: its kind, and whether it points in both directions."""

    kind: str
    forth: bool = True
    back: bool = False

    def __or__(self, other: Arrow) -> Arrow:
        kind = max(self.kind, other.kind, key=_STRENGTH.index)
        return Arrow(kind, self.forth or other.forth, self.back or other.back)


class Root:
    """A Terraform root in JSON, with the references between its resources."""

    def __init__(self, content: Json) -> None:
        self.content = content
        self._owners = {
            role: owner
            for owner, body in self.every()
            for argument in ("role", "role_arn", "service_role_arn", "target")
            for role in references(body.get(argument))
            if role.startswith("aws_iam_role.") and not owner.startswith("aws_iam_")
        }

    def every(self, kind: str = "") -> Iterator[tuple[str, Json]]:
        """Address and body of each resource, of one kind or of all."""
        for each, named in self.content["resource"].items():
            if kind in {"", each}:
                for name, body in named.items():
                    yield f"{each}.{name}", body

    def get(self, address: str) -> Json:
        """Return the body of a resource."""
        kind, _, name = address.partition(".")
        found: Json = self.content["resource"][kind][name]
        return found

    def called(self, value: object) -> str:
        """Return the function or other resource that a text refers to, also by a function's alias; empty if there is
        none.
        """
        for address in references(value):
            if address.startswith("aws_lambda_alias."):
                return self.called(self.get(address)["function_name"])
            return address
        return ""

    def grants(self) -> Iterator[tuple[str, str, str]]:
        """Yield the permissions: owner of the role, action, address. Owners of targets are their rules."""
        for _, policy in self.every("aws_iam_role_policy"):
            (role,) = references(policy["role"])
            owner = self._owners.get(role, "")
            if owner.startswith("aws_cloudwatch_event_target."):
                owner = self.called(self.get(owner)["rule"])
            for statement in json.loads(policy["policy"])["Statement"]:
                for address in (self.called(each) for each in _many(statement["Resource"])):
                    for action in _many(statement["Action"]):
                        yield owner, action, address


def references(value: object) -> list[str]:
    """Addresses that a value of Terraform's JSON refers to, in their order."""
    text = value if isinstance(value, str) else json.dumps(value)
    return re.findall(r"\$\{(aws_\w+\.\w+)\.", text)


def _many(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


class Picture:
    """Boxes by name, and arrows between them.

    Attributes:
        notes: what holds for everything in the picture.
    """

    def __init__(self, content: Json) -> None:
        """
        Args:
            content: the Terraform JSON of a stack.
        """
        self.root = Root(content)
        (provider,) = content["provider"]["aws"]
        tags = provider["default_tags"][0]["tags"]
        self._prefix = f"{tags['Project']}-{tags['Environment']}"
        self.title = f"{self._prefix} in {provider['region']}"
        self.boxes: dict[str, Box] = {}
        self.arrows: dict[tuple[str, str], Arrow] = {}
        self.notes: list[str] = []
        self._dead_letters = self._find_dead_letters()
        self._requests()
        self._stores()
        self._page()
        self._processing()
        self._events()
        self._failures()
        self._permissions()
        self._notes()

    def _name(self, address: str, argument: str = "name") -> str:
        """Return the name of a resource without the common prefix and suffix."""
        name = str(self.root.get(address).get(argument) or address.partition(".")[2])
        return re.sub(r"-\d{12}-[a-z0-9-]+$", "", name.removeprefix(f"{self._prefix}-"))

    def _box(self, name: str, group: str, look: str, *lines: str) -> None:
        self.boxes.setdefault(name, Box(tuple(filter(None, lines)), group, look))

    def _function(self, address: str, group: str, *lines: str) -> None:
        self._box(address, group, "compute", self._name(address, "function_name"), *lines, "Lambda")

    def _lead(self, kind: str, start: str, end: str, *, forth: bool = True, back: bool = False) -> None:
        """Draw an arrow between two boxes, if both are drawn."""
        if start in self.boxes and end in self.boxes and start != end:
            arrow = Arrow(kind, forth, back)
            self.arrows[start, end] = self.arrows.get((start, end), arrow) | arrow

    def _find_dead_letters(self) -> set[str]:
        """Find the dead-letter queues."""
        found = set()
        for address, body in self.root.every():
            targets = [body.get("dead_letter_config"), body.get("redrive_policy"), body.get("destination_config")]
            targets.append(body.get("target", {}).get("dead_letter_config") if "target" in body else None)
            for target in targets:
                found |= {each for each in references(target) if each.startswith("aws_sqs_queue.")} - {address}
        return found

    def _requests(self) -> None:
        """Draw the API, the firewall in front of it, and the functions behind its routes."""
        root = self.root
        for address, _ in root.every("aws_api_gateway_rest_api"):
            self._box("caller", "", "person", "browser or service")
            routes = self._routes()
            self._box(address, "requests", "edge", "API", f"{len(routes)} routes", "API Gateway")
            before = "caller"
            for firewall, _ in root.every("aws_wafv2_web_acl"):
                self._box(firewall, "requests", "edge", "firewall", "WAF")
                self._lead(REQUEST, before, firewall)
                before = firewall
            self._lead(REQUEST, before, address)
            behind: dict[str, list[str]] = {}
            for route, function in sorted(routes.items(), key=lambda each: each[0].split()[::-1]):
                if function:
                    behind.setdefault(function, []).append(route)
            for function, of_it in behind.items():
                more = len(of_it) - _ROUTES_SHOWN
                shown = of_it if more <= 1 else [*of_it[:_ROUTES_SHOWN], f"and {more} more"]
                self._function(function, "requests", *shown)
                self._lead(REQUEST, address, function)
            for _, authorizer in root.every("aws_api_gateway_authorizer"):
                if function := root.called(authorizer.get("authorizer_uri")):
                    self._function(function, "requests", "checks tokens")
                    self._lead(REQUEST, address, function)
                for pool in references(authorizer.get("provider_arns")):
                    self._box(pool, "requests", "edge", "users", "sign in", "Cognito")
                    self._lead(USE, address, pool, forth=False, back=True)

    def _routes(self) -> dict[str, str]:
        """Return the function of each method and path; empty if the gateway answers itself.

        Preflights and closed routes are left out.
        """
        root = self.root

        def path(resource_id: str) -> str:
            (address,) = references(resource_id)
            if address.startswith("aws_api_gateway_rest_api."):
                return ""
            body = root.get(address)
            return f"{path(body['parent_id'])}/{body['path_part']}"

        found = {}
        for _, integration in root.every("aws_api_gateway_integration"):
            asked = root.get(references(integration["http_method"])[0])
            method = asked["http_method"]
            if method != "OPTIONS" and not asked.get("api_key_required"):
                found[f"{method} {path(integration['resource_id'])}"] = root.called(integration.get("uri"))
        return found

    def _stores(self) -> None:
        """Draw tables, and buckets that hold more than logs."""
        logs = {
            each for _, body in self.root.every("aws_s3_bucket_logging") for each in references(body["target_bucket"])
        }
        for address, _ in self.root.every("aws_s3_bucket"):
            if address not in logs:
                self._box(address, "storage", "store", self._name(address, "bucket"), "S3 bucket")
        for address, _ in self.root.every("aws_dynamodb_table"):
            self._box(address, "storage", "store", self._name(address), "DynamoDB table")
        for _, cors in self.root.every("aws_s3_bucket_cors_configuration"):
            # A page may go to the bucket itself, with a link that a function signed.
            self._lead(FILE, "caller", self.root.called(cors["bucket"]))

    def _page(self) -> None:
        """Draw what serves the page, and the bucket that it reads."""
        for address, body in self.root.every("aws_cloudfront_distribution"):
            self._box(address, "requests", "edge", "page", "CloudFront")
            self._lead(REQUEST, "caller", address)
            for origin in body["origin"]:
                for bucket in references(origin["domain_name"]):
                    self._lead(USE, address, bucket, forth=False, back=True)

    def _processing(self) -> None:
        """Draw rules and schedules, state machines, and the functions that they start."""
        root = self.root
        for address, body in root.every("aws_sfn_state_machine"):
            steps = len(json.loads(body["definition"])["States"])
            self._box(
                address,
                "processing",
                "compute",
                f"workflow of a {self._name(address)}",
                f"{steps} states",
                "Step Functions",
            )
            for function in references(body["definition"]):
                called = root.called(f"${{{function}.arn}}")
                if called.startswith("aws_lambda_function."):
                    self._function(called, "processing")
                    self._lead(FILE, address, called)
        for address, body in root.every("aws_cloudwatch_event_rule"):
            pattern = json.loads(body.get("event_pattern") or "{}")
            said = " ".join(_words(pattern.get("detail-type")))
            self._box(address, "processing", "message", *textwrap.wrap(said, _WIDEST), "EventBridge")
            for bucket in references(body.get("event_pattern")):
                self._lead(FILE, bucket, address)
        for _, target in root.every("aws_cloudwatch_event_target"):
            self._lead(FILE, root.called(target["rule"]), root.called(target["arn"]))
        for _, body in root.every("aws_scheduler_schedule"):
            function = root.called(body["target"]["arn"])
            rate = re.sub(r"rate\((.*)\)", r"every \1", body["schedule_expression"])
            self._function(function, "processing", rate)

    def _events(self) -> None:
        """Draw topics, queues, and functions that read queues."""
        root = self.root
        alerts = {
            each for _, body in root.every("aws_cloudwatch_metric_alarm") for each in references(body["alarm_actions"])
        }
        for address, _ in root.every("aws_sns_topic"):
            group = "failures" if address in alerts else "events"
            self._box(address, group, "message", self._name(address), "SNS topic")
        for address, _ in root.every("aws_sqs_queue"):
            if address not in self._dead_letters:
                self._box(address, "events", "message", self._name(address), "SQS queue")
        for _, mapping in root.every("aws_lambda_event_source_mapping"):
            queue, function = root.called(mapping["event_source_arn"]), root.called(mapping["function_name"])
            self._function(function, "events")
            self._lead(FILE, queue, function)
        for _, subscription in root.every("aws_sns_topic_subscription"):
            self._lead(FILE, root.called(subscription["topic_arn"]), root.called(subscription["endpoint"]))
        for address, _ in root.every("aws_lambda_function"):
            self._function(address, "processing")

    def _failures(self) -> None:
        """Draw dead letters and alarms as one box each, and the topic for operators."""
        alarms = list(self.root.every("aws_cloudwatch_metric_alarm"))
        if self._dead_letters:
            count = len(self._dead_letters)
            self._box(
                "dead_letters",
                "failures",
                "note",
                f"{count} dead-letter queues",
                "one for each function,",
                "rule and subscription",
            )
        if alarms:
            self._box(
                "alarms", "failures", "note", f"{len(alarms)} alarms", "on errors, latency,", "dead letters, throttles"
            )
            self._lead(FAILURE, "dead_letters", "alarms")
            for topic in references(alarms[0][1]["alarm_actions"]):
                self._lead(FAILURE, "alarms", topic)
                self._box("operator", "", "person", "operator")
                self._lead(FAILURE, topic, "operator")

    def _permissions(self) -> None:
        """Draw the permissions of the roles on the drawn resources."""
        for owner, action, address in self.root.grants():
            verb = action.partition(":")[2]
            if address.startswith(("aws_s3_bucket.", "aws_dynamodb_table.")):
                writes = verb.startswith(_WRITES)
                reads = verb.startswith(_READS)
                of_a_file = writes and (address.startswith("aws_s3") or owner.startswith("aws_sfn"))
                self._lead(FILE if of_a_file else USE, owner, address, forth=writes, back=reads)
            elif verb in {"Publish", "SendMessage"}:
                failure = self.boxes.get(address, Box((), "", "")).group == "failures"
                self._lead(FAILURE if failure else FILE, owner, address)
            elif verb == "StartExecution":
                self._lead(USE, owner, address)

    def _notes(self) -> None:
        keys = len(list(self.root.every("aws_kms_key")))
        logs = [body for _, body in self.root.every("aws_cloudwatch_log_group")]
        if keys:
            self.notes.append(f"Everything is encrypted under {keys} customer keys, one for each service.")
        if logs:
            days = logs[0]["retention_in_days"]
            self.notes.append(f"{len(logs)} log groups keep what is written for {days} days.")
        if any(True for _ in self.root.every("aws_codedeploy_app")):
            self.notes.append("CodeDeploy moves the traffic of functions to new versions.")


def _words(values: object) -> list[str]:
    return [str(value) for value in _many(values) if value]


def dot(picture: Picture) -> str:
    """Return a picture in the language of Graphviz."""
    lines = [
        "digraph architecture {",
        f'  graph [rankdir=LR newrank=true nodesep=0.3 ranksep=0.55 pad=0.3 bgcolor="#ffffff" {_FONT} fontsize=12'
        f" labelloc=t labeljust=l label=<{_heading(picture)}>]",
        f'  node [{_FONT} fontsize={_ROOM} margin="0.12,0.07" penwidth=1.3 fontcolor="#111827"]',
        "  edge [arrowsize=0.8]",
    ]
    names = {name: f"n{number}" for number, name in enumerate(picture.boxes)}
    for group, title in _GROUPS.items():
        inside = [name for name, box in picture.boxes.items() if box.group == group]
        if inside:
            lines += [
                f"  subgraph cluster_{group} {{",
                f'    graph [label={_quoted(_padded(title))} labeljust=l style="rounded,filled" color="#d1d5db"'
                ' fillcolor="#fafafa" fontcolor="#374151" fontsize=13 margin=14]',
                *(f"    {names[name]} [{_node(picture.boxes[name])}]" for name in inside),
                # What is kept is one column, between those who store it and those who work on it.
                *([f"    {{rank=same {' '.join(names[name] for name in inside)}}}"] if group == "storage" else []),
                "  }",
            ]
    lines += [f"  {names[name]} [{_node(box)}]" for name, box in picture.boxes.items() if not box.group]
    for (start, end), arrow in picture.arrows.items():
        direction = {(True, False): "forward", (False, True): "back", (True, True): "both"}[arrow.forth, arrow.back]
        # Arrows back to what is kept would pull it to the right.
        pulls = (
            ""
            if picture.boxes[end].group != "storage" or picture.boxes[start].group == "requests"
            else " constraint=false"
        )
        lines.append(f"  {names[start]} -> {names[end]} [{_ARROWS[arrow.kind]} dir={direction}{pulls}]")
    return "\n".join([*lines, "}"]) + "\n"


_FONT = 'fontname="Helvetica,Arial,DejaVu Sans,sans-serif"'
# Graphviz makes room for text of this size in points; it is drawn smaller, since a reader's font may be a wider one.
_ROOM = 14.5
_NAME, _DETAIL = 13, 11.5
_SAID = {REQUEST: "a request", FILE: "the way of a file", USE: "reads, writes, asks", FAILURE: "a failure"}


def _heading(picture: Picture) -> str:
    """Return title, legend and notes as Graphviz's HTML."""
    lines = [f'<font point-size="17"><b>{html.escape(picture.title)}</b></font>']
    for kind, said in _SAID.items():
        (colour,) = re.findall("#[0-9a-f]{6}", _ARROWS[kind])
        lines.append(f'<font color="{colour}"><b>\u2192 {said}</b></font>')
    return "".join(f'{line}<br align="left"/>' for line in [*lines, *map(html.escape, picture.notes)])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _padded(text: str) -> str:
    return f"\u00a0\u00a0\u00a0{text}\u00a0\u00a0\u00a0"


def _node(box: Box) -> str:
    name, *details = box.lines
    # Bold letters are wider than Graphviz counts.
    label = "\n".join([f"\u00a0\u00a0{name}\u00a0\u00a0", *details])
    return f"label={_quoted(label)} {_LOOKS[box.look]}"


def _emphasized(drawing: str) -> str:
    """Return the lines of each box with their sizes: the name bold, the others smaller."""

    def box(found: re.Match[str]) -> str:
        size, (first, *rest) = f'font-size="{_ROOM:.2f}"', found[0].split("<text ")
        lines = [
            line.replace(size, f'font-size="{_NAME}" font-weight="bold"' if number == 0 else f'font-size="{_DETAIL}"')
            for number, line in enumerate(rest)
        ]
        return "<text ".join([first, *lines])

    return re.sub(r'<g id="node\d+" class="node">.*?</g>', box, drawing, flags=re.DOTALL)


def svg(source: str) -> str:
    """Run Graphviz, and return the picture as SVG.

    Raises:
        Failure: Graphviz is not installed.
    """
    done = subprocess.run(
        ["node", "--input-type=module", "-e", _RENDER],
        cwd=ROOT,
        env=child_environment(),
        input=source,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failure(
            "drawing", (done.stderr.splitlines() or ["no output"])[-1], "run `make cdktf`, which installs viz"
        )
    head, opened, rest = _emphasized(done.stdout).partition("<svg")
    return f"{head}<!-- {_NOTE}{digest(source)} -->\n{opened}{rest}"


def digest(source: str) -> str:
    """Return the digest that tells whether a picture is up to date, without drawing it."""
    return hashlib.sha256(source.encode()).hexdigest()


def main() -> None:
    """Draw every environment into docs/."""
    with tempfile.TemporaryDirectory() as folder:
        for environment, file in FILES.items():
            variables = ANYWHERE if environment == "local" else {}
            stack = synthesize(Path(folder), {**variables, "ENVIRONMENT": environment})
            picture = Picture(terraform_json(stack))
            (DOCS / file).write_text(svg(dot(picture)))
            say(f"{shown(DOCS / file)}: {len(picture.boxes)} boxes, {len(picture.arrows)} arrows")


if __name__ == "__main__":
    exit_with(main)
