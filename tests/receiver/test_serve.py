"""`handoff serve`, as it runs on a server: gunicorn, the ledger on disk, GitHub's stand-in behind it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NoReturn

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from receiver import Settings, close_app, create_app, serve
from receiver.config.from_settings import config_of
from receiver.delivery import Delivery
from receiver.dispatch import Dispatch, Outcome, OutcomeKind, RunSearch
from receiver.errors import ReceiverError, SettingsError
from receiver.event import RegistryEvent, read_event
from receiver.ledger import Ledger
from receiver.process_lock import ProcessLock
from receiver.secret import Secret
from receiver.settings import GitHubApp
from receiver.signature import sign
from tests.receiver.served import Served, clean_environ, serving
from tests.receiver.web_fakes import SECRET, TOKEN, body, flat, planned, rendered_template
from tests.receiver.world import GITHUB_TOKEN, REPOSITORY, SENDER, post, wait_until
from tests.stand_ins.github import GitHubStandIn, Workflow


@pytest.fixture(scope="module")
def github() -> Iterator[GitHubStandIn]:
    """A GitHub with one repository, and a token that may dispatch to it."""
    with GitHubStandIn() as stand_in:
        stand_in.add_repository(REPOSITORY, workflows=(Workflow("build.yml", types=("BUILD_AND_DEPLOY",)),))
        permissions = {"contents": "write", "metadata": "read"}
        stand_in.add_token(GITHUB_TOKEN, repositories=(REPOSITORY,), permissions=permissions)
        yield stand_in
        assert not stand_in.violations


@pytest.fixture(scope="module")
def environ(github: GitHubStandIn) -> dict[str, str]:
    """The variables of a working installation."""
    return {
        **SENDER,
        "GITHUB_TOKEN": GITHUB_TOKEN,
        "GITHUB_API_URL": github.url,
        "HANDOFF_REPOSITORY": REPOSITORY,
    }


@pytest.fixture(scope="module")
def served(environ: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One receiver for the tests that do it no harm."""
    with serving(environ, tmp_path_factory.mktemp("served")) as running:
        yield running


def test_from_webhook_to_dispatch(served: Served, github: GitHubStandIn) -> None:
    """A signed webhook is answered 202 and arrives at GitHub, as planned, under its key."""
    answer = post(served, body(rendered_template()))

    assert answer.status_code == 202
    delivery = answer.json()["delivery"]
    wait_until(lambda: any(sent(one, delivery) for one in github.dispatches))
    (dispatched,) = [one for one in github.dispatches if sent(one, delivery)]
    assert (dispatched.repository, dispatched.event_type) == (REPOSITORY, "BUILD_AND_DEPLOY")
    assert dispatched.client_payload["alias"] == "production"
    assert dispatched.client_payload["handoff"]["key"]


def sent(dispatched: object, delivery: str) -> bool:
    """Whether this dispatch at GitHub is the delivery's."""
    payload = getattr(dispatched, "client_payload", {})
    return bool(payload.get("handoff", {}).get("delivery") == delivery)


def test_a_long_body_over_the_wire(served: Served) -> None:
    """The server refuses a body over the limit, of a length told or not, and stay up. [B1, B2]"""
    assert post(served, b" " * 300_000).status_code == 413
    chunks = (b" " * 1000 for _ in range(300))
    assert requests.post(served.webhook_url, data=chunks, timeout=20).status_code == 413
    assert requests.get(f"{served.url}/healthz", timeout=20).json() == {"status": "alive"}


def test_odd_headers_over_the_wire(served: Served) -> None:
    """Whatever bytes the headers hold, the answer is a 4xx. [A4]"""
    for odd in (b"\xff\xfe", b"=" * 44, "ü".encode() * 32, b"a" * 7000):
        headers: dict[str, str | bytes] = {"X-Wandb-Signature": odd, "Authorization": b"Bearer \xff"}
        answer = requests.post(served.webhook_url, data=b"{}", headers=headers, timeout=20)
        assert answer.status_code in {400, 401}


IMPATIENT = "import sys; from receiver import cli, front; front.PATIENCE = 1; sys.exit(cli.main())"


def test_silent_clients_hold_nobody_up(environ: dict[str, str], tmp_path: Path) -> None:
    """Clients that stall in their headers or body keep no thread, and leave a line, not a traceback. [B3]"""
    headers = b"POST /webhooks/wandb HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
    with contextlib.ExitStack() as open_ones:
        served = open_ones.enter_context(
            serving(environ, tmp_path, "--threads", "2", program=("-c", IMPATIENT))
        )
        address = ("127.0.0.1", int(served.url.rpartition(":")[2]))
        for start in (headers, headers + b"\r\n{"):
            open_ones.enter_context(socket.create_connection(address)).sendall(start)

        assert requests.get(f"{served.url}/healthz", timeout=8).status_code == 200
        served.wait_for_log("too slow")
    assert "Traceback" not in "".join(served.log)


