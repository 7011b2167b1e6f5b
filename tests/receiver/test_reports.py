"""Reports from jobs, and which events are our own doing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from receiver.errors import BadPayloadError, NotJsonError, RejectedError, UnauthorizedError
from receiver.event import RegistryEvent, read_event
from receiver.reports import HOLD, REPEATS, TOLERANCE, OwnMarks, Reports
from receiver.secret import Secret
from registry_client.report import Mark, Report, signature
from tests.receiver.fakes import START, Clock
from tests.receiver.report_fakes import FakeReportStore

SECRET = "report secret of thirty-two chars"
ARTIFACT = "QXJ0aWZhY3Q6MTIz"
FLOWER = "wandb-registry-model/Flower"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> FakeReportStore:
    return FakeReportStore("key-1")


@pytest.fixture
def reports(store: FakeReportStore, clock: Clock) -> Reports:
    return Reports((Secret("the new one, not yet in use"), Secret(SECRET)), store, clock)


def report(**others: Any) -> Report:
    """A report as a job makes it."""
    told = {
        "at": START,
        "state": "success",
        "artifact": ARTIFACT,
        "key": "key-1",
        "delivery": "d-1",
        **others,
    }
    return Report(version=f"acme-org/{FLOWER}:v3", digest="ab12", **told)


def send(reports: Reports, body: bytes | Report, secret: str = SECRET) -> bool:
    """Send it, signed."""
    body = body.to_bytes() if isinstance(body, Report) else body
    return reports.receive(body, signature(body, secret.encode()))


def changed(**others: Any) -> bytes:
    """The body of a report with other fields."""
    return json.dumps({**json.loads(report().to_bytes()), **others}).encode()


def event(name: str = "ADD_ARTIFACT_ALIAS", **fields: str) -> RegistryEvent:
    """What W&B tells."""
    payload = {
        "event_type": name,
        "entity_name": "acme-org",
        "project_name": "wandb-registry-model",
        "artifact_collection_name": "Flower",
        "artifact_version": f"wandb-artifact://_id/{ARTIFACT}",
        **fields,
    }
    read = read_event(json.dumps(payload).encode())
    assert isinstance(read, RegistryEvent)
    return read


def test_the_outcome_is_kept_with_its_dispatch(reports: Reports, store: FakeReportStore) -> None:
    """
    What it told, and nothing that it did not; whether anybody knows the dispatch is answered.
    """
    told = report(image="ghcr.io/acme/serving@sha256:ab", url="https://models.example.com")

    assert send(reports, told)
    assert not send(reports, report(key="another"))

    assert store.reports[0] == {
        "delivery": "d-1",
        "key": "key-1",
        "state": "success",
        "image": "ghcr.io/acme/serving@sha256:ab",
        "url": "https://models.example.com",
        "version": f"acme-org/{FLOWER}:v3",
        "digest": "ab12",
        "at": "2026-03-01T12:00:00.000Z",
    }


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda _: None, "missing-signature"),
        (lambda _: " ", "missing-signature"),
        (lambda body: signature(body, b"another secret"), "bad-signature"),
        (lambda body: signature(body + b" ", SECRET.encode()), "bad-signature"),
        (lambda body: signature(body, SECRET.encode()).removeprefix("sha256="), "bad-signature"),
        (lambda _: "sha256=é", "bad-signature"),
    ],
    ids=["missing", "blank", "other secret", "other body", "no prefix", "not ASCII"],
)
def test_nobody_else_reports(
    reports: Reports, store: FakeReportStore, spoil: Callable[[bytes], str | None], reason: str
) -> None:
    """
    Nothing is read before the signature is right.
    """
    body = report(marks=(Mark(FLOWER, "alias:deployed"),)).to_bytes()

    with pytest.raises(UnauthorizedError) as refused:
        reports.receive(body, spoil(body))

    assert refused.value.reason == reason
    assert (store.reports, store.marks) == ([], {})


@pytest.mark.parametrize("apart", [TOLERANCE, -TOLERANCE])
def test_what_is_kept_back_is_stale(reports: Reports, clock: Clock, apart: timedelta) -> None:
    """
    Five minutes either way are a clock; more is somebody who sends again what he has seen.
    """
    clock.time = START + apart
    assert send(reports, report())

    clock.time += timedelta(seconds=1 if apart > timedelta(0) else -1)
    with pytest.raises(UnauthorizedError, match="301 s from ours") as refused:
        send(reports, report())
    assert refused.value.reason == "stale-report"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "report: want 1"),
        (changed(report=2), "report: want 1"),
        (changed(state="splendid"), "state: want marking, success"),
        (changed(version=None), "version: is missing"),
        (changed(version=7), "version: want a line"),
        (changed(image="x" * 1025), "image: want a line of at most 1024"),
        (changed(url="a\nb"), "url: want a line"),
        (changed(url="javascript:alert(1)"), "url: want a URL"),
        (changed(run_url="/actions"), "run_url: want a URL"),
        (changed(at="yesterday"), "at: want a time"),
        (changed(at="2026-13-01T12:00:00Z"), "at: want a time"),
        (changed(marks={}), "marks: want a list"),
        (changed(marks=[{"name": "x", "collection": ""}] * 201), "at most 200"),
        (changed(marks=["x"]), "want objects with collection and name"),
        (changed(marks=[{"collection": ""}]), "name: is missing"),
        (changed(withdrawn=[{"collection": "x" * 1025, "name": "y"}]), "collection: want at most"),
        (changed(artifact=None, marks=[{"collection": "", "name": "tag:x"}]), "artifact: is missing"),
    ],
)
def test_what_is_no_report(reports: Reports, store: FakeReportStore, body: bytes, words: str) -> None:
    """
    Is refused with what was wanted, and nothing of it is kept.
    """
    with pytest.raises(BadPayloadError) as refused:
        send(reports, body)

    assert words in str(refused.value)
    assert (refused.value.reason, store.reports, store.marks) == ("bad-report", [], {})


def test_what_is_no_json(reports: Reports) -> None:
    """
    Is told as everywhere.
    """
    with pytest.raises(NotJsonError):
        send(reports, b"nonsense")


MARKS = (
    Mark(FLOWER, "alias:deployed"),
    Mark(FLOWER, "link"),
    Mark("", "tag:serving"),
    Mark("", "untag:waiting"),
)


@pytest.mark.parametrize(
    ("told", "ours"),
    [
        (event(alias="deployed"), True),
        (event("UPDATE_ARTIFACT_ALIAS", alias="deployed"), True),
        (event(alias="production"), False),
        (event(alias="deployed", entity_name="Acme Inc"), True),
        (event(alias="deployed", artifact_collection_name="Leaf"), False),
        (event(alias="deployed", project_name="wandb-registry-staging"), False),
        (event(alias="deployed", artifact_version="wandb-artifact://_id/QXJ0aWZhY3Q6NDU2"), False),
        (event("BUILD_AND_DEPLOY", alias="deployed"), True),
        (event("BUILD_AND_DEPLOY", tag="serving"), True),
        (event("BUILD_AND_DEPLOY"), True),
        (event("LINK_ARTIFACT"), True),
        (event("LINK_MODEL"), True),
        (event("LINK_ARTIFACT", artifact_collection_name="Leaf"), False),
        (event("ADD_ARTIFACT_TAG", tag="serving"), True),
        (event("ADD_ARTIFACT_TAG", tag="serving", artifact_collection_name="Leaf"), True),
        (event("REMOVE_ARTIFACT_TAG", tag="serving"), False),
        (event("REMOVE_ARTIFACT_TAG", tag="waiting"), True),
        (event("UNLINK_ARTIFACT"), False),
        (event("CREATE_ARTIFACT"), False),
        (event("RUN_STATE", run_name="r"), False),
        (event("ADD_ARTIFACT_ALIAS"), False),
        (event("ADD_ARTIFACT_TAG"), False),
        (event(alias="deployed", artifact_version=f"acme-org/{FLOWER}:v3"), False),
    ],
    ids=lambda value: str(value) if isinstance(value, bool) else f"{value.event} {value.alias or value.tag}",
)
def test_our_own_marks_are_known(
    reports: Reports, store: FakeReportStore, clock: Clock, told: RegistryEvent, *, ours: bool
) -> None:
    """
    By artifact, collection and name, however W&B writes the entity; nothing else is.
    """
    send(reports, report(state="marking", marks=MARKS))

    assert OwnMarks(store)(told, clock()) is ours


def test_a_mark_counts_once(reports: Reports, store: FakeReportStore, clock: Clock) -> None:
    """
    For what W&B tells of it, twice perhaps; when a person does the same later, that is another thing.
    """
    send(reports, report(state="marking", marks=MARKS))
    ours = OwnMarks(store)

    assert ours(event(alias="deployed"), clock.move(minutes=30))
    assert ours(event(alias="deployed"), clock.move(seconds=REPEATS.total_seconds()))
    assert not ours(event(alias="deployed"), clock.move(seconds=1))


def test_a_mark_does_not_count_for_ever(reports: Reports, store: FakeReportStore, clock: Clock) -> None:
    """
    W&B may be late, but not for hours; sent again, the same report makes it no longer.
    """
    send(reports, report(state="marking", marks=MARKS))
    clock.move(minutes=4)
    send(reports, report(state="marking", marks=MARKS))
    ours = OwnMarks(store)

    clock.time = START + HOLD
    assert ours(event("LINK_ARTIFACT"), clock())
    assert not ours(event(alias="deployed"), clock.move(seconds=1))


def test_what_was_not_written_is_withdrawn(reports: Reports, store: FakeReportStore, clock: Clock) -> None:
    """
    When W&B refused the alias and a person adds it then, it is dispatched.
    """
    send(reports, report(state="marking", marks=MARKS))
    send(reports, report(problem="refused", withdrawn=MARKS[:1]))
    ours = OwnMarks(store)

    assert not ours(event(alias="deployed"), clock())
    assert ours(event("LINK_ARTIFACT"), clock())


@pytest.mark.parametrize("secrets", [(), (Secret(""),), (Secret("x"), Secret(""))])
def test_there_is_a_secret(store: FakeReportStore, clock: Clock, secrets: tuple[Secret, ...]) -> None:
    """
    Without one, anybody could say that a delivery is deployed.
    """
    with pytest.raises(ValueError, match="want a secret"):
        Reports(secrets, store, clock)


def test_a_secret_is_never_shown(reports: Reports) -> None:
    """
    Neither in a repr nor in a refusal.
    """
    with pytest.raises(RejectedError) as refused:
        send(reports, report(), "another")

    assert SECRET not in f"{reports!r} {refused.value}"
