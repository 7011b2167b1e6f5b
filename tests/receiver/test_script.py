"""W&B's documented way to try a webhook out, its commands as they stand, against the real receiver."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.ledger import Ledger
from tests.receiver.served import Served, serving
from tests.receiver.web_fakes import SECRET, TOKEN, body, rendered_template, sample

COMMANDS = r"""
set -eu -o pipefail
SIGNATURE=$(echo -n "$PAYLOAD" | openssl dgst -sha256 -hmac "$SECRET" -binary | base64)
curl -X POST -H "Content-Type: application/json" -H "Authorization: Bearer $ACCESS_TOKEN" \
  -H "X-Wandb-Signature: $SIGNATURE" -d "$PAYLOAD" "$API_ENDPOINT"
"""

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "openssl", "base64", "curl"))), reason="the script needs its programs"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the receiver keeps its ledger."""
    return tmp_path_factory.mktemp("script")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    """A receiver whose GitHub is not there: here only the way in counts."""
    environ = {
        "WANDB_WEBHOOK_SECRET": SECRET,
        "WANDB_WEBHOOK_TOKEN": TOKEN,
        "GITHUB_TOKEN": "github_pat_for_tests_0123456789",
        "GITHUB_API_URL": "http://127.0.0.1:9",
        "HANDOFF_REPOSITORY": "acme/serving",
    }
    with serving(environ, folder) as running:
        yield running


def run_script(served: Served, payload: bytes, *, secret: str = SECRET) -> dict[str, object]:
    """The answer that the script prints."""
    values = {"PAYLOAD": payload.decode(), "SECRET": secret, "ACCESS_TOKEN": TOKEN}
    ended = subprocess.run(
        ["bash", "-c", COMMANDS],
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "API_ENDPOINT": served.webhook_url, **values},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    answer: dict[str, object] = json.loads(ended.stdout)
    return answer


@pytest.mark.parametrize(
    "payload",
    [sample("alias_added_project"), sample("alias_added_model_registry").strip(), body(rendered_template())],
    ids=["recorded-github-shaped", "recorded-flat", "readme"],
)
def test_the_documented_script_is_accepted(served: Served, folder: Path, payload: bytes) -> None:
    """What `openssl … | base64` signs is accepted, and the ledger says that it was base64."""
    answer = run_script(served, payload)

    assert answer["status"] == "accepted"
    with Ledger.read_only(f"sqlite:///{folder}/handoff.db") as ledger:
        assert ledger.delivery(str(answer["delivery"])).encoding == "base64"


def test_the_documented_script_with_its_template(served: Served) -> None:
    """The documentation's template, posted as it stands, is told apart as a test."""
    assert run_script(served, sample("docs_build_and_deploy").strip())["status"] == "test"


def test_the_documented_script_with_a_wrong_secret(served: Served) -> None:
    """A wrong secret is told as such."""
    assert run_script(served, b"{}", secret="wrong")["reason"] == "bad-signature"
