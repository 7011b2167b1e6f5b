"""The environment becomes Settings that are sound, or a list of everything that is wrong with it."""

from __future__ import annotations

import importlib.util
from datetime import timedelta
from pathlib import Path

import pytest

from receiver.budget import DEFAULT, Budget
from receiver.errors import SettingsError
from receiver.secret import Secret
from receiver.settings import GitHubApp, Settings, check_database_urls
from tests.receiver.web_fakes import SECRET, TOKEN

GITHUB_TOKEN = "github-token-for-tests"
GOOD = {
    "WANDB_WEBHOOK_SECRET": SECRET,
    "WANDB_WEBHOOK_TOKEN": TOKEN,
    "GITHUB_TOKEN": GITHUB_TOKEN,
    "HANDOFF_REPOSITORY": "acme/serving",
}


def check_key(text: str) -> None:
    """What load_private_key promises, without a key."""
    if not text.startswith("-----BEGIN"):
        raise ValueError("is no PEM; want -----BEGIN RSA PRIVATE KEY-----")


def read(**changes: str | None) -> Settings:
    """Settings from a good environment with changes; None takes a variable away."""
    environ = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return Settings.from_env(environ, check_key=check_key)


def problems(**changes: str | None) -> tuple[str, ...]:
    """What is wrong with a good environment with changes."""
    with pytest.raises(SettingsError) as caught:
        read(**changes)
    return caught.value.problems


def test_four_variables_are_enough() -> None:
    """A secret, a token, GitHub's token and the repository; the rest has defaults."""
    settings = read()

    assert settings == Settings(
        repository="acme/serving",
        secrets=(Secret(SECRET),),
        tokens=(Secret(TOKEN),),
        github=Secret(GITHUB_TOKEN),
        github_api_url="https://api.github.com",
        database_url="sqlite:///handoff.db",
        forward_fields=(),
        max_body=256 * 1024,
        duplicate_window=timedelta(minutes=10),
        order="keep",
        budget=Budget.parse("1/s,80/m,500/h"),
        retention=timedelta(days=90),
        warnings=(),
    )