def test_the_log_keeps_secrets(served: Served) -> None:
    """The log tells of each request, without secrets, queries or bodies."""
    author = "an-author-in-a-body"
    post(served, body(flat(event_author=author)))
    requests.get(f"{served.url}/healthz?token={TOKEN}", timeout=20)
    wait_until(lambda: any("GET /healthz 200" in line for line in served.log))

    log = "".join(served.log)
    assert "POST /webhooks/wandb 202" in log
    assert not [one for one in (SECRET, TOKEN, GITHUB_TOKEN, author) if one in log]


def run(environ: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`handoff serve` that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "receiver", "serve", "--bind", "127.0.0.1:0", *arguments],
        env={**clean_environ(), **environ},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_bad_settings_stop_it_before_it_listens(tmp_path: Path) -> None:
    """Every problem is told on its own line, without a traceback, and nothing is made."""
    ended = run({"HANDOFF_REPOSITORY": "nope", "HANDOFF_MAX_BODY": "x"}, tmp_path)

    assert ended.returncode == 2
    assert "Listening" not in ended.stderr
    named = {line.split(": ")[1].split(",")[0] for line in ended.stderr.splitlines()}
    assert named == {"HANDOFF_REPOSITORY", "HANDOFF_MAX_BODY", "GITHUB_TOKEN", "WANDB_WEBHOOK_SECRET"}
    assert not list(tmp_path.iterdir())


def test_sqlite_has_one_worker(environ: dict[str, str], tmp_path: Path) -> None:
    """More workers on SQLite are refused, with the way out."""
    ended = run(environ, tmp_path, "--workers", "2")

    assert ended.returncode == 2
    assert "--workers: got 2" in ended.stderr
    assert "postgresql://" in ended.stderr


def test_a_ledger_that_cannot_be_opened(environ: dict[str, str], tmp_path: Path) -> None:
    """A ledger in a folder that is not there stops it before it listens, in a line."""
    ended = run({**environ, "HANDOFF_DATABASE_URL": "sqlite:///nowhere/handoff.db"}, tmp_path)

    assert ended.returncode == 1
    assert "Listening" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_sigterm_ends_it_and_a_restart_goes_on(
    environ: dict[str, str], github: GitHubStandIn, tmp_path: Path
) -> None:
    """What was accepted while GitHub was away is sent after a hangup and a restart, exactly once. [E1]"""
    away = {**environ, "GITHUB_API_URL": "http://127.0.0.1:9"}
    with serving(away, tmp_path) as served:
        delivery = post(served, body(flat())).json()["delivery"]
        os.kill(served.process.pid, signal.SIGHUP)
        served.wait_for_log("there is no file to read anew")
        served.wait_until_ready()
        assert served.stop() == 0

    with Ledger.read_only(f"sqlite:///{tmp_path}/handoff.db") as ledger:
        assert ledger.delivery(delivery).dispatches[0].state.value == "pending"
    with serving(environ, tmp_path) as served:
        wait_until(lambda: any(sent(one, delivery) for one in github.dispatches))
    assert len([one for one in github.dispatches if sent(one, delivery)]) == 1


def test_the_lock_is_held_once(tmp_path: Path) -> None:
    """A second process is refused with the way to PostgreSQL, until the first lets go."""
    path = tmp_path / "handoff.db.lock"
    first = ProcessLock.hold(path)

    with pytest.raises(SettingsError, match=r"another process holds.*want postgresql://"):
        ProcessLock.hold(path, patience=0.0)
    first.release()
    first.release()
    ProcessLock.hold(path, patience=0.0).release()


