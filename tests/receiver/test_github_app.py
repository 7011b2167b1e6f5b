"""A GitHub App's tokens: signed for, scoped down, kept while they are good, minted once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from receiver.dispatch import OutcomeKind
from receiver.exchange import Exchange
from receiver.github import TO_DISPATCH, TO_READ_RUNS, GitHub
from receiver.github_app import AppCredentials, CredentialsError, load_private_key
from tests.receiver.fakes import Clock
from tests.receiver.github_world import (
    CLIENT_ID,
    DISPATCHES,
    REPOSITORY,
    a_dispatch,
    github_at,
    private_key,
    private_pem,
    public_pem,
    seconds,
)
from tests.stand_ins.github import Asked, GitHubStandIn, Installation

MINT = "POST /app/installations/*/access_tokens"
FIND = f"GET /repos/{REPOSITORY}/installation"


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def github(clock: Clock) -> Iterator[GitHubStandIn]:
    """A GitHub with our repository."""
    with github_at(clock) as standing:
        yield standing


@pytest.fixture
def installation(github: GitHubStandIn) -> Installation:
    """Our App, installed for the repository and for another one."""
    github.add_repository("acme/other")
    app = github.add_app(
        client_id=CLIENT_ID,
        public_key_pem=public_pem(),
        permissions={"contents": "write", "actions": "read", "issues": "write"},
    )
    return github.install(app, account="acme", repositories=(REPOSITORY, "acme/other"))


@pytest.fixture
def credentials(github: GitHubStandIn, installation: Installation, clock: Clock) -> AppCredentials:  # noqa: ARG001 - it is to be there
    """What is under test."""
    return AppCredentials(CLIENT_ID, private_pem(), github.url, now=clock)


def minted(github: GitHubStandIn) -> list[Asked]:
    """The requests for a token."""
    return [asked for asked in github.requests if asked.path.endswith("/access_tokens")]


def refusal(credentials: AppCredentials) -> CredentialsError:
    """Why there is no token."""
    with pytest.raises(CredentialsError) as caught:
        credentials.token(REPOSITORY, TO_DISPATCH)
    assert caught.value.reason == caught.value.outcome.reason
    return caught.value


class TestToken:
    """A token, from the signature to its end."""

    def test_an_app_dispatches(
        self, github: GitHubStandIn, credentials: AppCredentials, clock: Clock
    ) -> None:
        """
        Signature, installation, token, dispatch, the run found: GitHub checks each of them.
        """
        client = GitHub(github.url, credentials, now=clock)

        assert client.send(a_dispatch()).kind is OutcomeKind.SENT
        assert client.find_run(a_dispatch(), clock()).url is not None
        assert github.dispatches[0].token_kind == "installation"

    def test_it_is_for_one_repository_and_one_permission(
        self, github: GitHubStandIn, credentials: AppCredentials
    ) -> None:
        """
        The App may do more at more places; its token may not.
        """
        credentials.token(REPOSITORY, TO_DISPATCH)

        assert minted(github)[0].json == {"repositories": ["serving"], "permissions": {"contents": "write"}}

    def test_it_is_signed_as_github_asks(
        self, github: GitHubStandIn, credentials: AppCredentials, clock: Clock
    ) -> None:
        """
        RS256 by our key, issued by the client id a minute ago, over in nine.
        """
        credentials.token(REPOSITORY, TO_DISPATCH)

        signed = github.requests[0].headers["authorization"].removeprefix("Bearer ")
        claims = jwt.decode(
            signed,
            private_key("app").public_key(),
            algorithms=["RS256"],
            options={"verify_exp": False, "verify_iat": False},
        )
        now = int(clock().timestamp())
        assert claims == {"iss": CLIENT_ID, "iat": now - 60, "exp": now + 540}

    def test_it_is_kept_until_shortly_before_its_end(
        self, github: GitHubStandIn, credentials: AppCredentials, clock: Clock
    ) -> None:
        """
        Good for an hour, used for 55 minutes; the installation is looked up once.
        """
        first = credentials.token(REPOSITORY, TO_DISPATCH)
        clock.move(minutes=54, seconds=59)
        assert credentials.token(REPOSITORY, TO_DISPATCH) == first
        clock.move(seconds=1)
        assert credentials.token(REPOSITORY, TO_DISPATCH) != first

        assert len(github.requests) == 3

    def test_each_purpose_has_its_own(self, github: GitHubStandIn, credentials: AppCredentials) -> None:
        """
        Another repository or permission is another token; another spelling of the name is not.
        """
        tokens = {
            credentials.token(REPOSITORY, TO_DISPATCH),
            credentials.token(REPOSITORY, TO_READ_RUNS),
            credentials.token("acme/other", TO_DISPATCH),
            credentials.token("Acme/Serving", TO_DISPATCH),
        }

        assert len(tokens) == len(minted(github)) == 3

    def test_many_who_want_it_wait_for_one(self, github: GitHubStandIn, credentials: AppCredentials) -> None:
        """
        Eight threads at once share one token that was minted once.
        """
        together = threading.Barrier(8)

        def want(_: int) -> str:
            together.wait()
            return credentials.token(REPOSITORY, TO_DISPATCH)

        with ThreadPoolExecutor(8) as threads:
            tokens = set(threads.map(want, range(8)))

        assert len(tokens) == len(minted(github)) == 1

    def test_one_that_waits_holds_up_no_other_purpose(
        self, github: GitHubStandIn, credentials: AppCredentials
    ) -> None:
        """
        While one token is being minted, another repository's can be had.
        """
        hang = threading.Event()
        github.faults.add(FIND, hang=hang)

        with ThreadPoolExecutor(1) as threads:
            slow = threads.submit(credentials.token, REPOSITORY, TO_DISPATCH)
            github.wait_for_requests(1, timeout=5)
            assert credentials.token("acme/other", TO_DISPATCH).startswith("ghs_")
            assert not slow.done()
            hang.set()
            assert slow.exception() is not None

    def test_a_forgotten_token_is_not_used_again(self, credentials: AppCredentials) -> None:
        """
        After GitHub refused it a new one is minted; forgetting what is no longer kept changes nothing.
        """
        first = credentials.token(REPOSITORY, TO_DISPATCH)
        credentials.forget(first)
        second = credentials.token(REPOSITORY, TO_DISPATCH)
        credentials.forget(first)

        assert second != first
        assert credentials.token(REPOSITORY, TO_DISPATCH) == second

    def test_a_revoked_token_is_replaced_within_one_send(
        self, github: GitHubStandIn, credentials: AppCredentials, clock: Clock
    ) -> None:
        """
        401 mints once more and sends once more; the dispatch arrives once.
        """
        client = GitHub(github.url, credentials, now=clock)
        client.send(a_dispatch())
        github.revoke_token(credentials.token(REPOSITORY, TO_DISPATCH))
        clock.move(seconds=5)

        assert client.send(a_dispatch()).kind is OutcomeKind.SENT
        assert len(github.dispatches) == 2
        assert len(minted(github)) == 2

    def test_a_token_too_new_to_be_known(
        self, github: GitHubStandIn, credentials: AppCredentials, clock: Clock
    ) -> None:
        """
        Refused within its first seconds, the same token is tried after one second, two and two more; only
        then another is minted, once.  Nothing sleeps here.
        """
        github.faults.add(DISPATCHES, times=4, status=401, body={"message": "Bad credentials"})
        client, waits = GitHub(github.url, credentials, now=clock), []

        while (outcome := client.send(a_dispatch())).kind is OutcomeKind.THROTTLED:
            assert outcome.reason == "fresh-token-refused"
            assert outcome.wait is not None
            waits.append(outcome.wait.total_seconds())
            clock.time += outcome.wait

        assert waits == [1, 2, 2]
        assert outcome.kind is OutcomeKind.SENT
        assert len(minted(github)) == 2

    def test_a_clock_that_was_put_back(self, credentials: AppCredentials, clock: Clock) -> None:
        """
        A token from the future is not new for ever: refused, it is replaced.
        """
        token = credentials.token(REPOSITORY, TO_DISPATCH)
        assert credentials.patience(token) == seconds(1)
        clock.move(hours=-1)

        assert credentials.patience(token) is None
        assert credentials.patience("of somebody else") is None

    def test_a_new_token_that_stays_refused(
        self, github: GitHubStandIn, credentials: AppCredentials, clock: Clock
    ) -> None:
        """
        When another one, minted in its place, is refused as well, the attempt is over.
        """
        credentials.token(REPOSITORY, TO_DISPATCH)
        clock.move(seconds=5)
        github.faults.add(DISPATCHES, times=2, status=401, body={"message": "Bad credentials"})

        outcome = GitHub(github.url, credentials, now=clock).send(a_dispatch())

        assert (outcome.kind, outcome.reason) == (OutcomeKind.RETRY, "fresh-token-refused")
        assert len(minted(github)) == 2

    @pytest.mark.parametrize("form", ["ghs_16C7e42F292c6912E7710c838347Ae178B4a", "v9." + "x.y-z_" * 300])
    def test_its_form_is_its_own_affair(
        self, github: GitHubStandIn, credentials: AppCredentials, form: str
    ) -> None:
        """
        Forty characters or two thousand: it is passed on as it is.
        """
        body = {"token": form, "expires_at": "2026-03-01T13:00:00Z"}
        github.faults.add(MINT, status=201, body=body)

        assert credentials.token(REPOSITORY, TO_DISPATCH) == form

    def test_a_moved_repository_is_named_by_its_id(
        self, github: GitHubStandIn, credentials: AppCredentials, clock: Clock
    ) -> None:
        """
        The old name says nothing to the installation; the id that GitHub redirected us to does.
        """
        github.move_repository(REPOSITORY, "acme/serving2")

        assert GitHub(github.url, credentials, now=clock).send(a_dispatch()).kind is OutcomeKind.SENT
        assert list(minted(github)[0].json) == ["repository_ids", "permissions"]

    def test_a_repository_that_moves_later(
        self, github: GitHubStandIn, credentials: AppCredentials, clock: Clock
    ) -> None:
        """
        When the known name is refused, the installation is looked up again.
        """
        credentials.token(REPOSITORY, TO_DISPATCH)
        github.move_repository(REPOSITORY, "acme/serving2")
        clock.move(hours=1)

        assert credentials.token(REPOSITORY, TO_DISPATCH).startswith("ghs_")

    def test_an_app_installed_anew(
        self, github: GitHubStandIn, installation: Installation, credentials: AppCredentials
    ) -> None:
        """
        When the known installation is gone, the new one is found.
        """
        credentials.forget(credentials.token(REPOSITORY, TO_DISPATCH))
        github.uninstall(installation)
        github.install(installation.app, account="acme", repositories=(REPOSITORY,))

        assert credentials.token(REPOSITORY, TO_DISPATCH).startswith("ghs_")


class TestClocks:
    """Ours and GitHub's."""

    @pytest.mark.parametrize("hours", [-3, -0.2, 0.2, 3], ids=lambda hours: f"{hours:+} h")
    def test_a_wrong_clock_is_put_right(
        self, github: GitHubStandIn, installation: Installation, clock: Clock, hours: float
    ) -> None:
        """
        When GitHub finds the times of our signature wrong, its own time is taken, once for good.
        """
        del installation
        ours = Clock(clock() + timedelta(hours=hours))
        credentials = AppCredentials(CLIENT_ID, private_pem(), github.url, now=ours)

        first = credentials.token(REPOSITORY, TO_DISPATCH)
        assert len(github.requests) == 3
        credentials.token("acme/other", TO_DISPATCH)
        assert len(github.requests) == 5

        ours.move(minutes=54)
        assert credentials.token(REPOSITORY, TO_DISPATCH) == first

    def test_a_clock_that_cannot_be_put_right(
        self, github: GitHubStandIn, credentials: AppCredentials
    ) -> None:
        """
        A second refusal is the end of it.
        """
        words = {"message": "'Expiration time' claim ('exp') is too far in the future"}
        github.faults.add(
            "*", times=None, status=401, body=words, headers={"Date": "Sun, 01 Mar 2026 12:00:00 GMT"}
        )

        assert refusal(credentials).reason == "app-credentials"
        assert len(github.requests) == 2