def test_everything_is_told_at_once() -> None:
    """An empty environment, or one where all is wrong, gives a line for each problem."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({})
    assert {line.split(":")[0] for line in caught.value.problems} == {
        "GITHUB_TOKEN",
        "HANDOFF_REPOSITORY",
        "WANDB_WEBHOOK_SECRET, WANDB_WEBHOOK_TOKEN",
    }

    wrong = problems(
        WANDB_WEBHOOK_SECRET=None,
        WANDB_WEBHOOK_TOKEN="two words",
        GITHUB_TOKEN="line\nend",
        GITHUB_API_URL="ftp://x",
        HANDOFF_REPOSITORY="x",
        HANDOFF_DATABASE_URL="mysql://root:hunter22@x/y",
        HANDOFF_FORWARD_FIELDS="alias",
        HANDOFF_MAX_BODY="lots",
        HANDOFF_DUPLICATE_WINDOW="a while",
        HANDOFF_ORDER="chaos",
        HANDOFF_RETENTION="1h",
        HANDOFF_GITHUB_BUDGET="1/s,2/s",
    )
    assert len(wrong) == 11
    assert not [line for line in wrong if "hunter22" in line or "two words" in line]


@pytest.mark.parametrize("empty", ["WANDB_WEBHOOK_SECRET", "WANDB_WEBHOOK_TOKEN"])
def test_one_of_secret_and_token_is_enough(empty: str) -> None:
    """Either will do, an empty one is not there, and without both it is refused. [A13]"""
    settings = read(**{empty: ""})
    assert len(settings.secrets + settings.tokens) == 1

    (problem,) = problems(WANDB_WEBHOOK_SECRET="", WANDB_WEBHOOK_TOKEN="")
    assert "neither is set" in problem


def test_the_previous_twin() -> None:
    """The value before is accepted beside the current one, and never alone."""
    assert read(WANDB_WEBHOOK_SECRET_PREVIOUS="old").secrets == (Secret(SECRET), Secret("old"))
    assert read(WANDB_WEBHOOK_TOKEN_PREVIOUS="old").tokens == (Secret(TOKEN), Secret("old"))
    (problem,) = problems(WANDB_WEBHOOK_SECRET=None, WANDB_WEBHOOK_SECRET_PREVIOUS="old")
    assert problem.startswith("WANDB_WEBHOOK_SECRET_PREVIOUS: is set without WANDB_WEBHOOK_SECRET")


def test_secret_and_token_differ() -> None:
    """The token travels with each webhook, so it must not be the secret that signs."""
    (problem,) = problems(WANDB_WEBHOOK_TOKEN=SECRET)
    assert "are the same" in problem


@pytest.mark.parametrize(
    "name",
    ["WANDB_WEBHOOK_SECRET", "WANDB_WEBHOOK_TOKEN", "GITHUB_TOKEN", "HANDOFF_DATABASE_URL"],
)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_secret_from_a_file(tmp_path: Path, name: str, end: str) -> None:
    """Each secret may stand in a file; the line end after it is not part of it."""
    value = "sqlite:////data/handoff.db" if name == "HANDOFF_DATABASE_URL" else "secret-from-a-file"
    path = tmp_path / "secret"
    path.write_bytes((value + end).encode())
    settings = read(**{name: None, f"{name}_FILE": str(path)})

    assert value in {settings.database_url, *(secret.value for secret in settings.all_secrets)}


def test_files_that_are_none(tmp_path: Path) -> None:
    """A file that is missing, empty or no text is a problem; so is a value beside a file."""
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    def problem(value: str | None, file: str) -> str:
        return problems(WANDB_WEBHOOK_SECRET=value, WANDB_WEBHOOK_SECRET_FILE=str(tmp_path / file))[0]

    assert "No such file" in problem(None, "missing")
    assert "is empty" in problem(None, "empty")
    assert "UTF-8" in problem(None, "binary")
    assert "both are set" in problem("x", "empty")


def test_an_app_instead_of_a_token() -> None:
    """An App is its client id and its key."""
    settings = read(
        GITHUB_TOKEN=None, GITHUB_APP_CLIENT_ID="Iv23li", GITHUB_APP_PRIVATE_KEY="-----BEGIN X-----"
    )

    assert settings.github == GitHubApp("Iv23li", Secret("-----BEGIN X-----"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"GITHUB_APP_CLIENT_ID": "Iv"}, "GITHUB_TOKEN: is set beside"),
        ({"GITHUB_APP_PRIVATE_KEY": "-----BEGIN"}, "GITHUB_TOKEN: is set beside"),
        ({"GITHUB_TOKEN": None}, "GITHUB_TOKEN: is not set"),
        ({"GITHUB_TOKEN": "hunter22-é"}, "printable ASCII"),
        ({"GITHUB_TOKEN": None, "GITHUB_APP_CLIENT_ID": "Iv"}, "GITHUB_APP_PRIVATE_KEY: is not set"),
        ({"GITHUB_TOKEN": None, "GITHUB_APP_PRIVATE_KEY": "-----BEGIN"}, "GITHUB_APP_CLIENT_ID: is not set"),
        (
            {"GITHUB_TOKEN": None, "GITHUB_APP_CLIENT_ID": "Iv", "GITHUB_APP_PRIVATE_KEY": "hunter22"},
            "GITHUB_APP_PRIVATE_KEY: is no PEM",
        ),
    ],
)
def test_github_is_a_token_or_an_app(changes: dict[str, str | None], said: str) -> None:
    """Both, neither, or half an App are problems."""
    (problem,) = problems(**changes)

    assert said in problem
    assert "hunter22" not in problem


@pytest.mark.parametrize(
    "url",
    [
        "https://api.github.com",
        "https://api.github.com/",
        "https://github.example.com/api/v3",
        "https://github.example.com:8443/api/v3/",
        "https://api.acme.ghe.com",
        "http://127.0.0.1:8081",
        "http://localhost:8081/api/v3",
    ],
)
def test_forms_of_the_api_url(url: str) -> None:
    """github.com, a server of one's own and GHE.com; http on this machine only."""
    assert read(GITHUB_API_URL=url).github_api_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://github.com", "want https://api.github.com"),
        ("https://github.example.com", "want https://github.example.com/api/v3"),
        ("https://github.example.com/api", "want https://github.example.com/api/v3"),
        ("https://acme.ghe.com", "want https://api.acme.ghe.com"),
        ("https://api.github.com/api/v3", "want https://api.github.com"),
        ("http://api.github.com", "want https"),
        ("http://127.0.0.1.example.com", "want https"),
        ("api.github.com", "want https://api.github.com"),
        ("https://user:hunter22@api.github.com", "holds a user"),
        ("https://api.github.com?x=hunter22", "a query"),
        ("https://[", "is no URL"),
        ("https://api.github.com:port", "is no URL"),
    ],
)
def test_wrong_api_urls(url: str, said: str) -> None:
    """What is no API is refused with what was probably meant."""
    (problem,) = problems(GITHUB_API_URL=url)

    assert problem.startswith("GITHUB_API_URL: ")
    assert said in problem
    assert "hunter22" not in problem


