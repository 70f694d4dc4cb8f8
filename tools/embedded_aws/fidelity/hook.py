"""Replacement of functions and attributes of ministack by fixes."""

import functools
import importlib.metadata
import inspect
from collections.abc import Callable
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
