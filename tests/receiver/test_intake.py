"""A webhook is verified, read, planned and stored, in this order, and whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from receiver.allowance import Allowance
from receiver.errors import LedgerError, RejectedError
from receiver.event import read_event
from receiver.intake import Accepted, Intake, Repeated, Trial, Webhook, new_id
from receiver.plan import Rules, fingerprint, slot
from receiver.secret import Secret
from receiver.signature import Encoding, sign
from tests.receiver.web_fakes import (
    NOON,
    SECRET,
    TOKEN,
    FakeClock,
    FakeLedger,
    body,
    flat,
    rendered_template,
    sample,
)

REPOSITORY = "acme/serving"
GITHUB_TOKEN = "github-token-for-tests"


@pytest.fixture
def ledger() -> FakeLedger:
    """An empty ledger."""
    return FakeLedger()


@pytest.fixture
def intake(ledger: FakeLedger) -> Intake:
    """An intake that wants a signature and a token."""
    return Intake(
        source="wandb",
        secrets=(Secret(SECRET), Secret("the-secret-before")),
        tokens=(Secret(TOKEN), Secret("the-token-before")),
        hidden=(Secret(SECRET), Secret(TOKEN), Secret(GITHUB_TOKEN)),
        rules=Rules.of_one_repository(REPOSITORY, forward=("stage",)),
        store=ledger,
        now=FakeClock(),
        new_id=lambda _now: "01DELIVERY",
    )


def webhook(raw: bytes, *, secret: str = SECRET, token: str = TOKEN) -> Webhook:
    """A webhook as W&B would send it."""
    return Webhook(raw, sign(raw, secret.encode()), f"Bearer {token}", "203.0.113.9")


def refusal(intake: Intake, hook: Webhook) -> RejectedError:
    """The error that the intake raises."""
    with pytest.raises(RejectedError) as caught:
        intake.receive(hook)
    return caught.value


def test_a_delivery_is_kept_with_its_dispatch(intake: Intake, ledger: FakeLedger) -> None:
    """What is stored says what came, when, from where, and how it was signed; the body is not kept."""
    raw = body(rendered_template())
    event = read_event(raw)
    accepted = intake.receive(webhook(raw))

    assert isinstance(accepted, Accepted)
    assert ledger.kept == [(accepted.delivery, accepted.dispatches)]
    delivery, (dispatch,) = ledger.kept[0]
    assert (delivery.id, delivery.source, delivery.received_at) == ("01DELIVERY", "wandb", NOON)
    assert (delivery.address, delivery.encoding) == ("203.0.113.9", "hex")
    assert delivery.body_sha256 == hashlib.sha256(raw).hexdigest()
    assert delivery.event == event
    assert (delivery.slot, delivery.fingerprint) == (slot(event, "wandb"), fingerprint(event, "wandb"))
    assert (dispatch.repository, dispatch.event_type) == (REPOSITORY, "BUILD_AND_DEPLOY")


@pytest.mark.parametrize("encoding", Encoding)
def test_the_encoding_is_recorded(intake: Intake, encoding: Encoding) -> None:
    """How the signature was written is kept, for whoever wonders what W&B sends."""
    raw = body(flat())
    accepted = intake.receive(replace(webhook(raw), signature=sign(raw, SECRET.encode(), encoding)))

    assert isinstance(accepted, Accepted)
    assert accepted.delivery.encoding == encoding.value


@pytest.mark.parametrize(
    ("secret", "token"), [("the-secret-before", TOKEN), (SECRET, "the-token-before")], ids=["secret", "token"]
)
def test_the_values_before_are_good(intake: Intake, secret: str, token: str) -> None:
    """While W&B is given a new secret or token, the old one is taken."""
    assert isinstance(intake.receive(webhook(body(flat()), secret=secret, token=token)), Accepted)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"signature": None}, "missing-signature"),
        ({"signature": "0" * 64}, "bad-signature"),
        ({"authorization": None}, "missing-token"),
        ({"authorization": "Bearer guess"}, "bad-token"),
        ({"signature": "0" * 64, "authorization": "Bearer guess"}, "bad-signature"),
        ({"signature": None, "authorization": None}, "missing-signature"),
    ],
    ids=str,
)
def test_both_must_hold(
    intake: Intake, ledger: FakeLedger, changes: dict[str, str | None], reason: str
) -> None:
    """With both configured both are needed; without the signature nothing is told of the token. [A10]"""
    hook = webhook(b"this is never parsed")
    error = refusal(intake, Webhook(**{**vars(hook), **changes}))

    assert (error.status, error.reason) == (401, reason)
    assert not ledger.kept
    trace = ledger.rejections[0]
    assert (trace.at, trace.address, trace.reason, trace.status) == (NOON, "203.0.113.9", reason, 401)


def test_a_wrong_signature_tells_the_same_whatever_the_token(intake: Intake) -> None:
    """Somebody without the secret cannot try tokens out. [A10]"""
    wrong = replace(webhook(b"{}"), signature="0" * 64)

    assert str(refusal(intake, wrong)) == str(refusal(intake, replace(wrong, authorization="Bearer guess")))


def test_one_of_the_two_alone(intake: Intake) -> None:
    """What is not configured is not asked for, and no encoding is recorded without a secret."""
    raw = body(flat())
    signed_only = replace(intake, tokens=()).receive(replace(webhook(raw), authorization=None))
    other = body(flat(alias="staging"))
    token_only = replace(intake, secrets=()).receive(replace(webhook(other), signature=None))

    assert isinstance(signed_only, Accepted)
    assert isinstance(token_only, Accepted)
    assert token_only.delivery.encoding is None


@pytest.mark.parametrize("changes", [{"secrets": (), "tokens": ()}, {"secrets": (Secret(""),)}], ids=str)
def test_there_is_no_insecure_intake(intake: Intake, changes: dict[str, tuple[Secret, ...]]) -> None:
    """An intake without a secret and a token, or with an empty one, cannot be made. [A13]"""
    with pytest.raises(ValueError, match="want a secret or a token"):
        replace(intake, **changes)  # type: ignore[arg-type]  # mypy matches them with every field


def test_a_payload_that_is_no_event_leaves_a_trace(intake: Intake, ledger: FakeLedger) -> None:
    """What is signed but no event is refused, and its trace holds no body."""
    assert refusal(intake, webhook(b"[]")).reason == "not-an-object"
    assert refusal(intake, webhook(b"nope")).reason == "not-json"
    assert [trace.reason for trace in ledger.rejections] == ["not-an-object", "not-json"]
    assert not ledger.kept


@pytest.mark.parametrize(
    ("tokens", "said"),
    [((Secret(TOKEN),), "signature and the access token are right"), ((), "no access token")],
)
def test_a_trial_is_told_what_holds(
    intake: Intake, ledger: FakeLedger, tokens: tuple[Secret, ...], said: str
) -> None:
    """Whoever pressed Test reads what was checked and what a real delivery needs; nothing is sent."""
    trial = replace(intake, tokens=tokens).receive(webhook(b"{}"))

    assert isinstance(trial, Trial)
    assert said in trial.text
    assert "event_type and artifact_version" in trial.text
    assert [(trace.reason, trace.status) for trace in ledger.rejections] == [("test", 200)]
    assert not ledger.kept


def test_a_trial_with_a_template(intake: Intake) -> None:
    """A good template is called good; what one lacks is told, and a wrong variable is named."""

    def text(raw: bytes) -> str:
        answer = intake.receive(webhook(raw))
        assert isinstance(answer, Trial)
        return answer.text

    assert "has what a real delivery needs" in text(sample("readme_template"))
    assert "lacks event_type and artifact_version" in text(body({"alias": "${alias}"}))
    assert "W&B has no variable ${projct}" in text(body({"alias": "${alias}", "tag": "${projct}"}))


def test_a_trial_needs_the_signature_too(intake: Intake) -> None:
    """A test without the right secret or token is refused like anything else."""
    assert refusal(intake, webhook(b"{}", secret="wrong")).reason == "bad-signature"
    assert refusal(intake, webhook(b"{}", token="wrong")).reason == "bad-token"


def test_a_ledger_that_is_down_keeps_nothing(intake: Intake, ledger: FakeLedger) -> None:
    """The error passes through, for the sender must come again. [C2]"""
    ledger.down = True

    with pytest.raises(LedgerError):
        intake.receive(webhook(body(flat())))
    assert not ledger.kept
    assert [(trace.reason, trace.status) for trace in ledger.rejections] == [("ledger-unavailable", 503)]


def test_a_secret_in_the_payload_is_refused(intake: Intake, ledger: FakeLedger) -> None:
    """Where the payload would carry one of our secrets on, nothing is kept and the value is not told."""
    error = refusal(intake, webhook(body(flat(event_author=GITHUB_TOKEN))))

    assert error.reason == "secret-in-payload"
    assert GITHUB_TOKEN not in str(error)
    assert not ledger.kept


@pytest.mark.parametrize(
    "fields",
    [
        {**flat(), "note": GITHUB_TOKEN},
        {**flat(), GITHUB_TOKEN: 1},
        {"event_author": GITHUB_TOKEN, "client_payload": flat()},
        {"alias": "${alias}", "note": GITHUB_TOKEN},
    ],
    ids=["ignored", "name", "shadowed", "trial"],
)
def test_a_secret_anywhere_in_the_body_is_refused(
    intake: Intake, ledger: FakeLedger, fields: dict[str, object]
) -> None:
    """A secret in what would have been left out is a secret in W&B's payload all the same."""
    assert refusal(intake, webhook(body(fields))).reason == "secret-in-payload"
    assert not ledger.kept


