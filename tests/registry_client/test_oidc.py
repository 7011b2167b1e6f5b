"""An identity token becomes one of W&B's own: with real RS256 signatures, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from registry_client import connect
from registry_client.api import WandbApi
from registry_client.connections import Connections
from registry_client.credentials import Auth, sign_in
from registry_client.errors import AccessDeniedError, ConfigurationError, FetchError
from registry_client.oidc import ExchangedToken, FileIdentity, GitHubIdentity
from registry_client.resolve import resolve
from tests.stand_ins.github_oidc import GitHubOidc
from tests.stand_ins.wandb import WandbStandIn

FLOWER = "acme/vision/flower"
KEY = "0123456789abcdef0123456789abcdef01234567"
AUDIENCE = "Acme Inc"


@pytest.fixture
def github() -> Iterator[GitHubOidc]:
    with GitHubOidc() as stand_in:
        yield stand_in


@pytest.fixture
def trusting(wandb: WandbStandIn, github: GitHubOidc) -> WandbStandIn:
    """A W&B that knows GitHub's issuer and the job's subject as a service account."""
    wandb.add_user("deployer")
    wandb.federation.trust(github.issuer, audience=AUDIENCE, subject=github.subject, user="deployer")
    return wandb


class Clock:
    """Seconds that go forward when they are told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.seconds


def exchanging(
    wandb: WandbStandIn, github: GitHubOidc, clock: Clock | None = None, naps: list[float] | None = None
) -> ExchangedToken:
    environ = github.environ
    identity = GitHubIdentity(
        environ["ACTIONS_ID_TOKEN_REQUEST_URL"], environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"], AUDIENCE
    )
    return ExchangedToken(
        wandb.url,
        identity,
        Connections({}, user_agent="test", read_timeout=5),
        clock=clock or Clock(),
        sleep=([] if naps is None else naps).append,
    )


def test_a_job_signs_in_without_a_key(trusting: WandbStandIn, github: GitHubOidc) -> None:
    """
    GitHub's token for the organization is exchanged once, and every question carries what W&B gave.
    """
    trusting.log_artifact(FLOWER, {"labels.txt": b"cat dog"})
    environ = {**github.environ, "WANDB_BASE_URL": trusting.url}

    with connect(environ, auth="oidc", audience=AUDIENCE) as api:
        version = resolve(f"{FLOWER}:v0", api)
        assert b"labels.txt" in api.manifest(version)

    [token] = trusting.federation.given
    assert github.audiences == [AUDIENCE]
    asked = [each for each in trusting.requests if each.operation]
    assert [each.headers["authorization"] for each in asked] == [f"Bearer {token}"] * 2
    stored = [each for each in trusting.requests if each.origin == "files"]
    assert not [each for each in stored if "authorization" in each.headers]


def test_a_token_is_renewed_before_it_ends(trusting: WandbStandIn, github: GitHubOidc) -> None:
    """
    With five minutes left at the latest; GitHub is asked anew, because its own tokens end sooner.
    """
    clock = Clock()
    credential = exchanging(trusting, github, clock)

    first = credential.authorization()
    clock.seconds += 3600 - 301
    assert credential.authorization() == first
    clock.seconds += 1
    second = credential.authorization()

    assert second != first
    assert [f"Bearer {token}" for token in trusting.federation.given] == [first, second]
    assert len(github.audiences) == 2


def test_a_short_lived_token_is_used_for_half_its_time(trusting: WandbStandIn, github: GitHubOidc) -> None:
    """
    One that never had five minutes is not exchanged for every request.
    """
    trusting.federation.lifetime = timedelta(minutes=4)
    clock = Clock()
    credential = exchanging(trusting, github, clock)

    for _ in range(4):
        credential.authorization()
        clock.seconds += 60

    assert len(trusting.federation.given) == 2


