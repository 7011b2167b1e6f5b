"""Behind a real nginx: TLS, signed addresses that expire, ranges."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from registry_client.api import WandbApi
from registry_client.credentials import ApiKey
from registry_client.download import download
from registry_client.errors import RegistryError
from registry_client.resolve import resolve
from tests.client_faults import nginx
from tests.client_faults.conftest import FILES
from tests.client_faults.nginx import WandbBehindNginx
from tests.client_faults.trees import tree, wanted
from tests.stand_ins.wandb import Membership

pytestmark = pytest.mark.skipif(
    nginx.find() is None, reason="nginx is not installed (.ci/install-nginx, or apt-get install nginx-light)"
)


@pytest.fixture(scope="module")
def wandb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WandbBehindNginx]:
    with nginx.running(tmp_path_factory.mktemp("nginx")) as standing:
        yield standing


@pytest.fixture(scope="module")
def model(wandb: WandbBehindNginx) -> Membership:
    return wandb.log_artifact("acme/vision/model", FILES)


@pytest.fixture
def trusting(wandb: WandbBehindNginx, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trust the certificate, as a user with a server of their own would."""
    assert wandb.nginx is not None
    for name, value in wandb.nginx.environ().items():
        monkeypatch.setenv(name, value)
    yield
    wandb.url_lifetime = timedelta(hours=1)
    wandb.requests.clear()


def fetch(wandb: WandbBehindNginx, model: Membership, into: Path) -> None:
    assert wandb.nginx is not None
    key = ApiKey.parse(wandb.api_key, "WANDB_API_KEY")
    with WandbApi(wandb.nginx.api_url, key, sleep=lambda _: None) as registry:
        download(resolve(model.name, registry), into, registry, sleep=lambda _: None)


def address(wandb: WandbBehindNginx, model: Membership) -> str:
    artifact = model.artifact
    return wandb._addresses.of_file(artifact, artifact.manifest.entries[-1])


@pytest.mark.usefixtures("trusting")
def test_it_keeps_the_rules_of_a_file_store(wandb: WandbBehindNginx, model: Membership) -> None:
    """
    Unsigned 403, changed 403, over 410, a range 206 with its place and an ETag.
    """
    url = address(wandb, model)
    wandb.url_lifetime = timedelta(seconds=-5)
    over = address(wandb, model)

    part = requests.get(url, headers={"Range": "bytes=10-19"}, timeout=5)
    statuses = [
        requests.get(each, timeout=5).status_code for each in (url.partition("?")[0], url + "0", over)
    ]

    assert statuses == [403, 403, 410]
    assert (part.status_code, part.content) == (206, FILES["weights/model.bin"][10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(FILES['weights/model.bin'])}"
    assert part.headers["ETag"]


@pytest.mark.usefixtures("trusting")
def test_the_tree_is_whole(wandb: WandbBehindNginx, model: Membership, tmp_path: Path) -> None:
    """
    Over TLS, both the API and the files.
    """
    fetch(wandb, model, tmp_path / "here")

    assert tree(tmp_path / "here") == wanted(FILES)


@pytest.mark.usefixtures("trusting")
def test_addresses_that_are_over_are_asked_for_anew(
    wandb: WandbBehindNginx, model: Membership, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    By the time that the files' turn comes, every address of the list is over.
    """
    signed = wandb._addresses.of_file
    listed = []

    def first_over(*arguments: object) -> str:
        listed.append(arguments)
        wandb.url_lifetime = timedelta(seconds=-5 if len(listed) <= len(FILES) else 600)
        return signed(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(wandb._addresses, "of_file", first_over)

    fetch(wandb, model, tmp_path / "here")

    assert len(listed) > len(FILES)
    assert tree(tmp_path / "here") == wanted(FILES)


def test_a_certificate_that_nobody_vouches_for_ends_it(
    wandb: WandbBehindNginx, model: Membership, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nothing is sent there, and the message says which setting helps.
    """
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    before = len(wandb.requests)

    with pytest.raises(RegistryError, match="REQUESTS_CA_BUNDLE"):
        fetch(wandb, model, tmp_path / "here")

    assert len(wandb.requests) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_gets_the_same(wandb: WandbBehindNginx, model: Membership, tmp_path: Path) -> None:
    """
    What the benchmark measures against is the same file.
    """
    assert wandb.nginx is not None
    got = tmp_path / "got"
    subprocess.run(
        ["curl", "-sSf", "--cacert", wandb.nginx.certificate, "-o", got, address(wandb, model)], check=True
    )

    assert got.read_bytes() == FILES["weights/model.bin"]