class TestNoToken:
    """Each way not to get one."""

    def test_not_installed(
        self, github: GitHubStandIn, installation: Installation, credentials: AppCredentials
    ) -> None:
        """
        The refusal says where to install it, and that the repository may not be there.
        """
        github.uninstall(installation)

        error = refusal(credentials)

        assert (error.outcome.kind, error.reason) == (OutcomeKind.REFUSED, "app-not-installed")
        assert CLIENT_ID in str(error)
        assert REPOSITORY in str(error)

    def test_suspended(
        self, github: GitHubStandIn, installation: Installation, credentials: AppCredentials
    ) -> None:
        """
        A suspended installation is named as such, whether we knew it before or not.
        """
        credentials.token("acme/other", TO_DISPATCH)
        github.suspend(installation)

        assert refusal(credentials).reason == "app-suspended"
        with pytest.raises(CredentialsError, match="suspended"):
            credentials.token("acme/other", TO_READ_RUNS)
        github.unsuspend(installation)
        assert credentials.token(REPOSITORY, TO_DISPATCH)

    def test_a_permission_that_the_app_lacks(
        self, github: GitHubStandIn, installation: Installation, credentials: AppCredentials
    ) -> None:
        """
        The refusal holds GitHub's words and says what to grant.
        """
        installation.permissions["contents"] = "read"

        error = refusal(credentials)

        assert (error.outcome.kind, error.reason) == (OutcomeKind.REFUSED, "app-permission")
        assert "permissions requested are not granted" in str(error)
        assert github.violations == []

    def test_a_look_for_runs_that_the_app_may_not_take(
        self, github: GitHubStandIn, installation: Installation, credentials: AppCredentials, clock: Clock
    ) -> None:
        """
        Without actions: read the App still dispatches; only the look cannot be taken.
        """
        del installation.permissions["actions"]
        client = GitHub(github.url, credentials, now=clock)

        assert client.send(a_dispatch()).kind is OutcomeKind.SENT
        assert "not granted" in str(client.find_run(a_dispatch(), clock()).why_not)

    def test_a_key_of_another_app(
        self, github: GitHubStandIn, installation: Installation, clock: Clock
    ) -> None:
        """
        A signature that does not hold names the two settings that must belong together.
        """
        del installation
        credentials = AppCredentials(CLIENT_ID, private_pem(name="another"), github.url, now=clock)

        error = refusal(credentials)

        assert (error.outcome.kind, error.reason) == (OutcomeKind.REFUSED, "app-credentials")
        assert "GITHUB_APP_PRIVATE_KEY" in str(error)

    def test_an_app_that_nobody_knows(
        self, github: GitHubStandIn, installation: Installation, clock: Clock
    ) -> None:
        """
        A client id that is none is not mistaken for an App that is not installed.
        """
        del installation
        credentials = AppCredentials("Iv23typo", private_pem(), github.url, now=clock)

        error = refusal(credentials)

        assert (error.outcome.kind, error.reason) == (OutcomeKind.REFUSED, "app-credentials")
        assert "the client ID Iv23typo" in str(error)

    @pytest.mark.parametrize("where", [FIND, MINT], ids=["installation", "token"])
    @pytest.mark.parametrize(
        ("fault", "kind", "reason"),
        [
            pytest.param({"status": 500}, OutcomeKind.RETRY, "app-token", id="500"),
            pytest.param({"status": 502, "body": b"<html>"}, OutcomeKind.RETRY, "app-token", id="502"),
            pytest.param({"reset_after": True}, OutcomeKind.RETRY, "unreachable", id="reset"),
            pytest.param({"status": 403}, OutcomeKind.REFUSED, "app-refused", id="403"),
            pytest.param(
                {"status": 403, "headers": {"Retry-After": "7"}},
                OutcomeKind.THROTTLED,
                "secondary-rate-limit",
                id="rate limit",
            ),
        ],
    )
    def test_a_fault_on_the_way_is_never_a_doubt(  # noqa: PLR0917 - what the rows vary
        self,
        github: GitHubStandIn,
        credentials: AppCredentials,
        where: str,
        fault: dict[str, Any],
        kind: OutcomeKind,
        reason: str,
    ) -> None:
        """
        While a token is asked for no dispatch is out: whatever happens, none can have arrived.
        """
        github.faults.add(where, **fault)

        error = refusal(credentials)

        assert (error.outcome.kind, error.reason) == (kind, reason)
        assert error.outcome.wait == (seconds(7) if kind is OutcomeKind.THROTTLED else None)
        assert credentials.token(REPOSITORY, TO_DISPATCH).startswith("ghs_")

    def test_nobody_there(self, github: GitHubStandIn, credentials: AppCredentials) -> None:
        """
        No connection, no token, another time.
        """
        github.stop()

        error = refusal(credentials)

        assert (error.outcome.kind, error.reason) == (OutcomeKind.RETRY, "unreachable")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"token": "", "expires_at": "2026-03-01T13:00:00Z"},
            {"token": "ghs_x", "expires_at": "soon"},
            {"token": 7, "expires_at": "2026-03-01T13:00:00Z"},
        ],
        ids=["nothing", "empty", "no time", "no text"],
    )
    def test_an_answer_without_a_token(
        self, github: GitHubStandIn, credentials: AppCredentials, body: dict[str, Any]
    ) -> None:
        """
        201 with something else in it is asked for again.
        """
        github.faults.add(MINT, status=201, body=body)

        assert refusal(credentials).outcome.kind is OutcomeKind.RETRY