def test_no_message_repeats_a_secret(intake: Intake) -> None:
    """A refusal that quotes what it got does not quote a secret. [A12]"""
    error = refusal(intake, webhook(body(flat(artifact_version=TOKEN))))

    assert error.reason == "bad-artifact-version"
    assert TOKEN not in str(error)
    assert "***" in str(error)


def test_undocumented_fields(intake: Intake) -> None:
    """What a setting names goes on, what else there was is told by name."""
    accepted = intake.receive(webhook(body({**flat(), "stage": "prod", "note": "x"})))

    assert isinstance(accepted, Accepted)
    assert accepted.dispatches[0].client_payload["stage"] == "prod"
    assert accepted.ignored == ("note",)
    assert "note" not in json.dumps(dict(accepted.dispatches[0].client_payload))


def test_ids_sort_by_time() -> None:
    """An id is safe in a URL, no two are the same, and a later one sorts after."""
    ids = [new_id(NOON + timedelta(milliseconds=number)) for number in range(100)]

    assert sorted(ids) == ids
    assert all(re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", one) for one in ids)
    assert len({new_id(NOON) for _ in range(1000)}) == 1000


def test_what_is_told_twice_is_taken_once(intake: Intake, ledger: FakeLedger) -> None:
    """Within the window the first delivery's receipt comes back; without one, each is a delivery. [B12]"""
    raw = body(flat())
    first = intake.receive(webhook(raw))
    again = intake.receive(webhook(raw))

    assert isinstance(first, Accepted)
    assert isinstance(again, Repeated)
    assert (again.first.delivery_id, again.first.dispatches) == (first.delivery.id, first.dispatches)
    assert isinstance(replace(intake, window=timedelta(0)).receive(webhook(raw)), Accepted)
    assert len(ledger.kept) == 2


def test_a_costly_search_is_rare(intake: Intake) -> None:
    """Whoever floods us with wrong signatures gets a few searches for the reason, then one a second. [A17]"""
    raw = body(flat())
    wrong = replace(webhook(raw), signature=sign(raw + b"\n", SECRET.encode()))

    reasons = [refusal(intake, wrong).reason for _ in range(7)]

    assert reasons == ["signature-of-rewritten-json"] * 5 + ["bad-signature"] * 2


def test_an_allowance_fills_up() -> None:
    """What was not asked for is there later, up to the burst; a clock that goes back gives nothing."""
    allowance = Allowance(burst=2, per_second=1.0)

    taken = [allowance.take(at) for at in (100.0, 100.0, 100.0, 100.5, 101.0, 99.0, 99.9, 100.0, 500.0)]
    assert taken == [True, True, False, False, True, False, False, True, True]
    assert [allowance.take(500.0) for _ in range(2)] == [True, False]