@pytest.mark.parametrize("repository", ["acme/serving", "a/b", "A-1/x.y_z-1", "acme/.github"])
def test_repositories(repository: str) -> None:
    """An owner and a name, as GitHub allows them."""
    assert read(HANDOFF_REPOSITORY=repository).repository == repository


@pytest.mark.parametrize(
    ("repository", "hint"),
    [
        ("https://github.com/acme/serving", "did you mean acme/serving?"),
        ("git@github.com:acme/serving.git", "did you mean acme/serving?"),
        ("serving", "want owner/name"),
        ("acme/..", "want owner/name"),
        ("acme/a b", "want owner/name"),
        ("acme/serving/x", "want owner/name"),
        ("-acme/x", "want owner/name"),
    ],
)
def test_wrong_repositories(repository: str, hint: str) -> None:
    """Anything else is refused, an address with what was probably meant."""
    (problem,) = problems(HANDOFF_REPOSITORY=repository)

    assert hint in problem


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///handoff.db",
        "sqlite:////var/lib/handoff.db",
        "postgresql://u:p@h/d",
        "postgresql+psycopg:///d",
    ],
)
def test_databases(url: str) -> None:
    """SQLite by path, PostgreSQL by its usual URL."""
    assert read(HANDOFF_DATABASE_URL=url).database_url == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "want sqlite:///"),
        ("sqlite:///", "want sqlite:///"),
        ("sqlite:///:memory:", "want sqlite:///"),
        ("handoff.db", "want sqlite:///"),
        ("mysql://root:hunter22@h/d", "want sqlite:///"),
        ("postgres://root:hunter22@h/d", "did you mean postgresql://?"),
    ],
)
def test_wrong_databases(url: str, said: str) -> None:
    """Anything else is refused, and the password in it is not told."""
    (problem,) = problems(HANDOFF_DATABASE_URL=url)

    assert said in problem
    assert "hunter22" not in problem


def test_postgresql_without_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint is the command that installs it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    (problem,) = problems(HANDOFF_DATABASE_URL="postgresql://h/d")

    assert 'pip install "wandb-handoff[postgres]"' in problem


def test_fields_to_forward() -> None:
    """Names with commas between, each once; what goes anyway, or too many, is a problem."""
    assert read(HANDOFF_FORWARD_FIELDS="stage, note,,stage").forward_fields == ("stage", "note")
    assert "alias, handoff" in problems(HANDOFF_FORWARD_FIELDS="alias,x,handoff")[0]
    assert "names 10" in problems(HANDOFF_FORWARD_FIELDS=",".join("abcdefghij"))[0]


@pytest.mark.parametrize("size", ["1023", "16777217", "-1", "1e6", "256 KiB", "٣٠٠٠"])
def test_wrong_sizes(size: str) -> None:
    """The limit of a body is a number within bounds."""
    assert read(HANDOFF_MAX_BODY="1024").max_body == 1024
    assert problems(HANDOFF_MAX_BODY=size)[0].startswith("HANDOFF_MAX_BODY: got")


def test_warnings() -> None:
    """What works but is weak or a likely slip is told, and stops nothing."""
    settings = read(WANDB_WEBHOOK_SECRET=" short", HANDOFF_REPO="x", HANDOFF_URL="http://x")

    assert settings.secrets == (Secret(" short"),)
    assert [line.split(":")[0] for line in settings.warnings] == [
        "HANDOFF_REPO",
        *["WANDB_WEBHOOK_SECRET"] * 2,
    ]
    assert "did you mean HANDOFF_REPOSITORY?" in settings.warnings[0]
    assert "short" not in settings.warnings[1]