def test_a_token_that_was_revoked_is_exchanged_anew(trusting: WandbStandIn, github: GitHubOidc) -> None:
    """
    Once; a new one that is refused too is the answer.
    """
    clock = Clock()
    credential = exchanging(trusting, github, clock)
    logged = trusting.log_artifact(FLOWER, {"a": b"a"})

    with WandbApi(trusting.url, credential, environ={}) as api:
        resolve(logged.reference, api)
        clock.seconds += 60
        trusting.federation.revoke()
        resolve(logged.reference, api)
        trusting.faults.add("graphql:VersionById", status=401)
        with pytest.raises(AccessDeniedError, match="does not know the token it gave for GitHub's identity"):
            resolve(logged.reference, api)

    assert len(trusting.federation.given) == 2


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        ({"subject": "repo:other/thing:ref:refs/heads/main"}, "no federated identity"),
        ({"audience": "Other Inc"}, "no federated identity"),
        ({"issuer": "https://elsewhere.test"}, "unknown issuer"),
    ],
    ids=["subject", "audience", "issuer"],
)
def test_an_identity_that_is_not_trusted_is_told(
    wandb: WandbStandIn, github: GitHubOidc, setup: dict[str, str], message: str
) -> None:
    """
    With what the token says of itself, to be compared with what was set up; at once, and without the token.
    """
    trust = {"issuer": github.issuer, "audience": AUDIENCE, "subject": github.subject, **setup}
    wandb.federation.trust(trust["issuer"], audience=trust["audience"], subject=trust["subject"], user="ana")
    naps: list[float] = []

    with pytest.raises(AccessDeniedError, match=message) as caught:
        exchanging(wandb, github, naps=naps).authorization()

    assert f"(iss '{github.issuer}', aud '{AUDIENCE}', sub '{github.subject}')" in str(caught.value)
    assert "eyJ" not in str(caught.value)
    assert naps == []


def test_a_forged_signature_is_refused(trusting: WandbStandIn, github: GitHubOidc) -> None:
    """
    The stand-in really looks: a signature that is no signature, or a token of yesterday, is worth nothing.
    """
    github.spoil = lambda token: token.rpartition(".")[0] + ".AAAA"
    with pytest.raises(AccessDeniedError, match="Signature verification failed"):
        exchanging(trusting, github).authorization()

    github.spoil = lambda _: github.token(AUDIENCE, exp=1)
    with pytest.raises(AccessDeniedError, match="has expired"):
        exchanging(trusting, github).authorization()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_faults_are_tried_again(trusting: WandbStandIn, github: GitHubOidc, status: int) -> None:
    """
    On GitHub's side and on W&B's.
    """
    github.failures.append(status)
    trusting.faults.add("oidc", status=status)
    naps: list[float] = []

    assert exchanging(trusting, github, naps=naps).authorization().startswith("Bearer ")
    assert len(naps) == 2


def test_github_without_the_permission_is_told(trusting: WandbStandIn, github: GitHubOidc) -> None:
    """
    Which permission is missing.
    """
    github.failures.append(403)

    with pytest.raises(AccessDeniedError, match=r"answered 403.*permissions: id-token: write"):
        exchanging(trusting, github).authorization()


def test_github_that_gives_nonsense_is_told(trusting: WandbStandIn, github: GitHubOidc) -> None:
    """
    What is no token is not sent on.
    """
    github.spoil = lambda _: "nonsense"

    with pytest.raises(ConfigurationError, match="GitHub's identity token holds no identity token"):
        exchanging(trusting, github).authorization()

    assert not [each for each in trusting.requests if each.path == "/oidc/token"]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"access_token": "a b", "expires_in": 60}',
        b'{"access_token": "ab\\nHost: x", "expires_in": 60}',
        b'{"access_token": 7, "expires_in": 60}',
        b'{"access_token": "abc"}',
        b'{"access_token": "abc", "expires_in": true}',
        b'{"expires_in": 60}',
        b"[" * 100_000,
    ],
)
def test_an_answer_without_a_token_is_an_error(
    trusting: WandbStandIn, github: GitHubOidc, body: bytes
) -> None:
    """
    A proxy's page, or another form than the one that W&B documents.
    """
    trusting.faults.add("oidc", body=body)

    with pytest.raises(FetchError, match="answered 200 to /oidc/token in a form we do not know"):
        exchanging(trusting, github).authorization()


