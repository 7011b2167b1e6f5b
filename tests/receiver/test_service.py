"""What works behind the pages: whole halves, started and ended in this process."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from flask import Flask

from receiver import Settings, close_app, create_app
from receiver.budget import Budget
from receiver.errors import LedgerError, SettingsError
from receiver.ledger import Ledger
from receiver.ledger.records import NoSuchDeliveryError
from receiver.process_lock import ProcessLock
from receiver.secret import Secret
from receiver.service import Service
from receiver.signature import sign
from tests.receiver.fakes import START, UNREACHABLE, Clock, FakeDestination, delivery, dispatch
from tests.receiver.web_fakes import SECRET, body, flat
from tests.receiver.world import REPOSITORY, artifact, wait_until


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a ledger in a new folder, and nobody named to GitHub."""
    return Settings(
        repository=REPOSITORY, secrets=(Secret(SECRET),), database_url=f"sqlite:///{tmp_path}/handoff.db"
    )


def lock_is_free(folder: Path) -> bool:
    """Whether another process might work with the ledger there."""
    ProcessLock.hold(folder / "handoff.db.lock", patience=0.0).release()
    return True


def test_the_receiving_half_sends_nothing(settings: Settings, tmp_path: Path) -> None:
    """Without a dispatcher, what is accepted stays pending, and none is missed by /readyz."""
    sink = FakeDestination()
    app = create_app(settings, dispatch=False, destination=sink)
    raw = body(flat())
    answer = app.test_client().post(
        "/webhooks/wandb", data=raw, headers={"X-Wandb-Signature": sign(raw, SECRET.encode())}
    )

    ready = app.test_client().get("/readyz")
    assert (answer.status_code, ready.status_code) == (202, 200)
    assert ready.json is not None
    assert set(ready.json["checks"]) == {"settings", "ledger"}
    close_app(app)
    with Ledger.open(settings.database_url) as ledger:
        assert ledger.open_count() == 1
    assert sink.arrived == []
    assert lock_is_free(tmp_path)


def promote(app: Flask, version: int) -> str:
    """Post a promotion, and return what is answered."""
    name = f"acme/wandb-registry-model/Churn Model:v{version}"
    raw = body(flat(artifact_version_string=name, artifact_version=artifact(version)))
    signed = {"X-Wandb-Signature": sign(raw, SECRET.encode())}
    answer = app.test_client().post("/webhooks/wandb", data=raw, headers=signed)
    assert answer.json is not None
    return str(answer.json["status"])


@pytest.mark.parametrize(
    ("window", "status"), [(timedelta(minutes=10), "duplicate"), (timedelta(0), "accepted")]
)
def test_the_window_of_the_settings(settings: Settings, window: timedelta, status: str) -> None:
    """The same promotion is a duplicate within the window that is set, and never in one of zero."""
    app = create_app(replace(settings, duplicate_window=window), dispatch=False)

    assert [promote(app, 1), promote(app, 1)] == ["accepted", status]
    close_app(app)


@pytest.mark.parametrize(("order", "first"), [("keep", "pending"), ("overtake", "superseded")])
def test_the_order_of_the_settings(
    settings: Settings, order: Literal["keep", "overtake"], first: str
) -> None:
    """A promotion passes an earlier one that waits for a retry only where the settings say so."""
    url = settings.database_url
    app = create_app(replace(settings, order=order), dispatch=False)
    promote(app, 1)
    close_app(app)
    away = FakeDestination()
    away.answers.extend([UNREACHABLE] * 9)
    service = Service.start(settings, away, threads=1)
    wait_until(lambda: bool(service.ledger.deliveries()[0].dispatches[0].attempts_used))
    service.close()
    app = create_app(replace(settings, order=order), dispatch=False)
    promote(app, 2)
    close_app(app)

    with Ledger.read_only(url) as ledger:
        assert [one.dispatches[0].state.value for one in ledger.deliveries()] == ["pending", first]