def test_no_secret_in_sight() -> None:
    """The repr of the settings holds no secret, nor the database's password."""
    settings = read(HANDOFF_DATABASE_URL="postgresql://u:hunter%2222@h/d")

    assert not [one for one in (SECRET, TOKEN, GITHUB_TOKEN, "hunter") if one in repr(settings)]
    assert Secret('hunter"22') in settings.all_secrets


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("", timedelta(minutes=10)),
        ("0", timedelta(0)),
        ("off", timedelta(0)),
        ("90", timedelta(seconds=90)),
        ("1d", timedelta(days=1)),
    ],
)
def test_windows(text: str, window: timedelta) -> None:
    """Seconds, or a number with its unit; nothing or off is never."""
    assert read(HANDOFF_DUPLICATE_WINDOW=text).duplicate_window == window


@pytest.mark.parametrize(
    ("text", "kept"),
    [("", timedelta(days=90)), ("off", None), ("1d", timedelta(days=1)), ("36500d", timedelta(days=36_500))],
)
def test_retentions(text: str, kept: timedelta | None) -> None:
    """From a day on, so that a repeat finds its first delivery; off is for ever."""
    assert read(HANDOFF_RETENTION=text).retention == kept


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("HANDOFF_DUPLICATE_WINDOW", "86401", "want 0s to 1d, or off"),
        ("HANDOFF_DUPLICATE_WINDOW", "ten minutes", "want seconds, or a number with s, m, h or d"),
        ("HANDOFF_RETENTION", "0", "want 1d to 36500d, or off"),
        ("HANDOFF_RETENTION", "36501d", "want 1d to 36500d, or off"),
        ("HANDOFF_RETENTION", "never", "or off"),
        ("HANDOFF_ORDER", "Keep", "want keep, or overtake"),
    ],
)
def test_wrong_times_and_orders(name: str, text: str, said: str) -> None:
    """What is no length of time, out of bounds, or no order is refused with what is wanted."""
    (problem,) = problems(**{name: text})

    assert problem.startswith(f"{name}: got {text!r}, ")
    assert said in problem


def test_budgets() -> None:
    """What GitHub advises, another one, or off; anything else is refused with what is wanted."""
    assert read().budget == read(HANDOFF_GITHUB_BUDGET=" 1/s, 80/m, 500/h").budget == Budget.parse(DEFAULT)
    assert read(HANDOFF_GITHUB_BUDGET="100/m").budget == Budget.parse("100/m")
    assert read(HANDOFF_GITHUB_BUDGET="off").budget is None
    assert problems(HANDOFF_GITHUB_BUDGET="fast")[0].startswith("HANDOFF_GITHUB_BUDGET: got 'fast', want off")


def test_orders() -> None:
    """A later promotion waits its turn, unless it is told to overtake."""
    assert read().order == "keep"
    assert read(HANDOFF_ORDER="overtake").order == "overtake"


def test_the_dispatching_half_reads_no_secret_of_wandb() -> None:
    """Who only dispatches needs GitHub and the ledger; what W&B shares is not even looked at."""
    environ = {"GITHUB_TOKEN": GITHUB_TOKEN, "WANDB_WEBHOOK_SECRET_FILE": "/nowhere", "HANDOFF_ORDER": "x"}
    settings = Settings.from_env(environ, receives=False)

    assert settings.all_secrets == (Secret(GITHUB_TOKEN),)
    with pytest.raises(SettingsError, match="GITHUB_TOKEN: is not set"):
        Settings.from_env({**environ, "GITHUB_TOKEN": ""}, receives=False)


def test_the_receiving_half_reads_no_credentials_of_github() -> None:
    """Who only receives needs what W&B shares, and cannot lose a token that it does not have."""
    environ = {**GOOD, "GITHUB_TOKEN_FILE": "/nowhere"}
    settings = Settings.from_env(environ, dispatches=False)

    assert settings.github is None
    assert settings.all_secrets == (Secret(SECRET), Secret(TOKEN))
    with pytest.raises(SettingsError, match="HANDOFF_REPOSITORY: is not set"):
        Settings.from_env({**environ, "HANDOFF_REPOSITORY": ""}, dispatches=False)


def test_addresses_on_a_command_line() -> None:
    """Each wrong one is told by its name, without the password in it."""
    check_database_urls(SOURCE="sqlite:///x.db", TARGET="postgresql://u:p@h/d")
    with pytest.raises(SettingsError) as caught:
        check_database_urls(SOURCE="x.db", TARGET="mysql://u:hunter22@h/d")

    assert [problem.split(":")[0] for problem in caught.value.problems] == ["SOURCE", "TARGET"]
    assert "hunter22" not in str(caught.value)
