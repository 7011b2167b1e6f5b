"""A real nginx with TLS before the stand-in: ranges behind signed addresses that expire, and the API."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.client_faults import certificates
from tests.stand_ins.wandb import WandbStandIn
from tests.stand_ins.wandb.addresses import Addresses
from tests.stand_ins.wandb.manifest import Entry
from tests.stand_ins.wandb.state import Artifact

ROOT = Path(__file__).resolve().parent.parent.parent
_SECRET = "of-the-tests"
_PLACES = ("/usr/sbin/nginx", "/usr/local/sbin/nginx", str(ROOT / ".tools/nginx/usr/sbin/nginx"))
_CONFIGURATION = """
{user}
daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  log_format brief '$msec $request_time $uri';
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000;
  default_type application/octet-stream;
  ssl_certificate {certificate};
  ssl_certificate_key {key};
  ssl_session_cache shared:tls:1m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{  # The file store.
    listen 127.0.0.1:{files_port} ssl backlog=1024;
    root {folder}/store;
    access_log {folder}/access.log brief;
    location / {{
      secure_link $arg_signature,$arg_expires;
      secure_link_md5 "$secure_link_expires$uri {secret}";
      if ($secure_link = "") {{ return 403; }}
      if ($secure_link = "0") {{ return 410; }}
    }}
  }}
  server {{  # The API.
    listen 127.0.0.1:{api_port} ssl backlog=1024;
    client_max_body_size 64m;
    location / {{ proxy_pass {api}; proxy_redirect off; }}
  }}
}}
"""


def find() -> str | None:
    """The nginx of this machine, or the one that .ci/install-nginx unpacked; None without."""
    return shutil.which("nginx") or next((path for path in _PLACES if os.access(path, os.X_OK)), None)


@dataclass
class Nginx:
    """One nginx, and what is trusted of it."""

    certificate: Path
    files_url: str
    api_url: str
    pid: int

    def environ(self) -> dict[str, str]:
        """What makes a client trust it: ours, the SDK's Python and the SDK's Go."""
        return {"REQUESTS_CA_BUNDLE": str(self.certificate), "SSL_CERT_FILE": str(self.certificate)}


class WandbBehindNginx(WandbStandIn):
    """The stand-in, whose files nginx serves: they are linked into its store when an address is signed."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.nginx: Nginx | None = None
        self._store = folder / "store"
        self._store.mkdir()
        self._addresses = SignedForNginx(self, self._store)


class SignedForNginx(Addresses):
    """Signs as nginx's secure_link checks it."""

    def __init__(self, wandb: WandbBehindNginx, store: Path) -> None:
        super().__init__(
            wandb._state.artifacts,
            origin=lambda: _running(wandb).files_url,
            now=wandb.now,
            lifetime=lambda: wandb.url_lifetime,
        )
        self._wandb = wandb
        self._store = store

    def of_file(self, artifact: Artifact, entry: Entry) -> str:  # noqa: ARG002 - its digest says all
        """Where nginx has this file, for a while."""
        assert entry.content is not None
        name = f"{entry.hex_digest}-{entry.content.etag}"
        self._keep(name, entry.content.source)
        return self._signed(f"/{name}")

    def of_manifest(self, artifact: Artifact) -> str:
        """Where nginx has the manifest, for a while."""
        self._keep(f"manifest-{artifact.number}", artifact.manifest_file)
        return self._signed(f"/manifest-{artifact.number}")

    def _keep(self, name: str, source: bytes | Path) -> None:
        path = self._store / name
        if path.exists():
            return
        path.unlink(missing_ok=True)  # The same content, but where it was it is no more.
        if isinstance(source, Path):
            path.symlink_to(source)
        else:
            path.write_bytes(source)

    def _signed(self, path: str) -> str:
        expires = int((self._wandb.now() + self._wandb.url_lifetime).timestamp())
        told = hashlib.md5(f"{expires}{path} {_SECRET}".encode(), usedforsecurity=False).digest()
        signature = base64.urlsafe_b64encode(told).decode().rstrip("=")
        return f"{_running(self._wandb).files_url}{path}?signature={signature}&expires={expires}"


def _running(wandb: WandbBehindNginx) -> Nginx:
    assert wandb.nginx is not None, "nginx is not running"
    return wandb.nginx


@contextmanager
def running(folder: Path, *, workers: int = 2) -> Iterator[WandbBehindNginx]:
    """A stand-in with its nginx, from start to stop; ``folder`` is its own and stays."""
    program = find()
    assert program is not None
    wandb = WandbBehindNginx(folder)
    with wandb, _listening() as files, _listening() as api:
        certificate, key = certificates.make(folder)
        urls = [f"https://127.0.0.1:{_port(listener)}" for listener in (files, api)]
        configuration = folder / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                user="user root;" if os.geteuid() == 0 else "",  # Else its workers may not enter our folder.
                workers=workers,
                folder=folder,
                certificate=certificate,
                key=key,
                files_port=_port(files),
                api_port=_port(api),
                secret=_SECRET,
                api=wandb.url,
            ),
            encoding="utf-8",
        )
        with _process(program, configuration, files, api) as process:
            wandb.nginx = Nginx(certificate, urls[0], urls[1], process.pid)
            yield wandb


@contextmanager
def _listening() -> Iterator[socket.socket]:
    """A port that the kernel chose, held until nginx has it."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.setblocking(False)  # Else a worker of nginx waits for ever where the other was faster.
        yield listener


def _port(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


@contextmanager
def _process(
    program: str, configuration: Path, *listeners: socket.socket
) -> Iterator[subprocess.Popen[bytes]]:
    """Nginx takes over sockets that it is given this way, as in an upgrade: nobody else can have the port."""
    numbers = [listener.fileno() for listener in listeners]
    said = configuration.with_name("said.log")
    with said.open("wb") as output:
        process = subprocess.Popen(
            [program, "-c", str(configuration), "-e", str(said), "-p", str(configuration.parent)],
            env={**os.environ, "NGINX": "".join(f"{number};" for number in numbers)},
            pass_fds=numbers,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _wait(lambda: configuration.with_name("nginx.pid").exists(), process, said)
        for listener in listeners:
            listener.close()
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + 10
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"nginx is not up:\n{said.read_text(encoding='utf-8')}")
        time.sleep(0.02)
