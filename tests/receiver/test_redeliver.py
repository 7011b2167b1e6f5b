"""`handoff redeliver` and `handoff deliveries --dead`: what they say, what they do, how they end."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from receiver.cli import main
from receiver.delivery import DispatchState
from receiver.dispatch import Outcome, OutcomeKind
from receiver.errors import LedgerError
from receiver.ledger import Ledger
from receiver.retry import Dead, Decision, Sent, Wait
from receiver.service import Service
from receiver.settings import Settings
from tests.receiver.fakes import LEASE, FakeDestination, delivery, dispatch
from tests.receiver.world import wait_until

NOW = datetime.now(timezone.utc)
BAD_GATEWAY = Outcome(OutcomeKind.AMBIGUOUS, "github-502", "Bad Gateway", 502)
SENT = Outcome(OutcomeKind.SENT, "sent", "204", 204)
REFUSED = Outcome(OutcomeKind.REFUSED, "github-404", "no such repository", 404)


@pytest.fixture
def url(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of either kind, told to the command."""
    monkeypatch.setenv("HANDOFF_DATABASE_URL", database_url)
    return database_url


def end(ledger: Ledger, number: int, decision: Decision, outcome: Outcome) -> str:
    """Have a delivery accepted, and its one attempt end like that; return the delivery's id."""
    name = f"d{number}"
    repository = f"acme/deploy-{number}"
    ledger.accept(
        delivery(name, at=NOW, slot=name), [dispatch(name, at=NOW, repository=repository, lane=name)]
    )
    claim = ledger.claim(NOW, LEASE)
    assert claim is not None
    ledger.record(claim, decision, outcome, NOW)
    return name


@pytest.fixture
def dead(url: str) -> Iterator[str]:
    """The id of a delivery whose dispatch GitHub refused."""
    with Ledger.open(url) as ledger:
        yield end(ledger, 1, Dead("github-404", "no such repository"), REFUSED)


def state(url: str, number: int) -> tuple[DispatchState, int]:
    """Where a delivery's dispatch stands, and how often it was redelivered."""
    with Ledger.read_only(url) as ledger:
        (one,) = ledger.delivery(f"d{number}").dispatches
        return one.state, one.redeliveries


