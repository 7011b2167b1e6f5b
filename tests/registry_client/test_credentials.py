"""Where the key and the base URL come from, and which are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_client import connect
from registry_client.credentials import ApiKey, api_key, base_url, is_loopback
from registry_client.errors import ConfigurationError

KEY = "0123456789abcdef0123456789abcdef01234567"
OTHER = KEY[::-1]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("", "https://api.wandb.ai"),
        ("  ", "https://api.wandb.ai"),
        ("https://api.wandb.ai/", "https://api.wandb.ai"),
        ("https://api.forge.coreweave.com", "https://api.forge.coreweave.com"),
        ("https://forge.coreweave.com/api/wandb/", "https://api.forge.coreweave.com"),
        ("https://Acme.WandB.io", "https://acme.wandb.io"),
        ("https://wandb.acme.test:8443/wandb/", "https://wandb.acme.test:8443/wandb"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_the_base_url_is_tidied(given: str, wanted: str) -> None:
    """
    Unset means W&B's cloud; the proxy form becomes the API behind it; no slash at the end.
    """
    assert base_url({"WANDB_BASE_URL": given}) == wanted


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("https://wandb.ai", "https://api.wandb.ai"),
        ("https://app.wandb.ai/acme", "https://api.wandb.ai"),
        ("https://forge.coreweave.com", "https://api.forge.coreweave.com"),
        ("https://forge.coreweave.com/wandb/acme", "https://api.forge.coreweave.com"),
        ("http://wandb.acme.test", "in the clear"),
        ("http://api.wandb.ai", "in the clear"),
        ("http://127.0.0.1.acme.test", "in the clear"),
        ("api.wandb.ai", "should look like"),
        ("ftp://api.wandb.ai", "should look like"),
        ("https://", "should look like"),
        ("https://api.wandb.ai:port", "no URL"),
        ("https://[api.wandb.ai", "no URL"),
        ("https://api.wandb.ai?a=b", "'?'"),
        ("https://api.wandb.ai#a", "'?'"),
    ],
)
def test_a_base_url_that_no_key_may_go_to_is_refused(given: str, hint: str) -> None:
    """
    A page for people, plain http, a fragment of a URL: each is refused with what to do.
    """
    with pytest.raises(ConfigurationError) as caught:
        base_url({"WANDB_BASE_URL": given})

    assert hint in str(caught.value)
    assert "WANDB_BASE_URL" in str(caught.value)


def test_a_password_in_the_base_url_is_not_repeated() -> None:
    """
    The message names the variable, not what it holds.
    """
    with pytest.raises(ConfigurationError, match="password") as caught:
        base_url({"WANDB_BASE_URL": "https://api:hunter2@api.wandb.ai"})

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1"])
def test_this_machine_is_known(host: str) -> None:
    """
    Every loopback address is this machine.
    """
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "127.0.0.1.test", "localhost.test", "10.0.0.1", "0.0.0.0"])  # noqa: S104 - not bound
def test_other_machines_are_known(host: str) -> None:
    """
    A name that only looks like this machine is another.
    """
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "text",
    [KEY, f" {KEY}\n", f"local-{KEY}", "wandb_v1_" + KEY * 2, "eyJh.eyJz.c2ln"],
    ids=["40 characters", "spaces around", "prefix of a server", "new and longer", "a JWT"],
)
def test_keys_as_wandb_makes_them_are_taken(text: str) -> None:
    """
    Old and new keys, those of Self-managed servers, and tokens.
    """
    assert ApiKey.parse(text, "WANDB_API_KEY").value == text.strip()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (KEY[:39], "got 39 characters, want 40"),
        (f"local-{KEY[:39]}", "got 39 characters, want 40"),
        (f"{KEY} {KEY}", "characters that no key has"),
        (f"{KEY}\nX-Evil: 1", "characters that no key has"),
        ("${{ secrets.WANDB }}" + KEY, "characters that no key has"),
        (KEY[:-1] + "é", "characters that no key has"),
        ("", "characters that no key has"),
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(text: str, problem: str) -> None:
    """
    The message names the source and what is wrong; the value stays out of it.
    """
    with pytest.raises(ConfigurationError) as caught:
        ApiKey.parse(text, "WANDB_API_KEY")

    assert problem in str(caught.value)
    assert "WANDB_API_KEY" in str(caught.value)
    assert not text or text not in str(caught.value)


def test_a_key_does_not_show_itself() -> None:
    """
    Neither repr nor str nor a format shows the value.
    """
    key = ApiKey.parse(KEY, "WANDB_API_KEY")

    assert KEY not in f"{key} {key!r} {[key]}"


def test_the_variable_comes_first(tmp_path: Path) -> None:
    """
    WANDB_API_KEY, then the file, then the netrc.
    """
    file, netrc = tmp_path / "key", tmp_path / "netrc"
    file.write_text(f"{OTHER}\n", encoding="utf-8")
    netrc.write_text(f"machine api.wandb.ai login user password {KEY}a\n", encoding="utf-8")
    environ = {"WANDB_API_KEY": KEY, "WANDB_API_KEY_FILE": str(file), "NETRC": str(netrc)}

    found = []
    for unset in (None, "WANDB_API_KEY", "WANDB_API_KEY_FILE"):
        environ |= {unset: ""} if unset else {}
        key = api_key(environ, "https://api.wandb.ai")
        assert key is not None
        found.append(key.value)

    assert found == [KEY, OTHER, f"{KEY}a"]


def test_a_key_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """
    A secret that was not mounted is named; the netrc is not asked instead.
    """
    with pytest.raises(ConfigurationError, match=r"WANDB_API_KEY_FILE: .*gone cannot be read: No such file"):
        api_key({"WANDB_API_KEY_FILE": str(tmp_path / "gone"), "HOME": str(tmp_path)}, "https://api.wandb.ai")


def test_a_key_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    """
    Bytes that are not UTF-8 are no key.
    """
    (tmp_path / "key").write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigurationError, match="it is not text"):
        api_key({"WANDB_API_KEY_FILE": str(tmp_path / "key")}, "https://api.wandb.ai")


@pytest.mark.parametrize("named", ["api.wandb.ai", "api.forge.coreweave.com"])
@pytest.mark.parametrize("asked", ["https://api.wandb.ai", "https://api.forge.coreweave.com"])
def test_both_names_of_the_cloud_are_one(tmp_path: Path, named: str, asked: str) -> None:
    """
    A netrc written for either host of W&B's cloud serves for both.
    """
    (tmp_path / ".netrc").write_text(f"machine {named}\n  login user\n  password {KEY}\n", encoding="utf-8")

    key = api_key({"HOME": str(tmp_path)}, asked)

    assert key is not None
    assert key.value == KEY
    assert named in key.source


@pytest.mark.parametrize(
    "text",
    [
        f"machine api.wandb.ai login user password {KEY}\n",
        f"default login user password {KEY}\n",
        "",
    ],
    ids=["the cloud's key", "a default", "nothing"],
)
def test_another_servers_key_is_not_taken(tmp_path: Path, text: str) -> None:
    """
    A server of one's own gets no key of the cloud, and nobody gets the netrc's default.
    """
    (tmp_path / ".netrc").write_text(text, encoding="utf-8")

    assert api_key({"HOME": str(tmp_path)}, "https://wandb.acme.test:8443") is None


def test_a_server_of_ones_own_is_found_without_its_port(tmp_path: Path) -> None:
    """
    A netrc names hosts, not ports.
    """
    (tmp_path / "_netrc").write_text(f"machine wandb.acme.test login user password {KEY}\n", encoding="utf-8")

    assert api_key({"USERPROFILE": str(tmp_path)}, "https://wandb.acme.test:8443") is not None


def test_a_malformed_netrc_is_named_and_not_quoted(tmp_path: Path) -> None:
    """
    The parser's own text may quote a password; ours says file and line.
    """
    (tmp_path / ".netrc").write_text(f"machine api.wandb.ai login user passwort {KEY}\n", encoding="utf-8")

    with pytest.raises(
        ConfigurationError, match=r"\.netrc cannot be read: it is malformed at line"
    ) as caught:
        api_key({"HOME": str(tmp_path)}, "https://api.wandb.ai")

    assert KEY not in str(caught.value)


def test_a_named_netrc_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """
    NETRC names a file on purpose.
    """
    with pytest.raises(ConfigurationError, match="FileNotFoundError"):
        api_key({"NETRC": str(tmp_path / "gone")}, "https://api.wandb.ai")


def test_without_a_home_there_is_no_key() -> None:
    """
    An empty environment has no key, and that is no error yet.
    """
    assert api_key({}, "https://api.wandb.ai") is None


def test_connecting_without_a_key_says_where_to_put_one() -> None:
    """
    All three places are named.
    """
    with pytest.raises(ConfigurationError, match=r"WANDB_API_KEY.*WANDB_API_KEY_FILE.*netrc"):
        connect({})


def test_connecting_asks_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without an argument it is the process's own environment, and the key stays out of sight.
    """
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)

    with connect() as wandb:
        assert wandb.base_url == "https://api.wandb.ai"
        assert KEY not in repr(wandb)
