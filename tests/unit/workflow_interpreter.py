"""An interpreter of the workflow in memory, one state at a time, for its part of Amazon States Language."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# Calls a service integration: `lambda:invoke` and its arguments; the result, or a TaskError.
Task = Callable[[str, dict[str, Any]], object]


class TaskError(Exception):
    """The error of a task. A timeout has no cause."""

    def __init__(self, error: str, cause: str | None = None) -> None:
        super().__init__(error)
        self.output = {"Error": error} | ({} if cause is None else {"Cause": cause})


@dataclass
class Run:
    """One execution.

    Attributes:
        name: of the execution.
        entered: the states, in their order.
        waited: seconds of all pauses between attempts, at their longest.
        status: RUNNING, SUCCEEDED or FAILED.
    """

    definition: Mapping[str, Any]
    event: dict[str, Any]
    name: str
    task: Task
    clock: Callable[[], str]
    entered: list[str] = field(default_factory=list)
    waited: float = 0.0
    status: str = "RUNNING"

    def steps(self) -> Iterator[str]:
        """Run, and stop after each state."""
        data: Any = self.event
        name = self.definition["StartAt"]
        while True:
            state = self.definition["States"][name]
            self.entered.append(name)
            self._context = {
                "Execution": {"Id": f"arn:aws:states:::execution:{self.name}", "Name": self.name},
                "State": {"Name": name, "EnteredTime": self.clock()},
            }
            match state["Type"]:
                case "Succeed" | "Fail":
                    self.status = "SUCCEEDED" if state["Type"] == "Succeed" else "FAILED"
                    yield name
                    return
                case "Choice":
                    chosen = next((each for each in state["Choices"] if self._holds(each, data)), None)
                    name = chosen["Next"] if chosen else state["Default"]
                case "Pass":
                    data = _put(data, state.get("ResultPath", "$"), self._fill(state["Parameters"], data))
                    name = state["Next"]
                case "Task":
                    data, name = self._task(state, data)
            yield self.entered[-1]

    def to_its_end(self) -> str:
        """Run without a stop, and return the status."""
        for _ in self.steps():
            pass
        return self.status

    def _task(self, state: Mapping[str, Any], data: Any) -> tuple[Any, str]:  # noqa: ANN401 - JSON
        arguments = self._fill(state["Parameters"], data)
        tried: dict[int, int] = {}
        while True:
            try:
                result = self.task(state["Resource"].removeprefix("arn:aws:states:::"), arguments)
            except TaskError as error:
                name = error.output["Error"]
                number, retrier = next(
                    (pair for pair in enumerate(state.get("Retry", [])) if _matches(pair[1], name)), (-1, None)
                )
                attempt = tried.get(number, 0)
                if retrier and attempt < retrier.get("MaxAttempts", 3):
                    tried[number] = attempt + 1
                    pause = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** attempt
                    self.waited += min(pause, retrier.get("MaxDelaySeconds", pause))
                    continue
                for catcher in state.get("Catch", []):
                    if _matches(catcher, name):
                        return _put(data, catcher.get("ResultPath", "$"), error.output), catcher["Next"]
                raise
            if "ResultSelector" in state:
                result = self._fill(state["ResultSelector"], result)
            return _put(data, state.get("ResultPath", "$"), result), state["Next"]

    def _holds(self, rule: Mapping[str, Any], data: Any) -> bool:  # noqa: ANN401 - JSON
        if "And" in rule:
            return all(self._holds(each, data) for each in rule["And"])
        return bool(self._read(rule["Variable"], data) == rule["StringEquals"])

    def _fill(self, template: Any, data: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(template, dict):
            return {
                name.removesuffix(".$"): self._read(value, data) if name.endswith(".$") else self._fill(value, data)
                for name, value in template.items()
            }
        return [self._fill(each, data) for each in template] if isinstance(template, list) else template

    def _read(self, text: str, data: Any) -> Any:  # noqa: ANN401 - JSON
        """Read a path or an intrinsic function. As in Step Functions, a path without a value is an error."""
        if text.startswith("States."):
            function, _, rest = text.removesuffix(")").partition("(")
            return _FUNCTIONS[function](*(self._argument(each, data) for each in _split(rest)))
        found = self._context if text.startswith("$$") else data
        for name in text.lstrip("$").strip(".").split("."):
            found = found[name] if name else found
        return found

    def _argument(self, text: str, data: Any) -> Any:  # noqa: ANN401 - JSON
        if text.startswith("'"):
            return text[1:-1]
        return int(text) if text.isdigit() else self._read(text, data)


def _split(arguments: str) -> list[str]:
    found, depth, quoted = [""], 0, False
    for character in arguments:
        quoted ^= character == "'"
        depth += (character == "(") - (character == ")")
        if character == "," and not depth and not quoted:
            found.append("")
        else:
            found[-1] += character
    return [each.strip() for each in found]


def _format(template: str, *values: object) -> str:
    for value in values:
        template = template.replace("{}", str(value), 1)
    return template


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "States.ArrayGetItem": lambda array, index: array[index],
    "States.StringSplit": lambda text, by: text.split(by),
    "States.StringToJson": json.loads,
    "States.JsonToString": json.dumps,
    "States.Format": _format,
}


def _matches(rule: Mapping[str, Any], error: str) -> bool:
    return error in rule["ErrorEquals"] or "States.ALL" in rule["ErrorEquals"]


def _put(data: Any, path: str | None, value: object) -> Any:  # noqa: ANN401 - JSON
    if path is None:
        return data
    if path == "$":
        return value
    return {**data, path.removeprefix("$."): value}
