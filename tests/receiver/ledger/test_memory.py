"""What is remembered beside the deliveries; on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from receiver.delivery import Baseline
from receiver.dispatch import DispatchKind
from receiver.ledger import Ledger
from receiver.reconcile import Memory
from receiver.reports import Store
from tests.receiver.fakes import START, delivery, dispatch, event

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
ARTIFACT = "QXJ0aWZhY3Q6MQ=="
KEY = "0123456789abcdef0123"


def promoted(ledger: Ledger, name: str, slot: str, **fields: str) -> None:
    """Accept what names its version in these fields."""
    ledger.accept(delivery(name, slot=slot, event=event(fields=fields)), [])


def reports(ledger: Ledger, name: str) -> list[Any]:
    return [each.report for each in ledger.delivery(name).dispatches]


def test_the_ledger_is_what_its_users_want(ledger: Ledger) -> None:
    """
    Every method, with the signature that they call.
    """
    memory: Memory = ledger
    store: Store = ledger

    assert memory.last_promoted(["none"]) is None
    assert store.mark_until(ARTIFACT, "", "tag:ready") is None


def test_the_last_promotion_is_that_of_the_latest_delivery_of_all_slots(ledger: Ledger) -> None:
    """
    By the order in which they came, whatever door; others' slots do not count.
    """
    promoted(ledger, "d1", "a", artifact_version="wandb-artifact://_id/QXJ0aWZhY3Q6Mg==")
    promoted(ledger, "d2", "b", artifact_version=f"wandb-artifact://_id/{ARTIFACT}")
    promoted(ledger, "d3", "other", artifact_version="wandb-artifact://_id/QXJ0aWZhY3Q6Mw==")

    assert ledger.last_promoted(["a", "b", "b", "unknown"]) == (ARTIFACT, "d2")
    assert ledger.last_promoted(("a",)) == ("QXJ0aWZhY3Q6Mg==", "d1")
    assert ledger.last_promoted(["unknown"]) is None
    assert ledger.last_promoted([]) is None


@pytest.mark.parametrize(
    "fields",
    [{}, {"artifact_version": "acme/reg/churn:v3"}, {"artifact_version": "nonsense::"}],
    ids=["nothing", "a-name", "nonsense"],
)
def test_a_promotion_may_name_no_artifact_id(ledger: Ledger, fields: dict[str, str]) -> None:
    """
    It was the last one all the same.
    """
    promoted(ledger, "d1", "a", **fields)

    assert ledger.last_promoted(["a"]) == (None, "d1")


def test_a_baseline_is_kept_by_route_collection_and_alias(ledger: Ledger) -> None:
    """
    The later one replaces the earlier; the others stay as they are.
    """
    first, second = Baseline(ARTIFACT, START), Baseline("", START + SECOND)
    ledger.set_baseline("deploy", "acme/reg/churn", "production", first)
    ledger.set_baseline("other", "acme/reg/churn", "production", first)
    ledger.set_baseline("deploy", "acme/reg/churn", "production", second)

    assert ledger.baseline("deploy", "acme/reg/churn", "production") == second
    assert ledger.baseline("other", "acme/reg/churn", "production") == first
    assert ledger.baseline("deploy", "acme/reg/churn", "staging") is None
    assert ledger.baseline("deploy", "acme/reg/other", "production") is None


def test_a_mark_is_kept_by_artifact_collection_and_name(ledger: Ledger) -> None:
    """
    The later one replaces the earlier, be it shorter or longer.
    """
    ledger.put_mark(ARTIFACT, "reg/churn", "alias:deployed", START)
    ledger.put_mark(ARTIFACT, "reg/churn", "alias:deployed", START - SECOND)

    assert ledger.mark_until(ARTIFACT, "reg/churn", "alias:deployed") == START - SECOND
    assert ledger.mark_until(ARTIFACT, "reg/churn", "alias:other") is None
    assert ledger.mark_until(ARTIFACT, "reg/other", "alias:deployed") is None
    assert ledger.mark_until("other", "reg/churn", "alias:deployed") is None


def test_marks_go_when_what_is_as_old_goes(ledger: Ledger) -> None:
    """
    They do not pile up; the edge is exact.
    """
    ledger.put_mark(ARTIFACT, "", "tag:old", START - SECOND)
    ledger.put_mark(ARTIFACT, "", "tag:new", START)
    ledger.set_baseline("deploy", "acme/reg/churn", "production", Baseline(ARTIFACT, START - DAY))

    ledger.prune(START)

    assert ledger.mark_until(ARTIFACT, "", "tag:old") is None
    assert ledger.mark_until(ARTIFACT, "", "tag:new") == START
    assert ledger.baseline("deploy", "acme/reg/churn", "production") is not None


@pytest.mark.parametrize(
    ("delivery_id", "key", "kept"),
    [
        ("d1", KEY, ["d1-1"]),
        (None, KEY, ["d1-1"]),
        ("d1", None, ["d1-1", "d1-2"]),
        ("d2", KEY, []),
        ("d1", "f" * 20, []),
        (None, "f" * 20, []),
        ("unknown", None, []),
        (None, None, []),
    ],
    ids=["both", "key", "delivery", "other-delivery", "other-key", "unknown-key", "unknown", "neither"],
)
def test_a_report_is_kept_with_the_dispatch_that_it_is_about(
    ledger: Ledger, delivery_id: str | None, key: str | None, kept: list[str]
) -> None:
    """
    By its key, its delivery, or both; a notice is nobody's job.
    """
    told = {"state": "deployed", "url": "https://model.example"}
    planned = [
        dispatch(key=KEY, repository="zeta/last"),
        dispatch(number=2),
        dispatch(number=3, repository="notice:chat", kind=DispatchKind.NOTICE),
    ]
    ledger.accept(delivery(), planned)
    ledger.accept(delivery("d2"), [dispatch("d2")])

    assert ledger.record_report(delivery_id, key, told) is bool(kept)

    found = [each for name in ("d1", "d2") for each in ledger.delivery(name).dispatches if each.report]
    assert [(each.id, each.report) for each in found] == [(name, told) for name in kept]


def test_the_last_report_counts(ledger: Ledger) -> None:
    """
    First a job says that it is about to mark, then how that ended.
    """
    ledger.accept(delivery(), [dispatch(key=KEY)])
    for state in ("marking", "deployed"):
        ledger.record_report("d1", KEY, {"state": state})

    assert reports(ledger, "d1") == [{"state": "deployed"}]
