"""Variables of functions: read from text, refused by name, and found by the names that are deployed."""

from __future__ import annotations

from typing import Annotated

import pytest
from msgspec import Meta, ValidationError

from functions.common.environment import Count, Environment, Listed


class Example(Environment, frozen=True, kw_only=True):
    bucket_name: Annotated[str, Meta(pattern="^[a-z]+$")]
    days: Count
    on: bool
    origins: Listed = Listed()


GIVEN = {"BUCKET_NAME": "files", "DAYS": "7", "ON": "true", "ORIGINS": "a,b", "AWS_REGION": "us-east-1"}


def test_variables_are_read_as_what_they_are() -> None:
    read = Example.load(GIVEN)
    assert (read.bucket_name, read.days, read.on, read.origins) == ("files", 7, True, ("a", "b"))
    assert Example.load({**GIVEN, "ON": "false"}).on is False
    assert Example.load({**GIVEN, "ORIGINS": ""}).origins == ()
    assert Example.load({name: value for name, value in GIVEN.items() if name != "ORIGINS"}).origins == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BUCKET_NAME", "arn:aws:s3:::files"),
        ("BUCKET_NAME", ""),
        ("DAYS", "0"),
        ("DAYS", "seven"),
        ("DAYS", "7.5"),
        ("ON", "perhaps"),
    ],
)
def test_what_is_malformed_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Example.load({**GIVEN, name: value})


@pytest.mark.parametrize("name", ["BUCKET_NAME", "DAYS", "ON"])
def test_what_is_missing_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ValidationError, match=f"missing required field `{name}`"):
        Example.load({each: value for each, value in GIVEN.items() if each != name})


def test_names_are_those_of_the_variables() -> None:
    assert Example.names() == {"BUCKET_NAME", "DAYS", "ON", "ORIGINS"}


def test_a_started_function_does_not_change_its_variables() -> None:
    with pytest.raises(AttributeError):
        Example.load(GIVEN).days = 8  # type: ignore[misc]
