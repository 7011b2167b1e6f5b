"""How fast a version is downloaded, in how much memory: our Action, W&B's SDK, and curl that checks nothing.

All against the same server on loopback: W&B's stand-in, its files behind a real nginx with TLS.  Every
command is a process of its own with empty folders, as on a fresh runner; each table is measured in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import delay, measured
from benchmarks.measured import Measured
from registry_client.digest import digester
from registry_client.version import DigestAlgorithm
from tests.client_faults import clients, nginx
from tests.client_faults.clients import Account
from tests.client_faults.nginx import WandbBehindNginx
from tests.client_faults.trees import MIB, pattern, write_pattern
from tests.stand_ins.wandb import Membership

ROOT = Path(__file__).resolve().parent.parent
PYZ = ROOT / "dist" / "registry_client.pyz"
LINK = "2gbit"
LATENCY = 0.02
SMALL = 20_000
_HEAD = "| | time | processor | peak memory | ours to it (time) |\n|---|---|---|---|---|"
_ALGORITHMS = {"MD5": DigestAlgorithm.MD5, "XXH128": DigestAlgorithm.XXH128}


class Bench:
    """The server, a folder for everything, and the commands to be measured."""

    def __init__(self, folder: Path, wandb: WandbBehindNginx, rounds: int) -> None:
        assert wandb.nginx is not None
        self.folder = folder
        self.wandb = wandb
        self.nginx = wandb.nginx
        self.rounds = rounds
        self._homes = 0

    @property
    def account(self) -> Account:
        """How to reach the server."""
        return Account(self.nginx.api_url, self.wandb.api_key, self.nginx.environ())

    def ours(self, version: Membership, into: Path) -> Measured:
        """What action.yml runs, from the sources as they are."""
        with self.home() as home:
            return self._run(clients.ours(self.account, version.name, into, home), home)

    def sdk(self, version: Membership, into: Path, home: Path | None = None) -> Measured:
        """``wandb.Api().artifact(…).download(…)`` on its defaults; its own folders are ``home``, or new."""
        with contextlib.nullcontext(home) if home else self.home() as own:
            return self._run(clients.sdk(self.account, own, version.name, str(into)), own)

    def curl(self, version: Membership, into: Path) -> Measured:
        """The first file of a version, by its signed address."""
        artifact = version.artifact
        url = self.wandb._addresses.of_file(artifact, artifact.manifest.entries[0])  # noqa: SLF001 - as W&B would
        with self.home() as home:
            argv = ("curl", "-sSf", "--cacert", str(self.nginx.certificate), "-o", str(into), url)
            return self._run(clients.Command(argv, dict(os.environ)), home)

    @contextlib.contextmanager
    def home(self) -> Iterator[Path]:
        """A new folder, which is removed afterwards."""
        self._homes += 1
        home = self.folder / f"home-{self._homes}"
        home.mkdir()
        try:
            yield home
        finally:
            shutil.rmtree(home)

    def fresh(self, how: Callable[[Membership, Path], Measured], version: Membership) -> Measured:
        """Measure into a place that is not there yet, and look at what came."""
        with self.home() as home:
            got = how(version, home / "got")
            size = _size(home / "got")
        if size != version.artifact.manifest.size:
            raise RuntimeError(f"got {size} bytes, want {version.artifact.manifest.size}:\n{got.said}")
        return got

    def in_turns(self, ways: Mapping[str, Callable[[], Measured]]) -> dict[str, Measured]:
        """The medians of each way, measured in turns."""
        every: dict[str, list[Measured]] = {name: [] for name in ways}
        for _ in range(self.rounds):
            for name, way in ways.items():
                every[name].append(way())
        return {name: _median(each) for name, each in every.items()}

    @staticmethod
    def _run(command: clients.Command, home: Path) -> Measured:
        return measured.run(command.argv, command.environ, home)


def one_large_file(bench: Bench, size: int, link: str) -> None:
    """One file over TLS: curl, ours, the SDK."""
    source = write_pattern(bench.folder / "source.bin", size)
    gib = size / 1024**3
    for name, algorithm in _ALGORITHMS.items():
        version = bench.wandb.log_artifact(f"acme/speed/large-{name}", {"model.bin": source}, algorithm=name)
        bench.fresh(bench.curl, version)  # Once for nothing: the source is in the page cache from here on.
        got = bench.in_turns(
            {
                "curl": lambda version=version: bench.fresh(bench.curl, version),  # type: ignore[misc]
                "ours": lambda version=version: bench.fresh(bench.ours, version),  # type: ignore[misc]
                "sdk": lambda version=version: bench.fresh(bench.sdk, version),  # type: ignore[misc]
            }
        )
        ours, curl, sdk = got["ours"], got["curl"], got["sdk"]
        digest = size / _digest_speed(algorithm)
        bound = max(curl.seconds, digest)
        print(f"\n### {gib:g} GiB, {name}, {link}\n\n{_HEAD}")
        _row("Handoff, every byte proven", ours, "")
        _row("curl, nothing proven", curl, f"{ours.seconds / curl.seconds:.2f}")
        _row("the wandb SDK, sizes compared", sdk, f"{ours.seconds / sdk.seconds:.2f}")
        print(f"| the digest alone, in memory | {digest:.2f} s | | | {ours.seconds / digest:.2f} |")
        print(
            f"| the slower of curl and digest | {bound:.2f} s | | | {ours.seconds / bound:.2f} |", flush=True
        )
    source.unlink()


def many_small_files(bench: Bench, count: int) -> Membership:
    """Small files over TLS, every request later by the latency: ours, the SDK."""
    files = {f"shards/{number % 50:02}/{number:05}.bin": pattern(SMALL, number) for number in range(count)}
    version = bench.wandb.log_artifact("acme/speed/small", files)
    _sign_all(bench, version)
    before = bench.nginx.files_url, bench.nginx.api_url
    ports = [urlsplit(url).port or 443 for url in before]
    with delay.delayed(ports, LATENCY) as late:
        bench.nginx.files_url, bench.nginx.api_url = (f"https://127.0.0.1:{port}" for port in late)
        got = bench.in_turns(
            {
                "ours": lambda: bench.fresh(bench.ours, version),
                "sdk": lambda: bench.fresh(bench.sdk, version),
            }
        )
    bench.nginx.files_url, bench.nginx.api_url = before
    print(f"\n### {count:,} files of {SMALL / 1000:g} kB, {LATENCY * 1000:g} ms later each\n")
    print(_HEAD)
    _row("Handoff", got["ours"], "")
    _row("the wandb SDK", got["sdk"], f"{got['ours'].seconds / got['sdk'].seconds:.2f}")
    print(f"| signing the addresses, in both | {_sign_all(bench, version):.2f} s | | | |", flush=True)
    return version


def all_present(bench: Bench, versions: Sequence[tuple[str, Membership]]) -> None:
    """The second download into the same directory."""
    print(f"\n### Second run, all present\n\n{_HEAD}")
    for title, version in versions:
        with bench.home() as home, bench.home() as of_sdk:
            bench.ours(version, home / "ours")
            bench.sdk(version, home / "sdk", of_sdk)
            got = bench.in_turns(
                {
                    "ours": lambda home=home, version=version: bench.ours(version, home / "ours"),  # type: ignore[misc]
                    "sdk": lambda home=home, of_sdk=of_sdk, version=version: bench.sdk(  # type: ignore[misc]
                        version, home / "sdk", of_sdk
                    ),
                }
            )
        _row(f"{title}: Handoff", got["ours"], "")
        _row(f"{title}: the wandb SDK", got["sdk"], f"{got['ours'].seconds / got['sdk'].seconds:.2f}")


def graphql_calls(bench: Bench, version: Membership) -> None:
    """How many questions a download asks."""
    counts = {}
    for name, how in {"Handoff": bench.ours, "the wandb SDK": bench.sdk}.items():
        bench.wandb.requests.clear()
        bench.fresh(how, version)
        counts[name] = sum(each.path == "/graphql" for each in bench.wandb.requests)
    print("\n### GraphQL calls for a download\n")
    print("; ".join(f"{name}: {count}" for name, count in counts.items()), flush=True)


def cold_start(bench: Bench, version: Membership, *, cached: bool) -> None:
    """From nothing to the first byte of a file: the packaged Action, and pip, the SDK and its command."""
    starts = []
    for _ in range(max(bench.rounds, 5)):
        with bench.home() as home:
            command = clients.ours(bench.account, version.name, home / "got", home)
            argv = (sys.executable, "-I", "-X", "utf8", str(PYZ))
            starts.append(_first_byte(bench, [replace(command, argv=argv)], home))
    ours = statistics.median(starts)
    with bench.home() as home:
        python = str(home / "venv" / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        pip += [] if cached else ["--no-cache-dir"]
        download = clients.sdk(bench.account, home)
        wandb = (str(home / "venv" / "bin" / "wandb"), "artifact", "get", version.name, "--root", "got")
        environ = dict(os.environ)
        commands = [
            clients.Command((sys.executable, "-m", "venv", str(home / "venv")), environ),
            clients.Command((*pip, "wandb==0.31.0"), environ),
            replace(download, argv=wandb),
        ]
        sdk = _first_byte(bench, commands, home)
    print(f"\n### From nothing to the first byte ({'a full' if cached else 'no'} pip cache)\n")
    print("| the packaged Action | venv, pip install wandb, wandb artifact get | ratio |\n|---|---|---|")
    print(f"| {ours:.2f} s | {sdk:.2f} s | {ours / sdk:.3f} |", flush=True)


def _first_byte(bench: Bench, commands: Sequence[clients.Command], home: Path) -> float:
    """Seconds from the first command's start until nginx has sent of a file, by its own log."""
    log = bench.folder / "access.log"
    log.write_bytes(b"")
    began = time.time()
    for command in commands:
        measured.run(command.argv, command.environ, home)
    ends = [line.split() for line in log.read_text(encoding="ascii").splitlines()]
    first = min(float(at) - float(took) for at, took, path in ends if not path.startswith("/manifest"))
    return first - began


