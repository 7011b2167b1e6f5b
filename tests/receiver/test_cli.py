"""The `handoff` command: what it posts, what it prints, how it ends."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from receiver import bearer, listing, signature
from receiver.cli import main
from receiver.delivery import AttemptRecord, DeliveryRecord, DispatchRecord, DispatchState, Rejection
from receiver.dispatch import Pause
from receiver.intake import Accepted, Intake, Webhook, new_id
from receiver.ledger import Ledger
from receiver.plan import Rules
from receiver.secret import Secret
from receiver.settings import NAMES
from receiver.signature import Encoding, sign
from tests.receiver.served import clean_environ
from tests.receiver.web_fakes import NOON, SECRET, TOKEN, FakeClock, body, flat, rendered_template


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with a secret and a token and nothing else of ours."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("WANDB_WEBHOOK_TOKEN", TOKEN)
    return monkeypatch


class Endpoint:
    """An HTTP server that keeps what is posted and answers as it is told."""

    def __init__(self) -> None:
        self.status = 202
        self.answer = b'{"status": "accepted"}\n'
        self.posted: list[tuple[Message, bytes]] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.posted.append((self.headers, b""))
                self.send_error(404)

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                endpoint.posted.append((self.headers, raw))
                self.send_response(endpoint.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()
                self.wfile.write(endpoint.answer)

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/wandb"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """One that listens."""
    one = Endpoint()
    thread = threading.Thread(target=one.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield one
    one.server.shutdown()
    thread.join()
    one.server.server_close()


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    """A payload in a file, with a line end that must be signed too."""
    path = tmp_path / "payload.json"
    path.write_bytes(body(rendered_template()) + b"\r\n")
    return path


@pytest.mark.parametrize("encoding", [encoding.value for encoding in Encoding])
def test_send_posts_as_wandb_does(
    endpoint: Endpoint, payload: Path, capsys: pytest.CaptureFixture[str], encoding: str
) -> None:
    """The bytes of the file, signed in the encoding asked for, with the token; the answer is printed."""
    assert main(["send", "--url", endpoint.url, "--encoding", encoding, str(payload)]) == 0

    headers, raw = endpoint.posted[0]
    assert raw == payload.read_bytes()
    assert headers["Content-Type"] == "application/json"
    assert signature.check(raw, headers[signature.HEADER], [SECRET.encode()]).value == encoding
    bearer.check(headers["Authorization"], [TOKEN.encode()])
    assert capsys.readouterr().out == '202 Accepted\n{"status": "accepted"}\n'


def test_send_reads_standard_input(endpoint: Endpoint, environ: pytest.MonkeyPatch) -> None:
    """A dash is the standard input, HANDOFF_URL the address, hex the encoding; no token, no header."""
    environ.setenv("HANDOFF_URL", endpoint.url)
    environ.delenv("WANDB_WEBHOOK_TOKEN")
    environ.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n")))

    assert main(["send", "-"]) == 0
    headers, raw = endpoint.posted[0]
    assert raw == b"\xff\n"
    assert headers[signature.HEADER] == sign(raw, SECRET.encode())
    assert headers["Authorization"] is None


def test_send_uses_no_netrc(
    endpoint: Endpoint, payload: Path, environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the machine knows about hosts and proxies does not change what is sent."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    environ.setenv("NETRC", str(tmp_path / "netrc"))
    environ.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert main(["send", "--url", endpoint.url, str(payload)]) == 0
    assert endpoint.posted[0][0]["Authorization"] == f"Bearer {TOKEN}"


def test_send_uses_no_netrc_elsewhere_either(
    endpoint: Endpoint, payload: Path, environ: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where proxies may be needed, a host's entry in netrc still does not take the token's place."""
    (tmp_path / "netrc").write_text("machine 127.1 login a password b\n")
    environ.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        environ.delenv(name, raising=False)

    assert main(["send", "--url", endpoint.url.replace("127.0.0.1", "127.1"), str(payload)]) == 0
    assert endpoint.posted[0][0]["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("status", [302, 401, 422, 503])
def test_send_fails_when_it_is_not_taken(
    endpoint: Endpoint, payload: Path, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    """Anything but a 2xx is a failure, is followed nowhere, and cannot steer the terminal."""
    endpoint.status, endpoint.answer = status, b"\x1b[2Jno\n"

    assert main(["send", "--url", endpoint.url, str(payload)]) == 1
    assert len(endpoint.posted) == 1
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/webhooks/wandb", "nonsense", "http://[x"])
def test_send_to_nobody(payload: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    """Where nobody answers, a line says so."""
    assert main(["send", "--url", url, str(payload)]) == 1
    assert "is the receiver up there?" in capsys.readouterr().err


def test_send_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    """A payload that is not there is told in a line."""
    assert main(["send", "nowhere.json"]) == 2
    assert "nowhere.json: cannot be read" in capsys.readouterr().err


@pytest.fixture
def delivery(environ: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A ledger with a delivery and a rejection, and the id of the former."""
    url = f"sqlite:///{tmp_path}/handoff.db"
    environ.setenv("HANDOFF_DATABASE_URL", url)
    with Ledger.open(url) as ledger:
        intake = Intake(
            source="wandb",
            secrets=(Secret(SECRET),),
            tokens=(),
            hidden=(),
            rules=Rules.of_one_repository("acme/serving", forward=()),
            store=ledger,
            now=FakeClock(),
            new_id=new_id,
        )
        raw = body(flat())
        accepted = intake.receive(Webhook(raw, sign(raw, SECRET.encode()), None, "203.0.113.9"))
        intake.note("198.51.100.7", "bad-signature", 401)
        ledger.check_writable()
    assert isinstance(accepted, Accepted)
    return accepted.delivery.id


def test_deliveries(delivery: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What came, where it goes, and what was not taken: "did it arrive at all?" has an answer."""
    version = "acme/wandb-registry-model/Churn Model:v3"
    assert main(["deliveries"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        f"{delivery}  2026-11-20 12:00:00Z  ADD_ARTIFACT_ALIAS  {version} (production)",
        "  → acme/serving ADD_ARTIFACT_ALIAS: pending (0 attempts, next at 2026-11-20 12:00:00Z)",
        "",
        "Not taken:",
        "  2026-11-20 12:00:00Z  198.51.100.7  401 bad-signature",
    ]


def test_deliveries_as_json(delivery: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The same for a program."""
    assert main(["deliveries", "--json", "--limit", "5"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["deliveries"][0]["id"] == delivery
    assert told["deliveries"][0]["dispatches"][0]["state"] == "pending"
    assert told["rejections"][0]["at"] == "2026-11-20T12:00:00.000Z"


def test_show(delivery: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All about one, found by the beginning of its id; in JSON wherever --json stands."""
    assert main(["deliveries", "show", delivery[:8]]) == 0
    assert "  artifact_collection_name: Churn Model" in capsys.readouterr().out

    for arguments in (["show", delivery, "--json"], ["--json", "show", delivery]):
        assert main(["deliveries", *arguments]) == 0
        assert json.loads(capsys.readouterr().out)["encoding"] == "hex"

    assert main(["deliveries", "show", "nope"]) == 1
    assert "no-such-delivery" in capsys.readouterr().err


def test_no_ledger(environ: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A ledger that is not there is told in a line, and not made."""
    environ.setenv("HANDOFF_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")

    assert main(["deliveries"]) == 1
    assert "there is no ledger" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_migrate_database(
    delivery: str, environ: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of a ledger is in another database, and how to go on is told; the source is as it was."""
    source, target = f"sqlite:///{tmp_path}/handoff.db", f"sqlite:///{tmp_path}/new.db"
    before = (tmp_path / "handoff.db").read_bytes()
    assert main(["migrate-database", source, target]) == 0

    told = capsys.readouterr()
    assert "Moved and compared: 1 deliveries, 1 dispatches (1 of them open), digest " in told.out
    assert "HANDOFF_DATABASE_URL" in told.out
    assert "deliveries: 1 rows copied, read back and compared" in told.err
    assert (tmp_path / "handoff.db").read_bytes() == before
    environ.setenv("HANDOFF_DATABASE_URL", target)
    assert main(["deliveries", "show", delivery]) == 0


@pytest.mark.parametrize(
    ("urls", "ended", "said"),
    [
        (["x.db", "mysql://u:hunter22@h/d"], 2, "handoff: TARGET: got 'mysql'"),
        (["sqlite:///{}/none.db", "sqlite:///{}/new.db"], 1, "handoff: not-moved: "),
        (["sqlite:///{}/handoff.db", "sqlite:///{}/handoff.db"], 1, "is the source and the target"),
    ],
    ids=["addresses", "no-source", "the-same"],
)
@pytest.mark.usefixtures("delivery")
def test_what_cannot_be_migrated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], urls: list[str], ended: int, said: str
) -> None:
    """What stands in the way is told in a line, without a password."""
    assert main(["migrate-database", *(url.format(tmp_path) for url in urls)]) == ended

    told = capsys.readouterr().err
    assert said in told
    assert "hunter22" not in told


HOSTILE = "a\x1b[2J\r\nb\u202e\x9b"


def hostile_record() -> DeliveryRecord:
    """A delivery in which all that comes from outside means ill."""
    attempt = AttemptRecord(1, NOON, NOON + timedelta(seconds=1), "refused", "github-404", HOSTILE, 404)
    dispatch = DispatchRecord(
        id="1-1",
        repository="acme/serving",
        event_type=HOSTILE,
        key="k",
        client_payload={"x": HOSTILE},
        state=DispatchState.DEAD,
        next_attempt_at=None,
        attempts_used=1,
        possibly_duplicated=True,
        reason="github-404",
        detail=HOSTILE,
        run_url=HOSTILE,
        attempts=[attempt, AttemptRecord(2, NOON, None, None, None, None, None)],
    )
    fields = {"alias": HOSTILE, "artifact_version": HOSTILE}
    return DeliveryRecord("1", "wandb", NOON, HOSTILE, None, "00", HOSTILE, fields, [dispatch])


def test_untrusted_text_cannot_steer_a_terminal() -> None:
    """Nothing from outside can move a cursor, turn text around or forge a line. [B8]"""
    trace = Rejection(NOON, "wandb", HOSTILE, HOSTILE, 401)

    pause = Pause(HOSTILE, NOON, 5, HOSTILE)

    for text in (listing.overview([hostile_record()], [trace], [pause]), listing.whole(hostile_record())):
        assert all(line.isprintable() for line in text.splitlines())
        assert "\\x1b[2J\\r\\nb\\u202e\\x9b" in text
    assert listing.overview_json([hostile_record()], [trace], [pause]).isascii()
    assert json.loads(listing.whole_json(hostile_record()))["event"] == HOSTILE


def test_show_tells_every_attempt() -> None:
    """State, reason, attempts, the run, and that it may have arrived twice."""
    text = listing.whole(hostile_record())

    assert "dead (2 attempts, github-404, possibly duplicated)" in text
    assert "attempt 1  2026-11-20 12:00:00Z  refused 404  github-404" in text
    assert "attempt 2  2026-11-20 12:00:00Z  under way" in text


def test_what_came_of_it_is_told() -> None:
    """A repeat, a redelivery, and what a later promotion overtook stand where they are looked for."""
    (dispatch,) = hostile_record().dispatches
    overtaken = replace(
        dispatch,
        state=DispatchState.SUPERSEDED,
        reason="superseded",
        detail="delivery 2 came",
        redeliveries=1,
    )
    record = replace(
        hostile_record(), dispatches=[overtaken], repeats=2, last_repeat_at=NOON + timedelta(minutes=1)
    )

    told = "superseded (2 attempts, redelivered once, possibly duplicated)"
    assert told in listing.overview([record], [])
    assert listing.overview([record], []).splitlines()[0].endswith(", repeated 2 times")
    assert told in listing.whole(record)
    assert "delivery 2 came" in listing.whole(record)
    assert "repeated    2 times, the last at 2026-11-20 12:01:00Z" in listing.whole(record)
    assert json.loads(listing.whole_json(record))["repeats"] == 2


def test_pauses_are_told() -> None:
    """What gets nothing for now, since when it fails, and that everything waits, is told with the reason."""
    pauses = [Pause("*", NOON, 1, "rate-limited"), Pause("acme/serving", NOON, 6, "github-502")]
    text = listing.overview([], [], pauses)

    assert text.splitlines()[2:] == [
        "Paused:",
        "  GitHub  until 2026-11-20 12:00:00Z  rate-limited: GitHub asked us to wait",
        "  acme/serving  until 2026-11-20 12:00:00Z  github-502: failed 6 times in a row, then one is tried",
    ]
    assert json.loads(listing.overview_json([], [], pauses))["pauses"][1]["failures"] == 6


def test_an_empty_ledger_says_so() -> None:
    """Nothing is an answer too."""
    assert listing.overview([], []) == "Nothing was delivered yet.\n"


@pytest.mark.parametrize(
    "arguments", [["serve", "--workers", "0"], ["deliveries", "--limit", "x"], [], ["x"]]
)
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What was asked wrongly ends with 2 and the usage."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: handoff" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "dispatch"])
def test_windows_is_told_of(
    environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Where gunicorn and signals do not work, a line says what to take instead."""
    environ.setattr(sys, "platform", "win32")

    assert main([command]) == 2
    assert f"handoff {command}: does not run on Windows; want Linux" in capsys.readouterr().err


def test_ctrl_c_is_quiet(environ: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends it without a traceback."""

    def interrupted(_environ: object) -> None:
        raise KeyboardInterrupt

    environ.setattr("receiver.ledger_cli.read_database_url", interrupted)
    assert main(["deliveries"]) == 130
    assert capsys.readouterr().err == ""


def python(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A Python of its own."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=clean_environ(),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


WITHOUT_EXTRA = """
import sys
for name in ("cryptography", "flask", "gunicorn", "jwt", "sqlalchemy", "werkzeug"):
    sys.modules[name] = None
import receiver
from receiver.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "command",
    [
        ["serve"],
        ["dispatch"],
        ["deliveries"],
        ["deliveries", "show", "1"],
        ["migrate-database", "sqlite:///a.db", "sqlite:///b.db"],
    ],
    ids=" ".join,
)
def test_without_the_receivers_extra(tmp_path: Path, command: list[str]) -> None:
    """What needs the extra says how to install it; the rest works without."""
    ended = python("-c", WITHOUT_EXTRA, *command, folder=tmp_path)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == 'handoff: this command needs more: pip install "wandb-handoff[receiver]"\n'


def test_the_client_needs_no_extra(tmp_path: Path) -> None:
    """`handoff --version` and `handoff send` work with the client alone, `python -m receiver` as well."""
    version = python("-c", WITHOUT_EXTRA, "--version", folder=tmp_path)
    send = python("-c", WITHOUT_EXTRA, "send", "nowhere.json", folder=tmp_path)

    assert version.stdout.startswith("handoff 0.")
    assert "cannot be read" in send.stderr
    assert python("-m", "receiver", "--version", folder=tmp_path).stdout == version.stdout


def test_a_closed_pipe_is_no_failure(delivery: str, tmp_path: Path) -> None:
    """`handoff deliveries | head -0` ends quietly."""
    assert delivery
    ended = subprocess.run(
        ["bash", "-c", '"$0" -m receiver deliveries | true; echo "${PIPESTATUS[0]}"', sys.executable],
        env=clean_environ() | {"HANDOFF_DATABASE_URL": f"sqlite:///{tmp_path}/handoff.db"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert (ended.stdout, ended.stderr) == ("0\n", "")