def test_the_dead_have_an_exit_code(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """3 while something is dead, 0 while nothing is: a monitor needs no more."""
    with Ledger.open(url) as ledger:
        end(ledger, 1, Sent(), SENT)
        assert main(["deliveries", "--dead"]) == 0
        assert capsys.readouterr().out == "Nothing is dead.\n"
        end(ledger, 2, Dead("github-404", "no such repository"), REFUSED)

    assert main(["deliveries", "--dead"]) == 3
    told = capsys.readouterr().out
    assert "acme/deploy-2 ADD_ARTIFACT_ALIAS: dead (1 attempt, github-404)" in told
    assert "acme/deploy-1" not in told
    assert main(["deliveries", "--dead", "--json"]) == 3
    assert [one["id"] for one in json.loads(capsys.readouterr().out)["deliveries"]] == ["d2"]
    assert main(["deliveries"]) == 0


def test_the_open_ones(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is still to be sent is told alone; that there is some is no failure."""
    with Ledger.open(url) as ledger:
        end(ledger, 1, Dead("github-404", "no such repository"), REFUSED)
        assert main(["deliveries", "--open"]) == 0
        assert capsys.readouterr().out == "Nothing is open.\n"
        end(ledger, 2, Wait(NOW + timedelta(hours=1)), BAD_GATEWAY)

    assert main(["deliveries", "--open"]) == 0
    told = capsys.readouterr().out
    assert "acme/deploy-2" in told
    assert "acme/deploy-1" not in told


def test_what_is_paused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where GitHub asked us to wait, everybody who looks sees until when, and why."""
    throttled = Outcome(OutcomeKind.THROTTLED, "rate-limited", "slow down", 429, wait=timedelta(hours=1))
    with Ledger.open(url) as ledger:
        end(ledger, 1, Wait(NOW + timedelta(hours=1), counts=False), throttled)

    for arguments in ([], ["--dead"], ["--open"]):
        assert main(["deliveries", *arguments]) == 0
        told = capsys.readouterr().out
        until = (NOW + timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%SZ")
        assert f"\nPaused:\n  GitHub  until {until}  rate-limited: GitHub asked us to wait\n" in told


def test_redeliver(url: str, dead: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A dead one is told of and sent again by whoever dispatches, with the same key."""
    assert main(["redeliver", dead, "d1-1"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "dispatch d1-1 (dead) is sent again now, with the same key"
    assert lines[1].startswith("1 to be sent: a dispatcher that runs notices ")
    assert state(url, 1) == (DispatchState.PENDING, 1)
    sink = FakeDestination()
    service = Service.start(Settings(database_url=url), sink)
    wait_until(lambda: state(url, 1)[0] is DispatchState.SENT)
    service.close()
    assert [one.key for one in sink.arrived] == ["key-d1-1"]
    assert main(["deliveries", "--dead"]) == 0


def test_what_was_sent_beside_it(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a delivery for two repositories, only what did not arrive is sent again; of both it is told."""
    with Ledger.open(url) as ledger:
        both = [dispatch(number=number, at=NOW, repository=f"acme/r{number}") for number in (1, 2)]
        ledger.accept(delivery(at=NOW), both)
        for outcome, decision in ((SENT, Sent()), (REFUSED, Dead("github-404", "no such repository"))):
            claim = ledger.claim(NOW, LEASE)
            assert claim is not None
            ledger.record(claim, decision, outcome, NOW)

    assert main(["redeliver", "d1"]) == 0
    out, err = capsys.readouterr()
    told = out.splitlines()
    assert err == ""
    assert told[0].startswith("dispatch d1-1 (sent) was sent: only with force")
    assert told[1].startswith("dispatch d1-2 (dead) is sent again now")
    assert told[2].startswith("1 to be sent")
    with Ledger.read_only(url) as ledger:
        assert [one.redeliveries for one in ledger.delivery("d1").dispatches] == [0, 1]


def test_redelivering_is_noticed(
    new_postgresql: Callable[[], str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On PostgreSQL a dispatcher at work is told, and sends at once."""
    url = new_postgresql()
    monkeypatch.setenv("HANDOFF_DATABASE_URL", url)
    with Ledger.open(url) as ledger:
        name = end(ledger, 1, Dead("github-404", "no such repository"), REFUSED)
    sink = FakeDestination()
    service = Service.start(Settings(database_url=url), sink)
    assert main(["redeliver", name]) == 0

    wait_until(lambda: len(sink.arrived) == 1)
    service.close()
    assert "notices at once" in capsys.readouterr().out


def test_redelivering_beside_a_receiver_on_sqlite(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file may be in use, with its lock held; the command writes shortly, and says what to wait for."""
    monkeypatch.setattr("receiver.dispatcher.LONGEST_WAIT", timedelta(milliseconds=200))
    monkeypatch.setenv("HANDOFF_DATABASE_URL", sqlite_url)
    with Ledger.open(sqlite_url) as ledger:
        name = end(ledger, 1, Dead("github-404", "no such repository"), REFUSED)
    sink = FakeDestination()
    service = Service.start(Settings(database_url=sqlite_url), sink)
    assert main(["redeliver", name]) == 0

    wait_until(lambda: len(sink.arrived) == 1)
    service.close()
    assert "notices within 10 seconds" in capsys.readouterr().out


def test_a_dry_run(url: str, dead: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It says the same, and changes nothing."""
    assert main(["redeliver", dead, "--dry-run"]) == 0

    assert capsys.readouterr().out == "dispatch d1-1 (dead) is sent again now, with the same key\n"
    assert state(url, 1) == (DispatchState.DEAD, 0)


def test_one_name_that_will_not_do(url: str, dead: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where one of several cannot be redelivered, each is told, and nothing is changed."""
    with Ledger.open(url) as ledger:
        end(ledger, 2, Sent(), SENT)

    assert main(["redeliver", dead, "d2", "nope\x1b"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "handoff: not-redelivered: dispatch d2-1 was sent: only with force" in told.err
    assert "handoff: no-such-delivery: " in told.err
    assert "\x1b" not in told.err
    assert state(url, 1) == (DispatchState.DEAD, 0)


class Terminal(io.StringIO):
    """A person, who answers."""

    def isatty(self) -> bool:
        """There is one."""
        return True


@pytest.fixture
def sent(url: str) -> str:
    """The id of a delivery whose dispatch was sent."""
    with Ledger.open(url) as ledger:
        return end(ledger, 1, Sent(), SENT)


@pytest.mark.parametrize(("answer", "ended"), [("y\n", 0), ("YES\n", 0), ("\n", 1), ("", 1), ("no\n", 1)])
def test_force_asks(  # noqa: PLR0917 - a test asks for the fixtures it needs
    url: str,
    sent: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    ended: int,
) -> None:
    """What may build again is done only when a person says yes to it."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))

    assert main(["redeliver", sent, "--force"]) == ended
    told = capsys.readouterr()
    assert "dispatch d1-1 (sent) is sent again now and starts another build" in told.out
    assert "This may build again.  Go on? [y/N]" in told.err
    assert (state(url, 1)[0] is DispatchState.PENDING) == (ended == 0)


def test_force_without_a_terminal(
    url: str, sent: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody can be asked, --yes has to be said."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))

    assert main(["redeliver", sent, "--force"]) == 2
    assert "want --yes as well" in capsys.readouterr().err
    assert state(url, 1) == (DispatchState.SENT, 0)
    assert main(["redeliver", sent, "--force", "--yes"]) == 0
    assert state(url, 1) == (DispatchState.PENDING, 1)


def test_what_changes_between_the_words_and_the_deed(
    url: str, dead: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was said and then cannot be done is told, and the others are done."""
    with Ledger.open(url) as ledger:
        end(ledger, 2, Dead("github-404", "no such repository"), REFUSED)
    redeliver = Ledger.redeliver

    def lost(
        self: Ledger, name: str, *, now: datetime, force: bool = False, only_tell: bool = False
    ) -> object:
        if name == "d1-1" and not only_tell:
            raise LedgerError("the ledger cannot be written now")
        return redeliver(self, name, now=now, force=force, only_tell=only_tell)

    monkeypatch.setattr(Ledger, "redeliver", lost)
    assert main(["redeliver", dead, "d2"]) == 1
    told = capsys.readouterr()
    assert "1 to be sent" in told.out
    assert "ledger-unavailable: the ledger cannot be written now" in told.err
    assert (state(url, 1), state(url, 2)) == ((DispatchState.DEAD, 0), (DispatchState.PENDING, 1))


def test_redelivering_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A ledger that is not there is not made."""
    monkeypatch.setenv("HANDOFF_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")

    assert main(["redeliver", "d1"]) == 1
    assert "there is no ledger" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_is_dismissed_raises_no_alarm(dead: str, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The monitor is quiet again, and the list still tells what happened."""
    assert main(["dismiss", dead, "--dry-run"]) == 0
    assert main(["deliveries", "--dead"]) == 3
    capsys.readouterr()

    assert main(["dismiss", dead]) == 0

    assert capsys.readouterr().out == (
        "dispatch d1-1 (dead) is dismissed: it stays unsent, and counts as dead no more\n"
        "1 dismissed; what can be sent, `handoff redeliver` still sends.\n"
    )
    assert main(["deliveries", "--dead"]) == 0
    assert state(url, 1) == (DispatchState.DISMISSED, 0)
    assert main(["deliveries"]) == 0
    assert "dismissed (1 attempt, github-404)" in capsys.readouterr().out


def test_what_cannot_be_dismissed_is_said(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing changes, where a name is wrong or there is nothing to see to."""
    with Ledger.open(url) as ledger:
        end(ledger, 1, Sent(), SENT)

    assert main(["dismiss", "d1", "d9"]) == 1
    told = capsys.readouterr().err
    assert "handoff: not-dismissed: dispatch d1-1 is sent: there is nothing to dismiss" in told
    assert "begins with 'd9'" in told
