"""The arithmetic of tools/capacity/bill.py, against figures worked out by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from functions.common import contract
from functions.common.contract import HEAD_BYTES
from functions.uploads import parts
from modules.settings import Settings
from synthesis.paths import ROOT
from tools.capacity import bill
from tools.capacity.assumptions import Assumptions
from tools.capacity.bill import Line, Workload, lines
from tools.capacity.cost import table
from tools.capacity.platform import Platform
from tools.capacity.workflow import FILES, Retries, Write, states_entered
from tools.develop.pages import fill, part
from tools.operate.console import Failure
from tools.operate.prices import Price, prices

# Round numbers, so that a person can follow: 1 GB of memory, 100 ms, no cold starts, 1,000 bytes of logs, two looks.
ASSUMED = Assumptions(
    milliseconds=dict.fromkeys(("uploads", "files", "inspect", "discard", "sweep", "webhooks"), 100),
    cold_share=0,
    looks=2,
    express_seconds=1.5,
    function_log_bytes=1000,
    access_log_bytes=1000,
    state_log_bytes=1000,
)
FOUND = Platform(
    states=7,
    waiting_states=4,
    opens=(Write("available", FILES, indexes={"by-owner": 1}), Write("announced", FILES, indexes={"by-due": 2})),
    waits=(Write("waits for its scan", FILES, indexes={"by-due": 2, "by-owner": 1}),),
    retries=Retries(2, 12, 2.0, 60),
    throttle=50,
    burst=100,
    indexes={"metadata_files": frozenset({"by-due", "by-owner"}), "metadata_quotas": frozenset({"by-due"})},
    memory=dict.fromkeys(("uploads", "files", "inspect", "discard", "sweep", "webhooks"), 1024),
    scanning=False,
    webhooks=0,
    bucket_keys=True,
    express=False,
    standing={"kms_key": 6, "alarm_metric": 70, "scheduler_invocation": 2920, "waf_acl": 0},
)
SETTINGS = Settings(
    environment="dev", account_id="111111111111", enable_xray_tracing=False, enable_waf=False, lambda_memory_size=1024
)
MILLION = Workload("small", 1_000_000, 1_000_000)
THOUSAND = Workload("large", 1_000, 10_000_000_000)


def billed(found: list[Line], service: str, item: str) -> Line:
    (line,) = [line for line in found if (line.service, line.item) == (service, item)]
    return line


# prices


def test_a_price_is_for_so_many_units() -> None:
    assert Price("page", "section", 0.005, 1000, "requests").of(1_195_000) == pytest.approx(5.975)


def test_beyond_the_first_tier_nothing_is_guessed() -> None:
    price = Price("page", "section", 0.09, 1, "GB", up_to=10_240)
    assert price.of(10_240) == pytest.approx(921.6)
    with pytest.raises(ValueError, match="beyond the first tier"):
        price.of(10_241)


def test_every_price_names_its_page_and_is_used_somewhere() -> None:
    for name, price in prices().items():
        assert "ricing" in price.page, name
        assert price.section, name
        assert price.per >= 1, name
    everything = replace(
        FOUND,
        scanning=True,
        webhooks=1,
        standing=dict.fromkeys(
            ["kms_key", "alarm_metric", "dashboard", "metric", "scheduler_invocation", "waf_acl", "waf_rule", "secret"],
            1,
        ),
    )
    settings = SETTINGS.model_copy(
        update={"enable_xray_tracing": True, "enable_waf": True, "replica_region": "us-west-2"}
    )
    x86 = settings.model_copy(update={"lambda_architecture": "x86_64"})
    used = {
        line.price
        for each in (
            lines(MILLION, settings, everything, ASSUMED),
            lines(MILLION, x86, replace(everything, express=True), ASSUMED),
            bill.standing(settings, everything, ASSUMED),
            bill.life(MILLION, settings, FOUND, ASSUMED),
            bill.downloads(MILLION, settings, FOUND, ASSUMED),
            bill.downloads(MILLION, settings, FOUND, ASSUMED, infrequent=True),
        )
        for line in each
    }
    assert used == set(prices())


# a million of 1 MB


@pytest.mark.parametrize(
    ("service", "item", "quantity", "dollars"),
    [
        # POST /uploads and GET /files/{id}: 2 * 3.50
        ("API Gateway", "requests", 2_000_000, 7.00),
        # two calls and the inspection: 3 * 0.20
        ("Lambda", "requests", 3_000_000, 0.60),
        # 3,000,000 * 0.1 s * 1 GB * 0.0000133334
        ("Lambda", "duration", 300_000, 4.00002),
        # record 2 + 1 + 1, quota 2, available 1 + 1, announced 1 + 2: 11 * 0.625
        ("DynamoDB", "writes", 11_000_000, 6.875),
        ("DynamoDB", "reads", 2_000_000, 0.25),
        ("S3", "PUT, POST, LIST", 1_000_000, 5.00),
        # size and checksum, first bytes, last bytes
        ("S3", "GET, HEAD", 3_000_000, 1.20),
        # one of a hundred of 4,000,000 reaches KMS: 40,000 * 0.03 / 10,000
        ("KMS", "requests of S3", 40_000, 0.12),
        ("EventBridge", "events of S3", 1_000_000, 1.00),
        # 7 * 25.00
        ("Step Functions", "transitions", 7_000_000, 175.00),
        ("SNS", "publish", 1_000_000, 0.50),
        ("SQS", "inbox", 3_000_000, 1.20),
        # 3 * 10^9 bytes are 2.794 GB
        ("CloudWatch", "logs of functions", 3e9 / 2**30, 1.39698),
        ("CloudWatch", "access log", 2e9 / 2**30, 0.93132),
        ("CloudWatch", "log of the workflow", 7e9 / 2**30, 3.25963),
        # 12 * 10^9 bytes, 15 % of them, 7 days of 30.417, 0.03 a GB and month
        ("CloudWatch", "logs kept", 12e9 / 2**30 * 0.15 * 7 / (730 / 24), 0.011574),
        ("Data transfer", "in", 1e12 / 2**30, 0.00),
    ],
)
def test_a_line_of_a_million_small_files(service: str, item: str, quantity: float, dollars: float) -> None:
    line = billed(lines(MILLION, SETTINGS, FOUND, ASSUMED), service, item)
    assert line.quantity == pytest.approx(quantity)
    assert line.dollars == pytest.approx(dollars, rel=1e-4)


def test_the_sum_of_a_million_small_files() -> None:
    by_hand = 7 + 0.60 + 4.00002 + 6.875 + 0.25 + 5 + 1.20 + 0.12 + 1 + 175 + 0.50 + 1.20
    logs = 1.39698 + 0.93132 + 3.25963 + 0.011574
    assert bill.total(lines(MILLION, SETTINGS, FOUND, ASSUMED)) == pytest.approx(by_hand + logs, rel=1e-5)


# a thousand of 10 GB


@pytest.mark.parametrize(
    ("service", "item", "quantity", "dollars"),
    [
        # 10^10 bytes are 1,193 parts of 8 MiB; 10 links come with the start, 12 calls give the other 1,183
        ("API Gateway", "requests", 15_000, 0.0525),
        # parts, create, two lists of 1,000 parts, complete: 1,197 a file
        ("S3", "PUT, POST, LIST", 1_197_000, 5.985),
        # the small one's 11, and the id of the multipart upload
        ("DynamoDB", "writes", 12_000, 0.0075),
        # 1,193 parts, create, complete, three looks: 1,198 a file, one of a hundred
        ("KMS", "requests of S3", 11_980, 0.03594),
        ("Data transfer", "in", 1e13 / 2**30, 0.00),
    ],
)
def test_a_line_of_a_thousand_large_files(service: str, item: str, quantity: float, dollars: float) -> None:
    line = billed(lines(THOUSAND, SETTINGS, FOUND, ASSUMED), service, item)
    assert line.quantity == pytest.approx(quantity)
    assert line.dollars == pytest.approx(dollars)


@pytest.mark.parametrize(
    "size", [1, 100_000_000, 100_000_001, 10**10, 8 * 2**20 * 10_000, 8 * 2**20 * 10_000 + 1, 50 * 2**30, 5 * 2**40]
)
def test_files_are_cut_as_the_function_cuts_them(size: int) -> None:
    load = Workload("one", 1, size)
    assert load.is_small == (size <= contract.MAX_POST_BYTES)
    assert load.parts == (1 if load.is_small else parts.Cut.of(size).count)


def test_a_file_that_one_read_brings_takes_one_read_less() -> None:
    for size, requests in ((HEAD_BYTES, 2), (HEAD_BYTES + 1, 3)):
        line = billed(lines(Workload("one", 1, size), SETTINGS, FOUND, ASSUMED), "S3", "GET, HEAD")
        assert line.quantity == requests


# what settings do


def extra(load: Workload = MILLION, found: Platform = FOUND, **settings: object) -> float:
    """Dollars more than the plain bill."""
    changed = lines(load, SETTINGS.model_copy(update=settings), found, ASSUMED)
    return bill.total(changed) - bill.total(lines(load, SETTINGS, FOUND, ASSUMED))


def test_scanning_costs_objects_data_and_a_second_run() -> None:
    guardduty = 1000 * 0.215 + 1e12 / 2**30 * 0.09
    # The first run enters 4 states and inspects, and the record waits (1 + 2 + 1 units). Both runs read tags, which is
    # 8,000,000 requests instead of 3,000,000; the tag is another event of S3. Logs grow by a run and an invocation.
    run = 100 + 0.20 + 1.33334 + 0.125 + 2.50 + 2.00 + 0.09 + 1.00 + (4e9 + 1e9) / 2**30 * 0.5
    kept = 5e9 / 2**30 * 0.15 * 7 / (730 / 24) * 0.03
    assert extra(found=replace(FOUND, scanning=True)) == pytest.approx(guardduty + run + kept, rel=1e-6)


def test_a_million_traces_in_a_month_are_all_the_first_of_their_second() -> None:
    # 2,000,000 requests and 1,000,000 runs, each fewer than the 2,628,000 seconds of a month: 3 * 5.00
    assert extra(enable_xray_tracing=True) == pytest.approx(15.00)
    assert bill.traced(3_628_000, ASSUMED) == 2_628_000 + 50_000


def test_the_firewall_costs_its_requests() -> None:
    assert extra(enable_waf=True) == pytest.approx(1.20)


def test_without_bucket_keys_every_request_reaches_kms() -> None:
    # 4,000,000 instead of 40,000
    assert extra(found=replace(FOUND, bucket_keys=False)) == pytest.approx(12.00 - 0.12)


def test_an_express_workflow_is_paid_by_the_run() -> None:
    # 1.00 for a million runs, 1.5 s * 0.0625 GB * 0.00001667 for each, instead of 175.00
    assert extra(found=replace(FOUND, express=True)) == pytest.approx(1.00 + 1.5628125 - 175.00)


def test_a_webhook_is_a_message_and_an_invocation() -> None:
    # three requests of SQS, one of Lambda, 0.1 s of 1 GB
    assert extra(found=replace(FOUND, webhooks=1)) == pytest.approx(1.20 + 0.20 + 1.33334)


def test_logs_that_are_kept_longer_cost_only_storage() -> None:
    assert extra(log_retention_days=14) == pytest.approx(0.011574, rel=1e-3)


def test_an_index_that_is_gone_is_not_written() -> None:
    gone = replace(FOUND, indexes={"metadata_files": frozenset({"by-due"}), "metadata_quotas": frozenset()})
    # by-owner: the record's start, and available
    assert billed(lines(MILLION, SETTINGS, gone, ASSUMED), "DynamoDB", "writes").quantity == 9_000_000


def test_a_record_beyond_a_kilobyte_takes_twice_the_units() -> None:
    large = replace(ASSUMED, record_bytes=1025)
    assert billed(lines(MILLION, SETTINGS, FOUND, large), "DynamoDB", "writes").quantity == 22_000_000


def test_larger_parts_are_fewer_requests() -> None:
    # 10^10 bytes in parts of 64 MiB: 150 parts, create, one list, complete
    few = lines(replace(THOUSAND, part_bytes=64 * 2**20), SETTINGS, FOUND, ASSUMED)
    assert billed(few, "S3", "PUT, POST, LIST").quantity == 153_000


# storage, downloads, what stands


def test_a_life_is_standard_then_infrequent_then_removed() -> None:
    month, gigabytes = 730 / 24, 1e13 / 2**30
    found = bill.life(THOUSAND, SETTINGS, FOUND, ASSUMED)
    assert billed(found, "S3", "STANDARD").dollars == pytest.approx(gigabytes * 30 / month * 0.023)
    assert billed(found, "S3", "STANDARD_IA").dollars == pytest.approx(gigabytes * 61 / month * 0.0125)
    assert billed(found, "S3", "transition").dollars == pytest.approx(0.01)
    assert billed(found, "EventBridge", "events of S3").dollars == pytest.approx(0.004)
    # claimed 1 + 2 + 1, ended 2 + 1 + 1, quota 2
    assert billed(found, "DynamoDB", "writes").quantity == 10_000
    # 800 bytes, and as much for two indexes, for 91 and 90 days
    assert billed(found, "DynamoDB", "records").quantity == pytest.approx(1000 * 1600 / 2**30 * 181 / month)
    for_ever = SETTINGS.model_copy(update={"s3_lifecycle_expiration_days": 0})
    with pytest.raises(ValueError, match="for ever"):
        bill.life(THOUSAND, for_ever, FOUND, ASSUMED)


def test_only_large_files_pay_for_the_transition() -> None:
    def saved(size: int) -> float:
        return bill.kept(size, 1, 91, transition=None) - bill.kept(size, 1, 91, transition=30)

    # The transition of a file is 0.00001; 61 days save 0.0105 * 61 / 30.4167 for each GB.
    worth = 0.00001 / (0.0105 * 61 / (730 / 24)) * 2**30
    assert worth == pytest.approx(509_916, rel=1e-4)
    assert saved(math.floor(worth)) < 0 < saved(math.ceil(worth) + 1)
    # S3 moves none that is smaller.
    assert saved(128 * 2**10 - 1) == 0


def test_downloads_are_data_out() -> None:
    found = bill.downloads(THOUSAND, SETTINGS, FOUND, ASSUMED)
    assert billed(found, "Data transfer", "out").dollars == pytest.approx(1e13 / 2**30 * 0.09)
    infrequent = bill.downloads(THOUSAND, SETTINGS, FOUND, ASSUMED, infrequent=True)
    # a retrieval for each GB; GET is 0.001 instead of 0.0004 for a thousand
    assert bill.total(infrequent) - bill.total(found) == pytest.approx(1e13 / 2**30 * 0.01 + 0.0006)


def test_what_stands_is_counted_in_units() -> None:
    found = bill.standing(SETTINGS, FOUND, ASSUMED)
    assert billed(found, "KMS", "customer keys").dollars == 6.00
    assert billed(found, "CloudWatch", "alarms").dollars == pytest.approx(7.00)
    # 12 an hour, 730 hours, three services
    assert billed(found, "KMS", "data keys").quantity == 26_280
    assert not [line for line in found if line.item == "web ACL"], "what is not there is no line"


# reading the stack

ASL: dict[str, Any] = {
    "StartAt": "Name",
    "States": {
        "Name": {"Type": "Pass", "Next": "Choose"},
        "Choose": {
            "Type": "Choice",
            "Choices": [
                {"Variable": "$.left", "StringEquals": "open", "Next": "Open"},
                {"Variable": "$.left", "StringEquals": "break", "Next": "Broken"},
                {"Variable": "$.left", "StringEquals": "again", "Next": "Name"},
            ],
            "Default": "Done",
        },
        "Open": {"Type": "Task", "Catch": [{"Next": "Broken"}], "End": True},
        "Done": {"Type": "Succeed"},
        "Broken": {"Type": "Fail"},
    },
}


def test_a_path_follows_the_answers_of_choices() -> None:
    assert states_entered(ASL, ["open"]) == ["Name", "Choose", "Open"]
    assert states_entered(ASL, ["nothing"]) == ["Name", "Choose", "Done"]


@pytest.mark.parametrize(("answer", "message"), [("break", "fails in Broken"), ("again", "comes back to Name")])
def test_a_path_that_does_not_end_well_is_refused(answer: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        states_entered(ASL, [answer])


# tables


def test_numbers_are_to_the_right() -> None:
    assert table(["what", "dollars"], [["a", "1,000.00"], ["b", "-0.50"]]) == (
        "| what | dollars |\n| --- | ---: |\n| a | 1,000.00 |\n| b | -0.50 |"
    )


def test_a_page_is_filled_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- two words: written by `x` -->\n\nold\n\n<!-- end of two words -->\nb\n")
    fill(page, "two words", ["| x |"])
    assert part(page, "two words") == ["| x |"]
    assert page.read_text() == "a\n<!-- two words: written by `x` -->\n\n| x |\n\n<!-- end of two words -->\nb\n"
    with pytest.raises(Failure, match="it has no place for one"):
        fill(page, "one", ["new"])


def test_a_second_region_pays_for_every_byte_twice() -> None:
    both = SETTINGS.model_copy(update={"replica_region": "us-west-2"})

    def more(of: Callable[[Settings], list[bill.Line]]) -> dict[tuple[str, str], tuple[float, str]]:
        before = {(line.service, line.item) for line in of(SETTINGS)}
        found = {(line.service, line.item): (line.quantity, line.price) for line in of(both)}
        return {name: line for name, line in found.items() if name not in before}

    uploaded = more(lambda settings: lines(THOUSAND, settings, FOUND, ASSUMED))
    assert uploaded["S3", "PUT of copies"] == (1_000, "s3_put")
    assert uploaded["Data transfer", "to the second region"] == (THOUSAND.gigabytes, "data_between_regions")
    assert uploaded["S3", "copies in time"] == (THOUSAND.gigabytes, "s3_replication_time")
    kept = more(lambda settings: bill.life(THOUSAND, settings, FOUND, ASSUMED))
    one = {(line.service, line.item): line.quantity for line in bill.life(THOUSAND, SETTINGS, FOUND, ASSUMED)}
    assert {service for service, _ in kept} == {"S3", "DynamoDB"}
    assert kept["S3", "STANDARD of copies"][0] == one["S3", "STANDARD"]


def test_the_page_says_of_every_setting_what_it_costs() -> None:
    section = (
        (ROOT / "docs" / "cost.md").read_text().partition("## What each setting does")[2].partition("## Prices")[0]
    )
    named = set(re.findall(r"\b[A-Z][A-Z0-9_]{4,}\b", section))
    assert {name.upper() for name in Settings.model_fields} - named == set()