def test_a_token_in_a_file_is_read_anew_each_time(
    trusting: WandbStandIn, github: GitHubOidc, tmp_path: Path
) -> None:
    """
    Somebody else keeps it fresh.
    """
    file = tmp_path / "token"
    file.write_text(github.token(AUDIENCE) + "\n", encoding="ascii")
    clock = Clock()
    credential = ExchangedToken(
        trusting.url, FileIdentity(file), Connections({}, user_agent="test"), clock=clock
    )
    credential.authorization()
    clock.seconds += 3600

    file.write_text("old", encoding="ascii")
    with pytest.raises(ConfigurationError, match=r"WANDB_IDENTITY_TOKEN_FILE \(.*token\) holds no identity"):
        credential.authorization()
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="token cannot be read: it is not text"):
        credential.authorization()
    file.unlink()
    with pytest.raises(ConfigurationError, match="token cannot be read: No such file"):
        credential.authorization()


def test_every_secret_is_told_to_who_hides_it(trusting: WandbStandIn, github: GitHubOidc) -> None:
    """
    GitHub's token and W&B's, before they are used, and a key; none of them is in a repr.
    """
    hidden: list[str] = []
    credential = sign_in(github.environ, trusting.url, auth="oidc", audience=AUDIENCE, mask=hidden.append)
    assert credential is not None

    bearer = credential.authorization()

    assert len(hidden) == 2
    assert bearer == f"Bearer {hidden[1]}"
    assert not [secret for secret in hidden if secret in repr(credential) + str(credential)]
    assert github.environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] not in repr(credential)
    sign_in({"WANDB_API_KEY": KEY}, trusting.url, mask=hidden.append)
    assert hidden[2:] == [KEY]


@pytest.mark.parametrize(
    ("environ", "base_url", "audience", "message"),
    [
        ({}, "https://api.wandb.ai", "x", "permissions: id-token: write"),
        ({"ACTIONS_ID_TOKEN_REQUEST_URL": "https://x.test"}, "https://w.test", "x", "there is no identity"),
        ({"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x"}, "https://w.test", "x", "there is no identity"),
        (
            {"ACTIONS_ID_TOKEN_REQUEST_URL": "http://x.test", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x"},
            "https://w.test",
            "x",
            "is not https",
        ),
        (
            {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://x.test", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x"},
            "https://api.forge.coreweave.com",
            None,
            "audience is the name of the organization",
        ),
    ],
    ids=["nothing", "no bearer", "no url", "in the clear", "no audience"],
)
def test_what_is_missing_for_an_identity_is_named(
    environ: dict[str, str], base_url: str, audience: str | None, message: str
) -> None:
    """
    Before anything is asked; a key that is there as well is not taken instead.
    """
    with pytest.raises(ConfigurationError, match=message):
        sign_in({"WANDB_API_KEY": KEY, **environ}, base_url, auth="oidc", audience=audience)


@pytest.mark.parametrize(
    ("present", "auth", "wanted"),
    [
        (("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"), None, "the key from WANDB_API_KEY"),
        (("WANDB_API_KEY_FILE", "WANDB_IDENTITY_TOKEN_FILE"), None, "the key from WANDB_API_KEY_FILE ("),
        (("WANDB_IDENTITY_TOKEN_FILE", "HOME"), None, "the token it gave for WANDB_IDENTITY_TOKEN_FILE ("),
        (("WANDB_IDENTITY_TOKEN_FILE", "HOME"), "key", "(machine api.wandb.ai)"),
        (("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"), "oidc", "the token it gave for WANDB_IDENTITY"),
        (("HOME",), None, "(machine api.wandb.ai)"),
        ((), None, None),
        ((), "key", None),
    ],
)
def test_one_way_to_sign_in_is_taken(
    tmp_path: Path, present: tuple[str, ...], auth: Auth | None, wanted: str | None
) -> None:
    """
    What was set for W&B by name counts before what lies about; what was asked for counts alone.
    """
    (tmp_path / "key").write_text(KEY, encoding="ascii")
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n", encoding="ascii")
    every = {
        "WANDB_API_KEY": KEY,
        "WANDB_API_KEY_FILE": str(tmp_path / "key"),
        "WANDB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "HOME": str(tmp_path),
    }

    found = sign_in({name: every[name] for name in present}, "https://api.wandb.ai", auth=auth)

    assert (found is None) if wanted is None else (wanted in str(found))
