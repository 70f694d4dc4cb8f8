"""The meaning of GuardDuty's statuses for a file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.common.contract import SCAN_TAG
from functions.inspect.scan import NotTagged, scan_verdict


def look(said: object, tagged: str | None) -> str:
    detail = {} if said is None else {"scan": {"status": said}}
    tags = {"other": "THREATS_FOUND"} | ({SCAN_TAG: tagged} if tagged else {})
    return scan_verdict({"file_id": "a", "detail": detail}, tags)


@pytest.mark.parametrize(
    ("said", "tagged", "verdict"),
    [
        (None, None, "waiting"),
        (None, "NO_THREATS_FOUND", "clean"),
        (None, "THREATS_FOUND", "infected"),
        (None, "UNSUPPORTED", "unscannable"),
        (None, "ACCESS_DENIED", "unscannable"),
        (None, "FAILED", "unscannable"),
        (None, "a word of the future", "unscannable"),
        (None, "no_threats_found", "unscannable"),
        ("NO_THREATS_FOUND", "NO_THREATS_FOUND", "clean"),
        ("NO_THREATS_FOUND", "THREATS_FOUND", "infected"),
        ("NO_THREATS_FOUND", "FAILED", "unscannable"),
        ("THREATS_FOUND", None, "infected"),
        ("THREATS_FOUND", "NO_THREATS_FOUND", "infected"),
        ("THREATS_FOUND", "UNSUPPORTED", "infected"),
        ("UNSUPPORTED", "THREATS_FOUND", "infected"),
        ("UNSUPPORTED", None, "unscannable"),
        ("ACCESS_DENIED", None, "unscannable"),
        ("FAILED", None, "unscannable"),
        ("a word of the future", None, "unscannable"),
        (7, "NO_THREATS_FOUND", "unscannable"),
    ],
)
def test_each_word(said: object, tagged: str | None, verdict: str) -> None:
    assert look(said, tagged) == verdict


def test_a_clean_file_whose_tag_is_not_there_yet_is_asked_about_again() -> None:
    with pytest.raises(NotTagged):
        look("NO_THREATS_FOUND", None)


@given(said=st.none() | st.text(), tagged=st.none() | st.text())
def test_nothing_but_the_one_word_on_the_tag_opens_a_file(said: str | None, tagged: str | None) -> None:
    if tagged != "NO_THREATS_FOUND":
        assert said == "NO_THREATS_FOUND" or look(said, tagged) != "clean"


@pytest.mark.parametrize("event", [{}, {"detail": "clean"}, {"detail": {"scan": None}}, {"detail": {"scan": []}}])
def test_an_event_of_s3_says_nothing(event: dict[str, object]) -> None:
    assert scan_verdict(event, {}) == "waiting"