class TestPrivateKey:
    """The key, in the forms in which it gets into an environment variable."""

    @pytest.mark.parametrize(
        "kind", [PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8], ids=["PKCS#1", "PKCS#8"]
    )
    @pytest.mark.parametrize(
        "written",
        [
            pytest.param(lambda pem: pem, id="as it is"),
            pytest.param(lambda pem: pem.replace("\n", "\\n"), id="literal backslash-n"),
            pytest.param(lambda pem: pem.replace("\n", "\\r\\n"), id="literal backslash-r-backslash-n"),
            pytest.param(lambda pem: pem.replace("\n", "\r\n"), id="Windows"),
            pytest.param(lambda pem: f'"{pem.strip()}"', id="quoted"),
            pytest.param(lambda pem: f"\n  {pem}\n\n", id="spaces around"),
        ],
    )
    def test_it_is_read(self, kind: PrivateFormat, written: Any) -> None:
        """
        As GitHub lets one download it, or as other tools write it.
        """
        assert (
            load_private_key(written(private_pem(kind))).private_numbers()
            == private_key("app").private_numbers()
        )

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            pytest.param("", "BEGIN RSA PRIVATE KEY", id="empty"),
            pytest.param("/run/secrets/app.pem", "is it a path", id="a path"),
            pytest.param(public_pem().decode(), "public key", id="the public half"),
            pytest.param(private_pem()[:400] + private_pem()[500:], "damaged", id="a piece missing"),
            pytest.param(
                private_key("app")
                .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
                .decode(),
                "passphrase",
                id="with a passphrase",
            ),
            pytest.param(
                ec.generate_private_key(ec.SECP256R1())
                .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                .decode(),
                "not RSA",
                id="another kind",
            ),
            pytest.param(
                rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - it is to be refused
                .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                .decode(),
                "1024 bits",
                id="too short",
            ),
        ],
    )
    def test_anything_else_is_refused_where_it_comes_in(self, text: str, words: str) -> None:
        """
        With a hint, and without a piece of the key.
        """
        with pytest.raises(ValueError, match=words) as caught:
            AppCredentials(CLIENT_ID, text, "http://127.0.0.1:1")

        assert not any(line in str(caught.value) for line in text.split()[4:-4])
        assert caught.value.__cause__ is None

    def test_nothing_secret_is_shown(self, credentials: AppCredentials) -> None:
        """
        Neither key nor token is in the repr of the credentials or of what they keep.
        """
        token = credentials.token(REPOSITORY, TO_DISPATCH)

        shown = f"{credentials!r} {credentials._minted!r} {Exchange()!r}"

        assert CLIENT_ID in shown
        assert token not in shown
        assert "PRIVATE" not in shown
