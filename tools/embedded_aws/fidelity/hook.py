"""Replacement of functions and attributes of ministack by fixes."""

import functools
import importlib.metadata
import inspect
import json
from collections.abc import Callable, Mapping, MutableMapping
from types import ModuleType
from typing import Any

Function = Callable[..., Any]


class FidelityError(RuntimeError):
    """A fix does not fit the installed ministack."""


def ministack_version() -> str:
    """Return the installed version of ministack, or the word unknown."""
    try:
        return importlib.metadata.version("ministack")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def misfit(fix: str, what: str) -> FidelityError:
    """Return the error for a fix whose function in ministack is missing or has changed."""
    return FidelityError(
        f"the fix {fix} does not fit ministack {ministack_version()}: {what}. "
        "Install the version in the Pipfile (`make setup`), or adapt the fix and run its test."
    )


def attribute(fix: str, owner: object, name: str) -> Any:  # noqa: ANN401 - ministack is untyped
    """Return an attribute of a ministack module or class.

    Raises:
        FidelityError: when it does not exist.

    """
    try:
        return getattr(owner, name)
    except AttributeError:
        raise misfit(fix, f"{getattr(owner, '__name__', owner)} has no {name}") from None


def replace(fix: str, owner: object, name: str, make: Callable[[Function], Function], takes: str = "") -> None:
    """Replace a function by what `make` returns for it.

    Args:
        fix: name of the fix, for the error.
        owner: module or class of ministack.
        name: name of the function inside it.
        make: gets the original, returns the replacement.
        takes: names of parameters, separated by blanks, that the original must have.

    Raises:
        FidelityError: when the function does not exist or does not take those parameters.

    """
    original: Function = attribute(fix, owner, name)
    missing = [parameter for parameter in takes.split() if parameter not in inspect.signature(original).parameters]
    if missing:
        raise misfit(fix, f"{getattr(owner, '__name__', owner)}.{name} does not take {', '.join(missing)}")
    setattr(owner, name, functools.wraps(original)(make(original)))


def answer(fix: str, service: ModuleType, actions: Mapping[str, Callable[[Mapping[str, Any]], Any]]) -> None:
    """Answer actions that a service of ministack with a JSON protocol does not know.

    Args:
        fix: name of the fix, for the error.
        service: module of ministack.
        actions: functions by the name of the action; each gets the request and returns the response.

    Raises:
        FidelityError: when the service does not handle requests as expected.

    """

    def make_handle(original: Function) -> Function:
        async def handle(method: str, path: str, headers: Mapping[str, str], body: bytes, query_params: object) -> Any:  # noqa: ANN401
            action = headers.get("x-amz-target", "").rpartition(".")[2]
            if action in actions:
                return actions[action](json.loads(body or b"{}"))
            return await original(method, path, headers, body, query_params)

        return handle

    replace(fix, service, "handle_request", make_handle, "method path headers body query_params")


def keep(fix: str, service: ModuleType, name: str, items: MutableMapping[Any, Any]) -> None:
    """Save items of a fix with the state of a service, and restore them.

    Args:
        fix: name of the fix, for the error.
        service: module of ministack.
        name: key of the items in the state.
        items: what to save.

    Raises:
        FidelityError: when the service does not save its state as expected.

    """

    def make_save(original: Function) -> Function:
        return lambda: {**original(), name: items}

    def make_restore(original: Function) -> Function:
        def restore(data: Mapping[str, Any]) -> object:
            items.update((data or {}).get(name, {}))
            return original(data)

        return restore

    replace(fix, service, "get_state", make_save)
    replace(fix, service, "load_persisted_state", make_restore, "data")