def _digest_speed(algorithm: DigestAlgorithm) -> float:
    """Bytes a second of the digest alone, of what is in memory and in no cache of the processor."""
    blocks = [bytes([number]) * MIB for number in range(256)]
    hashing = digester(algorithm)
    began = time.perf_counter()
    for block in blocks:
        hashing.update(block)
    hashing.digest()
    return len(blocks) * MIB / (time.perf_counter() - began)


def _sign_all(bench: Bench, version: Membership) -> float:
    """How long the server alone takes for all addresses; the files are in nginx's store afterwards."""
    began = time.perf_counter()
    for entry in version.artifact.manifest.entries:
        bench.wandb._addresses.of_file(version.artifact, entry)  # noqa: SLF001 - as W&B would
    return time.perf_counter() - began


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)


def _median(every: Sequence[Measured]) -> Measured:
    middle = statistics.median_low(each.seconds for each in every)
    found = next(each for each in every if each.seconds == middle)
    return replace(found, peak_mib=max(each.peak_mib for each in every))


def _row(name: str, got: Measured, ratio: str) -> None:
    print(
        f"| {name} | {got.seconds:.2f} s | {got.cpu_seconds:.2f} s | {got.peak_mib:.0f} MiB | {ratio} |",
        flush=True,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parts = ["limited", "large", "small", "again", "calls", "cold"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="some tables alone")
    parser.add_argument("--mib", type=int, default=2048, help="the large file (2048)")
    parser.add_argument("--files", type=int, default=5000, help="how many small files (5000)")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement; the median counts (3)")
    parser.add_argument("--cached", action="store_true", help="cold start: let pip use its cache")
    parser.add_argument("--folder", type=Path, help="on which disk (the one for temporary files)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _limited(options: argparse.Namespace) -> None:
    """The large file once more, with loopback itself held to the rate, in a network namespace of our own."""
    argv = [sys.executable, "-m", "benchmarks.download", "--inside", "--only", "limited"]
    argv += ["--mib", str(options.mib), "--rounds", str(options.rounds)]
    argv += ["--folder", str(options.folder)] if options.folder else []
    subprocess.run(["unshare", *([] if os.geteuid() == 0 else ["-r"]), "--net", *argv], check=True)


def _hold_loopback() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    held = ["tbf", "rate", LINK, "burst", "1mb", "latency", "20ms"]
    subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", *held], check=True)


def main() -> None:
    """Measure what is asked for."""
    options = _options()
    if options.inside:
        _hold_loopback()
    elif "limited" in options.only:
        _limited(options)
    rest = [each for each in options.only if each != "limited"]
    if not rest and not options.inside:
        return
    with contextlib.ExitStack() as ends:
        folder = Path(
            ends.enter_context(tempfile.TemporaryDirectory(prefix="handoff-download-", dir=options.folder))
        )
        wandb = ends.enter_context(nginx.running(folder))
        _measure(Bench(folder, wandb, options.rounds), options, rest)


def _measure(bench: Bench, options: argparse.Namespace, parts: Sequence[str]) -> None:
    if options.inside:
        one_large_file(bench, options.mib * MIB, "loopback held to 2 Gbit/s (tbf)")
    if "large" in parts:
        one_large_file(bench, options.mib * MIB, "loopback as it is")
    few = bench.wandb.log_artifact(
        "acme/speed/few", {f"{number}.bin": pattern(SMALL) for number in range(10)}
    )
    present = [("10 files of 20 kB", few)]
    if {"small", "again"} & set(parts):
        small = many_small_files(bench, options.files)
        present.append((f"{options.files:,} files of {SMALL / 1000:g} kB", small))
    if "again" in parts:
        source = write_pattern(bench.folder / "again.bin", options.mib * MIB)
        large = bench.wandb.log_artifact("acme/speed/again", {"model.bin": source})
        all_present(bench, [*present, (f"{options.mib / 1024:g} GiB", large)])
    if "calls" in parts:
        graphql_calls(bench, few)
    if "cold" in parts:
        cold_start(bench, few, cached=options.cached)


if __name__ == "__main__":
    main()
