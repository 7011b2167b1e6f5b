"""The rounds would notice: each way to break the promise is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from receiver.delivery import DeliveryRecord, DispatchRecord, DispatchState
from tests.faults.rounds import broken
from tests.faults.senders import Promotion, Told
from tests.receiver.fakes import START

FIRST, SECOND = Promotion("model-1", 1), Promotion("model-1", 2)


def kept(promotion: Promotion, delivery: str, **changes: Any) -> DeliveryRecord:
    """A delivery that was sent."""
    dispatch = DispatchRecord(
        id=f"{delivery}-1",
        repository="acme/serving",
        event_type="ADD_ARTIFACT_ALIAS",
        key=f"key-{delivery}",
        client_payload={},
        state=DispatchState.SENT,
        next_attempt_at=None,
        attempts_used=1,
        possibly_duplicated=False,
        reason="sent",
        detail=None,
        run_url=None,
        attempts=(),
    )
    fields = {"artifact_version": promotion.artifact, "artifact_collection_name": promotion.collection}
    at = START + timedelta(seconds=promotion.number)
    return DeliveryRecord(
        delivery, "wandb", at, None, None, "00", "ADD_ARTIFACT_ALIAS", fields, (replace(dispatch, **changes),)
    )


def told(*deliveries: str) -> Told:
    """The first promotions, acknowledged as these deliveries."""
    promotions = (FIRST, SECOND)[: len(deliveries)]
    return Told(begun=[FIRST, SECOND], acknowledged=dict(zip(promotions, deliveries, strict=True)))


ONE, TWO = kept(FIRST, "d1"), kept(SECOND, "d2")


def test_what_is_right_is_not_told() -> None:
    """
    Once each and in order; twice where it is marked; kept and sent without an acknowledgement.
    """
    assert list(broken(told("d1", "d2"), [TWO, ONE], ["d1", "d2"])) == []
    assert list(broken(told("d1"), [kept(FIRST, "d1", possibly_duplicated=True)], ["d1", "d1"])) == []
    assert list(broken(told(), [ONE], ["d1"])) == []


@pytest.mark.parametrize(
    ("answers", "ledger", "arrived", "words"),
    [
        pytest.param(["d1"], [], [], "d1 was acknowledged and is not in the ledger", id="lost"),
        pytest.param([], [], ["d1"], "d1 arrived and is not in the ledger", id="from nowhere"),
        pytest.param([], [replace(ONE, dispatches=())], [], "d1 is half there: 0 dispatches", id="half"),
        pytest.param(["d1"], [ONE], [], "d1 never arrived", id="not sent"),
        pytest.param(
            ["d1"], [kept(FIRST, "d1", state=DispatchState.DEAD)], ["d1"], "d1 is dead: sent", id="dead"
        ),
        pytest.param(["d1"], [ONE], ["d1", "d1"], "d1 arrived 2 times, and is not marked", id="doubled"),
        pytest.param(
            ["d1"], [kept(FIRST, "d2"), ONE], ["d1", "d2"], "number=1) became 2 deliveries", id="kept twice"
        ),
        pytest.param(["d1", "d2"], [TWO, ONE], ["d2", "d1"], "model-1 did not arrive in order", id="order"),
    ],
)
def test_what_is_wrong_is_told(
    answers: list[str], ledger: list[DeliveryRecord], arrived: list[str], words: str
) -> None:
    """
    Lost, half, unsent, doubled, out of order: each has its line.
    """
    lines = list(broken(told(*answers), ledger, arrived))

    assert any(words in line for line in lines), lines


def test_a_wrong_answer_is_told() -> None:
    """
    A sender that was told anything but yes or not now is a fault of the receiver's.
    """
    assert list(broken(Told(wrong=["500 oops"]), [], [])) == ["a sender was told 500 oops"]