def test_the_budget_of_the_settings(settings: Settings) -> None:
    """No more attempts begin than the settings allow: the third of two an hour waits for its hour."""
    sink = FakeDestination()
    service = Service.start(replace(settings, budget=Budget.parse("2/h")), sink, now=Clock())
    for number in range(2):
        service.ledger.accept(delivery(f"d{number}", slot=f"s{number}"), [dispatch(f"d{number}")])
    wait_until(lambda: not service.ledger.open_count())
    service.ledger.accept(delivery("d2", slot="s2"), [dispatch("d2")])

    assert service.ledger.next_due(START) == START + timedelta(hours=1)
    service.close()
    assert sink.arrived_ids == ["d0-1", "d1-1"]


def test_nobody_named_to_github(settings: Settings, tmp_path: Path) -> None:
    """Settings of the receiving half do not dispatch; that is told, and everything is let go of."""
    with pytest.raises(SettingsError, match="want settings that dispatch, or dispatch=False"):
        create_app(settings)

    assert lock_is_free(tmp_path)


def test_what_ended_long_ago_is_forgotten(settings: Settings) -> None:
    """From its start on, what ended before the retention is pruned, unless it is kept for ever."""
    clock = Clock()
    with Ledger.open(settings.database_url) as ledger:
        ledger.accept(delivery(), [])
    clock.move(days=91)
    Service.start(replace(settings, retention=None), FakeDestination(), now=clock).close()
    with Ledger.read_only(settings.database_url) as ledger:
        assert ledger.delivery("d1").received_at == START

    service = Service.start(settings, FakeDestination(), now=clock)
    wait_until(lambda: not service.ledger.deliveries())
    service.close()
    with Ledger.read_only(settings.database_url) as ledger, pytest.raises(NoSuchDeliveryError):
        ledger.delivery("d1")


def test_the_receiving_half_forgets_nothing(settings: Settings) -> None:
    """Pruning is left to whoever dispatches."""
    with Ledger.open(settings.database_url) as ledger:
        ledger.accept(delivery(), [])
    service = Service.start(settings, now=lambda: START + timedelta(days=365), dispatch=False)
    service.close()

    with Ledger.read_only(settings.database_url) as ledger:
        assert ledger.delivery("d1").id == "d1"


def test_settings_that_warn(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """What works but should not stay so is logged at the start of either half."""
    with caplog.at_level(logging.WARNING):
        Service.start(replace(settings, warnings=("HANDOFF_REPO: is no setting",)), dispatch=False).close()

    assert "HANDOFF_REPO: is no setting" in caplog.text


def test_it_ends_once(settings: Settings) -> None:
    """A second end does nothing, and after the first nothing is sent."""
    sink = FakeDestination()
    service = Service.start(settings, sink)
    wait_until(lambda: service.dispatching)
    service.close()
    service.close()

    assert not service.dispatching
    with pytest.raises(LedgerError, match="closed"):
        service.ledger.check_writable()
    with Ledger.open(settings.database_url) as ledger:
        ledger.accept(delivery(), [dispatch()])
    assert sink.arrived == []


def test_a_fork_ends_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a forked process does not take the parent's connections along."""
    service = Service.start(settings, FakeDestination())
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    service.close()
    monkeypatch.undo()

    wait_until(lambda: service.dispatching)
    service.ledger.check_writable()
    service.close()


def test_two_on_one_postgresql(new_postgresql: Callable[[], str], settings: Settings) -> None:
    """What the receiving half accepts, the dispatching half sends without being asked."""
    shared = replace(settings, database_url=new_postgresql(), budget=None)
    sink = FakeDestination()
    sends = Service.start(shared, sink, now=Clock())
    receives = Service.start(shared, dispatch=False)
    for number in range(3):
        receives.ledger.accept(delivery(f"d{number}", fingerprint=f"f{number}"), [dispatch(f"d{number}")])
    wait_until(lambda: len(sink.arrived) == 3)

    receives.close()
    sends.close()
    assert sink.arrived_ids == ["d0-1", "d1-1", "d2-1"]