class OnRecord(logging.Handler):
    """Does something as soon as something is logged."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act

    def emit(self, _record: logging.LogRecord) -> None:
        """Do it."""
        self._act()


def test_the_lock_is_waited_for(tmp_path: Path) -> None:
    """Where gunicorn reloads, the new worker waits, and says so, until the old one lets go."""
    path = tmp_path / "handoff.db.lock"
    first = ProcessLock.hold(path)
    release = OnRecord(first.release)
    logging.getLogger("receiver.process_lock").addHandler(release)

    ProcessLock.hold(path, patience=20.0).release()

    logging.getLogger("receiver.process_lock").removeHandler(release)


def test_a_lock_that_cannot_be_made(tmp_path: Path) -> None:
    """A folder that is not there is a problem with a name."""
    with pytest.raises(SettingsError, match=r"cannot lock .*No such file"):
        ProcessLock.hold(tmp_path / "nowhere" / "x.lock")


class Sink:
    """A destination that takes everything."""

    def __init__(self) -> None:
        self.sent: list[Dispatch] = []

    def send(self, dispatch: Dispatch) -> Outcome:
        """Take it."""
        self.sent.append(dispatch)
        return Outcome(OutcomeKind.SENT, "sent", "taken", 204)

    def find_run(self, _dispatch: Dispatch, _since: datetime) -> RunSearch:
        """There is none."""
        return RunSearch()


def settings_for(folder: Path) -> Settings:
    """Settings with a ledger in this folder."""
    return Settings(
        repository=REPOSITORY,
        secrets=(Secret(SECRET),),
        tokens=(),
        github=Secret(GITHUB_TOKEN),
        database_url=f"sqlite:///{folder}/handoff.db",
    )


def test_create_app_under_any_server(tmp_path: Path) -> None:
    """The application takes, sends and ends by itself, without gunicorn; it lets go of the lock."""
    sink = Sink()
    app = create_app(settings_for(tmp_path), destination=sink)
    raw = body(flat())
    answer = app.test_client().post(
        "/webhooks/wandb", data=raw, headers={"X-Wandb-Signature": sign(raw, SECRET.encode())}
    )

    assert answer.status_code == 202
    wait_until(lambda: len(sink.sent) == 1)
    assert app.test_client().get("/readyz").status_code == 200
    close_app(app)
    close_app(app)
    assert "the dispatcher has stopped" in app.test_client().get("/readyz").text
    ProcessLock.hold(tmp_path / "handoff.db.lock", patience=0.0).release()


def test_what_a_dead_process_held_goes_on_at_once(tmp_path: Path) -> None:
    """With the lock on SQLite ours, a lease that is left is nobody's: it is not waited for."""
    settings = settings_for(tmp_path)
    raw = body(flat())
    with Ledger.open(settings.database_url) as ledger:
        event = read_event(raw)
        assert isinstance(event, RegistryEvent)
        now = datetime.now(timezone.utc)
        delivery = Delivery("1", "wandb", now, None, "hex", "00", event, "slot", "fingerprint")
        ledger.accept(delivery, planned(event, "1", now, repository=REPOSITORY))
        assert ledger.claim(now, timedelta(hours=1))
    sink = Sink()
    app = create_app(settings, destination=sink)

    wait_until(lambda: len(sink.sent) == 1)
    close_app(app)


def test_create_app_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without settings, the environment's are read, and what is wrong is told."""
    for name in list(os.environ):
        if name.startswith(("HANDOFF_", "WANDB_WEBHOOK_", "GITHUB_")):
            monkeypatch.delenv(name)

    with pytest.raises(SettingsError, match="HANDOFF_REPOSITORY: is not set"):
        create_app()


def test_a_file_that_is_no_ledger(tmp_path: Path) -> None:
    """Where the ledger cannot be opened, the lock is let go."""
    (tmp_path / "handoff.db").write_text("a shopping list, long enough to be no database at all\n" * 100)

    with pytest.raises(ReceiverError):
        create_app(settings_for(tmp_path), destination=Sink())
    ProcessLock.hold(tmp_path / "handoff.db.lock", patience=0.0).release()


@pytest.mark.parametrize("kind", ["token", "app"])
def test_create_app_signs_in_at_github(tmp_path: Path, kind: str) -> None:
    """With a token or with an App's key, the application comes up ready."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    github = GitHubApp("Iv23", Secret(key.decode())) if kind == "app" else Secret(GITHUB_TOKEN)
    app = create_app(replace(settings_for(tmp_path), github=github))

    assert app.test_client().get("/readyz").status_code == 200
    close_app(app)


def test_a_worker_that_cannot_start_ends_the_master(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason is logged in a line, and gunicorn is told not to try for ever."""

    def refuse(_settings: Settings, **_options: object) -> NoReturn:
        raise SettingsError(["HANDOFF_DATABASE_URL: another process holds it"])

    monkeypatch.setattr(serve, "create_app", refuse)
    with pytest.raises(SystemExit) as caught:
        serve._Gunicorn(config_of(settings_for(tmp_path)), {"workers": 1}).load()
    assert caught.value.code == 3
    assert "another process holds it" in caplog.text
    assert "Traceback" not in caplog.text


def test_a_fork_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process forked after create_app nothing would ever be written or sent: it says 503 at once."""
    app = create_app(settings_for(tmp_path), destination=Sink())
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)

    assert app.test_client().post("/webhooks/wandb", data=b"{}").status_code == 503

    monkeypatch.undo()
    close_app(app)
