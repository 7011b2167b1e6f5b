"""A real Kubernetes control plane on loopback, and a node that plays what kubelet would do."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

_TOOLS = Path(__file__).resolve().parents[2] / ".tools" / "bin"
_PATH = f"{_TOOLS}{os.pathsep}{os.environ['PATH']}"
_PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
_ADMIN = "of-the-administrator"  # A token for loopback, in a cluster that lives for a test.
_STARTED_WITHIN = 60.0


def why_not() -> str | None:
    """What is missing to start a cluster, if anything is."""
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    return f"{', '.join(missing)} not here: .ci/install-kubernetes .tools/bin" if missing else None


@dataclass(frozen=True)
class Cluster:
    """An API server, its etcd and the controllers of Deployments, as their administrator."""

    folder: Path
    url: str

    def kubeconfig(self, name: str, token: str) -> Path:
        """A file to sign in with that token."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "c", "cluster": {"server": self.url, "certificate-authority": str(self._ca)}}
            ],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(config), encoding="utf-8")
        return path

    def kubectl(self, *arguments: str) -> str:
        """What kubectl prints, as the administrator."""
        environ = {**environment(), "KUBECONFIG": str(self.kubeconfig("admin", _ADMIN))}
        return subprocess.run(
            ["kubectl", *arguments], env=environ, check=True, capture_output=True, encoding="utf-8"
        ).stdout

    def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """One request to the API."""
        request = urllib.request.Request(  # noqa: S310 - the address is ours
            self.url + path,
            None if body is None else json.dumps(body).encode("utf-8"),
            {"Authorization": f"Bearer {_ADMIN}", "Content-Type": kind},
            method=method,
        )
        context = ssl.create_default_context(cafile=str(self._ca))
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310 - as above
            return json.load(answer)

    @property
    def _ca(self) -> Path:
        return self.folder / "certificates" / "apiserver.crt"  # It signs itself.


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Have one, empty; it is gone afterwards."""
    etcd, peers, port = free_ports(3)
    key = _private_key(folder)
    (folder / "tokens.csv").write_text(f'{_ADMIN},admin,1,"system:masters"\n', encoding="utf-8")
    found = Cluster(folder, f"https://127.0.0.1:{port}")
    with contextlib.ExitStack() as running:
        start = _Starter(folder, running)
        start.program(
            "etcd",
            data_dir=folder / "etcd",
            listen_client_urls=f"http://127.0.0.1:{etcd}",
            advertise_client_urls=f"http://127.0.0.1:{etcd}",
            listen_peer_urls=f"http://127.0.0.1:{peers}",
            unsafe_no_fsync="true",
        )
        api = start.program(
            "kube-apiserver",
            etcd_servers=f"http://127.0.0.1:{etcd}",
            bind_address="127.0.0.1",
            secure_port=port,
            cert_dir=folder / "certificates",
            service_cluster_ip_range="10.96.0.0/24",
            service_account_issuer="https://kubernetes.default.svc",
            service_account_signing_key_file=key,
            service_account_key_file=key,
            token_auth_file=folder / "tokens.csv",
            authorization_mode="RBAC",
        )
        _wait_until_ready(found, api)
        start.program(
            "kube-controller-manager",
            kubeconfig=found.kubeconfig("admin", _ADMIN),
            leader_elect="false",
            controllers="deployment-controller,replicaset-controller,endpointslice-controller",
            secure_port=0,
        )
        yield found


@dataclass
class PlayedNode:
    """Takes every pod, and makes it ready, unless its image is broken.

    Attributes:
        broken: Images whose probe never succeeds.
        fewest: The fewest ready pods at any time since there were ``full`` of them.
    """

    cluster: Cluster
    full: int
    broken: set[str] = field(default_factory=set)
    fewest: int | None = None
    failures: list[Exception] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[PlayedNode]:
        """Play in the background."""
        ended = threading.Event()
        thread = threading.Thread(target=self._play, args=(ended,))
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()

    def _play(self, ended: threading.Event) -> None:
        while not ended.wait(0.1):
            try:
                pods = self.cluster.ask("GET", "/api/v1/pods")["items"]
                for pod in pods:
                    self._handle(pod)
                self._count(pods)
            except urllib.error.HTTPError as error:  # noqa: PERF203 - a node goes on after any
                error.close()
                if error.code not in {404, 409}:  # It went away, or somebody else changed it meanwhile.
                    self.failures.append(error)

    def _handle(self, pod: Mapping[str, Any]) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        if "deletionTimestamp" in metadata:
            self.cluster.ask("DELETE", path, {"gracePeriodSeconds": 0})
        elif not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": "played"}
            self.cluster.ask(
                "POST", f"{path}/binding", {"metadata": {"name": metadata["name"]}, "target": target}
            )
        elif "containerStatuses" not in pod["status"]:
            image = pod["spec"]["containers"][0]["image"]
            status = {"status": _status(image, well=image not in self.broken)}
            self.cluster.ask("PATCH", f"{path}/status", status, "application/merge-patch+json")

    def _count(self, pods: list[Any]) -> None:
        ready = sum(_ready(pod) for pod in pods)
        if self.fewest is not None or ready >= self.full:
            self.fewest = min(ready, self.fewest if self.fewest is not None else ready)


def environment() -> dict[str, str]:
    """The environment, with our tools on the PATH."""
    return {**os.environ, "PATH": _PATH}


def free_ports(number: int) -> list[int]:
    """Ports that nothing listens on now."""
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@dataclass(frozen=True)
class _Starter:
    folder: Path
    running: contextlib.ExitStack

    def program(self, name: str, **options: object) -> subprocess.Popen[bytes]:
        words = [f"--{option.replace('_', '-')}={value}" for option, value in options.items()]
        log = self.running.enter_context((self.folder / f"{name}.log").open("wb"))
        process = subprocess.Popen([name, *words], env=environment(), stdout=log, stderr=log, cwd=self.folder)
        self.running.callback(process.wait)
        self.running.callback(process.kill)
        return process


def _wait_until_ready(found: Cluster, api: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _STARTED_WITHIN
    while time.monotonic() < until and api.poll() is None:
        with contextlib.suppress(OSError):
            found.ask("GET", "/api/v1/namespaces/kube-system")
            return
        time.sleep(0.1)
    log = (found.folder / "kube-apiserver.log").read_text(encoding="utf-8", errors="replace")
    raise RuntimeError(f"kube-apiserver is not ready: {log[-2000:]}")


def _private_key(folder: Path) -> Path:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = folder / "service-accounts.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def _status(image: str, *, well: bool) -> Mapping[str, Any]:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    failed = {
        "waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}
    }
    container = {
        "name": "server",
        "image": image,
        "imageID": "",
        "ready": well,
        "restartCount": 0 if well else 3,
        "state": {"running": {"startedAt": now}} if well else failed,
    }
    ready = {"type": "Ready", "status": str(well), "lastTransitionTime": now}
    return {"phase": "Running", "conditions": [ready], "containerStatuses": [container]}


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]
