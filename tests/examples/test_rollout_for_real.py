"""examples/torchserve-kubernetes/rollout.py and its manifests, on a real Kubernetes control plane."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.examples.cluster import Cluster, PlayedNode, cluster, environment, why_not

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "torchserve-kubernetes"
REPLICAS = 2
FIRST, SECOND, BROKEN = (f"registry.test/model-server@sha256:{digit * 64}" for digit in "123")

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@dataclass(frozen=True)
class Deployer:
    """Whoever the workflow signs in as, who may do what kubernetes/deployer says, and nothing else."""

    kubeconfig: Path

    def rolled_out(self, image: str, artifact: str, timeout: int = 60) -> subprocess.CompletedProcess[str]:
        """What the script did."""
        overlay = EXAMPLE / "kubernetes" / "overlays" / "production"
        words = [
            "--image",
            image,
            "--artifact",
            artifact,
            "--overlay",
            str(overlay),
            "--timeout",
            str(timeout),
        ]
        return self._run(sys.executable, str(EXAMPLE / "rollout.py"), *words)

    def may(self, verb: str, what: str) -> bool:
        """Whether the API server would let it."""
        return self._run("kubectl", "auth", "can-i", verb, what, "--namespace=models").stdout == "yes\n"

    def wait_until_it_may(self, verb: str, what: str) -> None:
        """The API server hears of a new role a moment later."""
        until = time.monotonic() + 20
        while not self.may(verb, what):
            assert time.monotonic() < until, f"may not {verb} {what}"
            time.sleep(0.1)

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environ = {**environment(), "KUBECONFIG": str(self.kubeconfig), "GITHUB_STEP_SUMMARY": ""}
        return subprocess.run(
            words, env=environ, check=False, capture_output=True, encoding="utf-8", timeout=120
        )


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def deployer(control_plane: Cluster) -> Iterator[Deployer]:
    """In a namespace set up as README says; emptied afterwards."""
    control_plane.kubectl("apply", "--kustomize", str(EXAMPLE / "kubernetes" / "deployer"))
    token = control_plane.kubectl("create", "token", "deployer", "--namespace=models").strip()
    found = Deployer(control_plane.kubeconfig("deployer", token))
    found.wait_until_it_may("create", "networkpolicies")
    yield found
    for kind in ("deployment", "replicaset", "pod"):
        control_plane.kubectl("delete", kind, "--all", "--namespace=models", "--force", "--ignore-not-found")


def image_of(control_plane: Cluster) -> str:
    template = "jsonpath={.spec.template.spec.containers[0].image}"
    return control_plane.kubectl(
        "get", "deployment/model-server", "--namespace=models", f"--output={template}"
    )


def test_what_does_not_predict_is_taken_back_and_the_old_one_goes_on(
    control_plane: Cluster, deployer: Deployer
) -> None:
    """
    A second version takes over from the first; a broken third does not, the reason is told, the second is
    what the Deployment says again; and at no time are fewer pods ready than there should be.
    """
    with PlayedNode(control_plane, full=REPLICAS, broken={BROKEN}).running() as node:
        assert deployer.rolled_out(FIRST, "acme/flowers:v1").returncode == 0
        second = deployer.rolled_out(SECOND, "acme/flowers:v2")
        assert (second.returncode, image_of(control_plane)) == (0, SECOND), second.stdout

        third = deployer.rolled_out(BROKEN, "acme/flowers:v3", timeout=10)

    assert third.returncode == 1
    assert "Not rolled out: acme/flowers:v3" in third.stdout
    assert "CrashLoopBackOff back-off 10s" in third.stdout
    assert "Rolled back: acme/flowers:v2 serves" in third.stdout
    assert image_of(control_plane) == SECOND
    assert (node.fewest, node.failures) == (REPLICAS, [])


def test_the_history_says_which_model_ran(control_plane: Cluster, deployer: Deployer) -> None:
    """
    The history of the Deployment shows the artifacts.
    """
    with PlayedNode(control_plane, full=REPLICAS).running():
        assert deployer.rolled_out(FIRST, "acme/Flower Shop:v1").returncode == 0

    history = control_plane.kubectl("rollout", "history", "deployment/model-server", "--namespace=models")
    assert "acme/Flower Shop:v1" in history


def test_a_broken_first_one_is_left_to_look_at(control_plane: Cluster, deployer: Deployer) -> None:
    """
    Where nothing ran before there is nothing to go back to, and that is said.
    """
    with PlayedNode(control_plane, full=REPLICAS, broken={BROKEN}).running():
        done = deployer.rolled_out(BROKEN, "acme/flowers:v3", timeout=5)

    assert done.returncode == 1
    assert "No version ran before this one" in done.stdout
    assert image_of(control_plane) == BROKEN


def test_the_same_image_again_is_not_taken_back(control_plane: Cluster, deployer: Deployer) -> None:
    """
    A rollout that changes nothing never goes back to the version before.
    """
    with PlayedNode(control_plane, full=REPLICAS).running() as node:
        assert deployer.rolled_out(FIRST, "acme/flowers:v1").returncode == 0
        assert deployer.rolled_out(SECOND, "acme/flowers:v2").returncode == 0
        node.broken.add(SECOND)
        control_plane.kubectl("delete", "pod", "--all", "--namespace=models", "--force")

        again = deployer.rolled_out(SECOND, "acme/flowers:v2", timeout=5)

    assert again.returncode == 1
    assert "nothing to go back to" in again.stdout
    assert image_of(control_plane) == SECOND


def test_nothing_is_changed_where_the_server_refuses_any_of_it(
    control_plane: Cluster, deployer: Deployer
) -> None:
    """
    Manifests that the API server does not take are refused before the first one is applied.
    """
    control_plane.kubectl("delete", "role/deployer", "--namespace=models")
    control_plane.kubectl("delete", "service/model-server", "--namespace=models", "--ignore-not-found")
    allowed = ["deployments.apps", "services", "serviceaccounts", "poddisruptionbudgets.policy"]
    rules = [f"--resource={','.join(allowed)}", "--verb=get,list,watch,create,patch", "--namespace=models"]
    control_plane.kubectl("create", "role", "deployer", *rules)
    deployer.wait_until_it_may("create", "services")

    done = deployer.rolled_out(FIRST, "acme/flowers:v1")

    assert done.returncode == 1
    assert "networkpolicies" in done.stdout
    assert control_plane.kubectl("get", "service,deployment", "--namespace=models", "--output=name") == ""
    control_plane.kubectl("delete", "role/deployer", "--namespace=models")


@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("get", "secrets"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("delete", "deployments"),
        ("create", "rolebindings"),
    ],
)
def test_the_deployer_may_do_nothing_more(deployer: Deployer, verb: str, what: str) -> None:
    """
    A stolen kubeconfig reads no secret, enters no pod and takes nothing away.
    """
    assert not deployer.may(verb, what)


def test_nothing_runs_there_as_root(control_plane: Cluster, deployer: Deployer) -> None:
    """
    The namespace refuses pods that are less confined than ours, whoever asks.
    """
    assert deployer.may("get", "pods")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        control_plane.kubectl(
            "run",
            "root",
            "--image=registry.test/x",
            "--namespace=models",
            '--overrides={"spec": {"serviceAccountName": "deployer"}}',
        )
    assert "violates PodSecurity" in refused.value.stderr
