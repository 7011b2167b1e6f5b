"""nginx before the model: the address that everybody asks, whichever container answers."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.bases import ROOT
from tests.e2e.processes import free_port, listens, running

_CONF = """
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr warn;
user root;
daemon off;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  include {folder}/upstream.conf;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://model; proxy_next_upstream off; }}
  }}
}}
"""


def program() -> str | None:
    """nginx, installed or unpacked by ``.ci/install-nginx``."""
    unpacked = ROOT / ".tools" / "nginx" / "usr" / "sbin"
    return shutil.which("nginx", path=os.pathsep.join((os.environ["PATH"], "/usr/sbin", str(unpacked))))


@contextlib.contextmanager
def front(folder: Path) -> Iterator[str]:
    """Serve at the address that is yielded; ``upstream.conf`` in the folder says who answers."""
    nginx = program()
    assert nginx is not None
    port = free_port()
    (folder / "upstream.conf").write_text("upstream model { server 127.0.0.1:9; }\n", encoding="utf-8")
    conf = folder / "nginx.conf"
    conf.write_text(_CONF.format(folder=folder, port=port), encoding="utf-8")
    with running([nginx, "-c", conf, "-e", "stderr"], folder / "nginx.log", ready=lambda: listens(port)):
        yield f"http://127.0.0.1:{port}"
