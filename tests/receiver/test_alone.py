"""`handoff dispatch` beside `handoff serve --no-dispatcher`, and how both end: real processes, one ledger."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from receiver import alone
from receiver.cli import main
from receiver.delivery import DeliveryRecord
from receiver.ledger import Ledger
from receiver.service import Service
from tests.receiver.served import Served, clean_environ, dispatching, serving, started
from tests.receiver.web_fakes import body, flat
from tests.receiver.world import GITHUB_TOKEN, REPOSITORY, SENDER, artifact, keys, post, wait_until
from tests.stand_ins.github import GitHubStandIn, Workflow

DISPATCHES = f"POST /repos/{REPOSITORY}/dispatches"


@pytest.fixture
def github() -> Iterator[GitHubStandIn]:
    """A GitHub with one repository, and a token that may dispatch to it."""
    with GitHubStandIn() as stand_in:
        stand_in.add_repository(REPOSITORY, workflows=(Workflow("build.yml", types=("BUILD_AND_DEPLOY",)),))
        permissions = {"contents": "write", "metadata": "read"}
        stand_in.add_token(GITHUB_TOKEN, repositories=(REPOSITORY,), permissions=permissions)
        yield stand_in
        assert not stand_in.violations


def way_in(database_url: str) -> dict[str, str]:
    """The variables of the half that receives: nothing of GitHub's."""
    return {**SENDER, "HANDOFF_REPOSITORY": REPOSITORY, "HANDOFF_DATABASE_URL": database_url}


def way_out(database_url: str, github: GitHubStandIn) -> dict[str, str]:
    """The variables of the half that dispatches: nothing of W&B's."""
    return {
        "GITHUB_TOKEN": GITHUB_TOKEN,
        "GITHUB_API_URL": github.url,
        "HANDOFF_DATABASE_URL": database_url,
        "HANDOFF_GITHUB_BUDGET": "off",
    }


def promote(served: Served, version: int) -> str:
    """Have a version promoted, and return the delivery's id."""
    name = f"acme/wandb-registry-model/Churn Model:v{version}"
    answer = post(served, body(flat(artifact_version_string=name, artifact_version=artifact(version))))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["delivery"])


def look_up(database_url: str, delivery: str) -> DeliveryRecord:
    """What the ledger has of it."""
    with Ledger.read_only(database_url) as ledger:
        return ledger.delivery(delivery)


def arrived(github: GitHubStandIn) -> list[str]:
    """The deliveries whose dispatches arrived, in order."""
    return [one.client_payload["handoff"]["delivery"] for one in github.dispatches]


def test_the_halves_apart(new_postgresql: Callable[[], str], github: GitHubStandIn, tmp_path: Path) -> None:
    """Two that only receive and one that only dispatches share a PostgreSQL, without each other's secrets."""
    url = new_postgresql()
    with contextlib.ExitStack() as running:
        receivers = [
            running.enter_context(serving(way_in(url), tmp_path, "--no-dispatcher")) for _ in range(2)
        ]
        early = [promote(receivers[number % 2], number) for number in range(4)]
        assert not github.dispatches

        with dispatching(way_out(url, github), tmp_path) as sender:
            wait_until(lambda: len(github.dispatches) == 4)
            late = [promote(receivers[number % 2], number) for number in range(4, 8)]
            wait_until(lambda: len(github.dispatches) == 8)
            assert sender.stop() == 0
        assert "stopped" in sender.log[-1]

    assert arrived(github) == [*early, *late]


def test_more_workers_on_postgresql(
    new_postgresql: Callable[[], str], github: GitHubStandIn, tmp_path: Path
) -> None:
    """Each of the workers dispatches; what several of them accept arrives once, in order."""
    url = new_postgresql()
    with serving({**way_in(url), **way_out(url, github)}, tmp_path, "--workers", "3") as served:
        wait_until(lambda: len([line for line in served.log if "Booting worker" in line]) == 3)
        promoted = [promote(served, number) for number in range(12)]
        wait_until(lambda: len(github.dispatches) == 12)
        assert served.stop() == 0

    assert arrived(github) == promoted
    assert len(keys(github)) == 12


