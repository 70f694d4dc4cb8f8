"""Row 9: rules for state machines: valid transitions, retries and error handling in tasks, and logs of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stacks.terraform_json import Finding, Json, Root, block, many, parsed

ROW = 9
_ENDS = ("Succeed", "Fail")


def state_machines(root: Root) -> Iterator[Finding]:
    """Row 9: each state machine is valid JSON, logs ALL, and has no fault in its states."""
    for address, body in root.every("aws_sfn_state_machine"):
        definition = parsed(body.get("definition"))
        if not isinstance(definition, dict) or not definition.get("States"):
            yield Finding(ROW, address, "its definition is not a state machine in JSON")
            continue
        for fault in (*transition_faults(definition), *task_faults(definition)):
            yield Finding(ROW, address, fault)
        logged = block(body, "logging_configuration")
        if logged.get("level") != "ALL" or not logged.get("log_destination"):
            yield Finding(ROW, address, "it does not log ALL")


def transition_faults(machine: Mapping[str, Any]) -> Iterator[str]:
    """Yield the faults in the transitions of a state machine (Amazon States Language, "Transitions").

    Each transition has to lead to a state of the same machine. Each state has to be reachable, and to lead to an end.
    """
    states: Mapping[str, Json] = machine["States"]
    start = machine.get("StartAt")
    if start not in states:
        yield f"StartAt leads to {start}, which does not exist"
    ways = {name: list(_transitions(state)) for name, state in states.items()}
    for name, state in states.items():
        for target in ways[name]:
            if target not in states:
                yield f"{name} leads to {target}, which does not exist"
        yield from _missing_transitions(name, state)
        for inner in _inner_machines(state):
            yield from transition_faults(inner)
    reached = _closure({start} & set(states), ways)
    for name in states:
        if name not in reached:
            yield f"{name} cannot be reached"
    yield from _states_without_end(states, ways)


def _ends(state: Json) -> bool:
    return state.get("Type") in _ENDS or state.get("End") is True


def _inner_machines(state: Json) -> tuple[Any, ...]:
    """Return the state machines inside a Parallel or Map state."""
    return (*many(state.get("Branches")), *many(state.get("ItemProcessor") or state.get("Iterator")))


def _missing_transitions(name: str, state: Json) -> Iterator[str]:
    """Yield the fault of a state from which a run cannot go on."""
    if state.get("Type") == "Choice":
        if "Default" not in state:
            yield f"{name} has no Default: a run whose input fits no choice fails"
    elif not _ends(state) and "Next" not in state:
        yield f"{name} has neither Next nor End"


def _states_without_end(states: Mapping[str, Json], ways: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield the states from which no transitions lead to an end."""
    back: dict[str, list[str]] = {name: [] for name in states}
    for name, targets in ways.items():
        for target in targets:
            back.setdefault(target, []).append(name)
    ending = {name for name, state in states.items() if _ends(state)}
    for name in set(states) - _closure(ending, back):
        yield f"{name} does not lead to an end"


def _transitions(state: Json) -> Iterator[str]:
    for place in (state, *many(state.get("Choices")), *many(state.get("Catch"))):
        if "Next" in place:
            yield str(place["Next"])
    if "Default" in state:
        yield str(state["Default"])


def _closure(found: set[Any], ways: Mapping[str, list[str]]) -> set[Any]:
    """Return these states and all states that can be reached from them."""
    waiting = list(found)
    while waiting:
        for target in ways.get(waiting.pop(), []):
            if target not in found:
                found = found | {target}
                waiting.append(target)
    return found


def task_faults(machine: Mapping[str, Any]) -> Iterator[str]:
    """Yield the faults in tasks: each needs a service integration, a timeout, and Retry and Catch for all errors."""
    for name, state in machine["States"].items():
        for inner in _inner_machines(state):
            yield from task_faults(inner)
        if state.get("Type") != "Task":
            continue
        if not str(state.get("Resource")).startswith("arn:aws:states:::"):
            yield f"{name} names a raw ARN, not a service integration"
        for element in ("Retry", "Catch"):
            errors = [error for rule in many(state.get(element)) for error in many(rule.get("ErrorEquals"))]
            if "States.ALL" not in errors:
                yield f"{name} has no {element} for States.ALL"
        if not state.get("TimeoutSeconds") and not state.get("TimeoutSecondsPath"):
            yield f"{name} has no timeout"