def test_dispatching_alone_on_sqlite(github: GitHubStandIn, tmp_path: Path) -> None:
    """What a receiver without a dispatcher left in SQLite, and warned of, is dispatched once it has ended."""
    url = f"sqlite:///{tmp_path}/handoff.db"
    with serving(way_in(url), tmp_path, "--no-dispatcher") as served:
        served.wait_for_log("--no-dispatcher: on SQLite one process works")
        delivery = promote(served, 1)
        refused = subprocess.run(
            [sys.executable, "-c", IMPATIENT, "dispatch"],
            env={**clean_environ(), **way_out(url, github)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert served.stop() == 0

    assert refused.returncode == 2
    assert "another process holds" in refused.stderr
    with dispatching(way_out(url, github), tmp_path):
        wait_until(lambda: arrived(github) == [delivery])


IMPATIENT = """
import sys
from receiver.cli import main
from receiver.process_lock import ProcessLock
ProcessLock.hold.__func__.__defaults__ = (0.2,)
sys.exit(main())
"""


class Late:
    """GitHub's answer, which comes when it is let."""

    def __init__(self, github: GitHubStandIn) -> None:
        self._let = threading.Event()
        self._github = github
        github.faults.add(DISPATCHES, accept_first=True, raw=self._answer())

    def _answer(self) -> Iterator[bytes]:
        assert self._let.wait(20)
        yield b"HTTP/1.1 204 No Content\r\n\r\n"

    def wait_until_asked(self) -> None:
        """Return once the dispatch is there, and waits for its answer."""
        wait_until(lambda: len(self._github.dispatches) == 1)

    def let(self) -> None:
        """Answer."""
        self._let.set()


@pytest.mark.parametrize("command", ["serve", "dispatch"])
def test_sigterm_waits_for_what_is_being_sent(
    new_postgresql: Callable[[], str], github: GitHubStandIn, tmp_path: Path, command: str
) -> None:
    """Told to stop, and again, while GitHub takes its time: the answer is waited for and recorded."""
    url = new_postgresql()
    answer = Late(github)
    with contextlib.ExitStack() as running:
        if command == "serve":
            served = running.enter_context(serving({**way_in(url), **way_out(url, github)}, tmp_path))
            sending = served
        else:
            served = running.enter_context(serving(way_in(url), tmp_path, "--no-dispatcher"))
            sending = running.enter_context(dispatching(way_out(url, github), tmp_path))
        delivery = promote(served, 1)
        answer.wait_until_asked()
        sending.process.terminate()
        sending.wait_for_log("stopping" if command == "dispatch" else "Handling signal: term")
        for _ in range(2):
            os.kill(sending.process.pid, signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                sending.process.wait(timeout=0.5)
        answer.let()
        assert sending.process.wait(timeout=20) == 0

    (dispatch,) = look_up(url, delivery).dispatches
    assert [attempt.outcome for attempt in dispatch.attempts] == ["sent"]
    assert arrived(github) == [delivery]


HURRIED = """
import sys
from receiver import cli, service
service.DRAIN = 0.5
sys.exit(cli.main())
"""


def test_sigterm_does_not_wait_for_ever(github: GitHubStandIn, tmp_path: Path) -> None:
    """Where GitHub never answers, it ends within its time, and the next start looks before it sends again."""
    url = f"sqlite:///{tmp_path}/handoff.db"
    github.faults.add(DISPATCHES, accept_first=True, hang=threading.Event())
    everything = {**way_in(url), **way_out(url, github)}
    with serving(everything, tmp_path, program=("-c", HURRIED)) as served:
        delivery = promote(served, 1)
        wait_until(lambda: len(github.dispatches) == 1)
        assert served.stop() == 0
        served.wait_for_log("a dispatch was still being sent; the next start goes on with it")

    (dispatch,) = look_up(url, delivery).dispatches
    assert dispatch.attempts[-1].ended_at is None


def test_a_dispatcher_that_died_is_no_dispatcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nothing is sent any more the command ends with 1, so that whoever runs it starts it anew."""
    for name, value in way_out(f"sqlite:///{tmp_path}/handoff.db", GitHubStandIn(port=9)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(alone, "LOOK_EVERY", 0.01)
    monkeypatch.setattr(Service, "dispatching", False)

    assert main(["dispatch"]) == 1
    assert "the dispatcher has stopped by itself" in caplog.text


def test_a_gunicorn_of_ones_own(
    new_postgresql: Callable[[], str], github: GitHubStandIn, tmp_path: Path
) -> None:
    """Under gunicorn's own command each worker dispatches, and SIGTERM waits for what is being sent."""
    url = new_postgresql()
    answer = Late(github)
    gunicorn = ("-m", "gunicorn", "--worker-class", "gthread", "--workers", "2", "--threads", "4")
    everything = {**way_in(url), **way_out(url, github)}
    with started(
        everything, tmp_path, "--bind", "127.0.0.1:0", "receiver:create_app()", program=gunicorn
    ) as served:
        served.wait_until_ready()
        delivery = promote(served, 1)
        answer.wait_until_asked()
        served.process.terminate()
        served.wait_for_log("Handling signal: term")
        answer.let()
        assert served.process.wait(timeout=20) == 0

    (dispatch,) = look_up(url, delivery).dispatches
    assert [attempt.outcome for attempt in dispatch.attempts] == ["sent"]
