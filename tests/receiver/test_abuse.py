"""Bad input and abuse, each over a real socket against the real `handoff serve`.

Whatever comes, it does not get past verification, it does not grow the process, and a good delivery is
answered meanwhile.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import re
import resource
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from receiver.ledger import Ledger
from receiver.signature import Encoding, sign
from tests.receiver.served import Served, serving
from tests.receiver.web_fakes import SECRET, TOKEN, body, flat
from tests.receiver.world import GITHUB_TOKEN, REPOSITORY, SENDER, wait_until

MAX_BODY = 262_144
MEGABYTE = 1_048_576
PATH = b"/webhooks/wandb"
_numbers = count()


@pytest.fixture(scope="module")
def environ() -> dict[str, str]:
    """An installation whose GitHub is away: what is accepted waits."""
    return {
        **SENDER,
        "GITHUB_TOKEN": GITHUB_TOKEN,
        "GITHUB_API_URL": "http://127.0.0.1:9",
        "HANDOFF_REPOSITORY": REPOSITORY,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where its ledger is."""
    return tmp_path_factory.mktemp("abused")


@pytest.fixture(scope="module")
def abused(environ: dict[str, str], folder: Path) -> Iterator[Served]:
    """One receiver, which all of it must leave whole."""
    with serving(environ, folder) as running:
        yield running
        assert running.process.poll() is None
        log = "".join(running.log)
        assert "Traceback" not in log
        assert log.count("Booting worker") == 1


@pytest.fixture
def served(abused: Served) -> Iterator[Served]:
    """That receiver, which answers a good delivery before and after."""
    assert good(abused) < 5
    yield abused
    assert good(abused) < 5


def promotion() -> bytes:
    """A good body that nobody sent before."""
    return body(flat(alias=f"alias-{next(_numbers)}"))


def signed(raw: bytes, **more: str) -> dict[str, str]:
    """The headers that vouch for these bytes."""
    return {"X-Wandb-Signature": sign(raw, SECRET.encode()), "Authorization": f"Bearer {TOKEN}", **more}


def good(served: Served) -> float:
    """Have a good delivery accepted; the seconds that it took."""
    raw = promotion()
    begun = time.monotonic()
    answer = requests.post(served.webhook_url, data=raw, headers=signed(raw), timeout=20)
    assert answer.status_code == 202, answer.text
    return time.monotonic() - begun


def connect(served: Served) -> socket.socket:
    """A client's socket."""
    return socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2])), timeout=20)


def head(raw: bytes, *lines: str, method: str = "POST", version: str = "1.1") -> bytes:
    """The head of a rightly signed request, with these lines for its length."""
    first = f"{method} {PATH.decode()} HTTP/{version}"
    headers = [f"{name}: {value}" for name, value in signed(raw).items()]
    return "\r\n".join((first, "Host: x", *headers, *lines, "", "")).encode()


def tell(served: Served, *pieces: bytes, end: bool = False) -> list[int]:
    """Send bytes as they are; the statuses of all answers until the connection ends or nothing more comes."""
    got = b""
    with connect(served) as client:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                client.sendall(piece)
            if end:
                client.shutdown(socket.SHUT_WR)
        client.settimeout(0.5 if not end else 20)
        with contextlib.suppress(ConnectionError, TimeoutError):
            while piece := client.recv(65_536):
                got += piece
    return [int(part.split(b" ", 1)[0]) for part in re.split(rb"HTTP/1\.[01] ", got)[1:]]


def worker_of(served: Served) -> int:
    """The process that serves."""
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text("ascii")
    return int(children.split()[0])


def memory(served: Served) -> int:
    """Bytes that the serving process has in memory."""
    status = Path(f"/proc/{worker_of(served)}/status").read_text("ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def kept(folder: Path) -> int:
    """How many deliveries are in the ledger."""
    with Ledger.read_only(f"sqlite:///{folder}/handoff.db") as ledger:
        return len(ledger.deliveries(limit=100_000))


# --- lengths that lie


@pytest.mark.parametrize("end", [True, False], ids=["still-listens", "gone"])
def test_a_truncated_body(served: Served, folder: Path, end: bool) -> None:
    """A body that ends early is answered 400 where somebody listens, and nothing of it is kept. [B3]"""
    raw, before = promotion(), kept(folder)

    statuses = tell(served, head(raw, f"Content-Length: {len(raw)}"), raw[:-1], end=end)
    assert statuses == ([400] if end else [])
    assert kept(folder) == before


LENGTHS = {
    "short": (["Content-Length: {short}"], [401, 400]),
    "negative": (["Content-Length: -{right}"], [400]),
    "plus": (["Content-Length: +{right}"], [400]),
    "words": (["Content-Length: many"], [400]),
    "none": ([], [401, 400]),  # An empty body; what follows it is no request.
    "hex": (["Content-Length: 0x{right}"], [400]),
    "list": (["Content-Length: {right}, {right}"], [400]),
    "two": (["Content-Length: {right}", "Content-Length: {right}"], [400]),
    "two-that-differ": (["Content-Length: {right}", "Content-Length: 0"], [400]),
    "with-chunked": (["Content-Length: {right}", "Transfer-Encoding: chunked"], [400]),
    "chunked-with": (["Transfer-Encoding: chunked", "Content-Length: 0"], [400]),
    "chunked-in-disguise": (["Transfer-Encoding : chunked", "Content-Length: {right}"], [400]),
    "chunked-twice": (["Transfer-Encoding: chunked, chunked"], [400]),
    "gzip-chunked": (["Transfer-Encoding: gzip, chunked"], [400]),
    "unknown-coding": (["Transfer-Encoding: xchunked"], [400]),
    "underscore": (["Content_Length: {right}"], [401, 400]),
}


@pytest.mark.parametrize(("lines", "statuses"), LENGTHS.values(), ids=LENGTHS)
def test_a_wrong_length(served: Served, folder: Path, lines: list[str], statuses: list[int]) -> None:
    """Where the length is wrong or has two readings, nothing is taken, and the connection ends. [B3]"""
    raw, before = promotion(), kept(folder)
    values = {"right": len(raw), "short": len(raw) - 1}

    first = head(raw, *(line.format(**values) for line in lines))
    assert tell(served, first, raw, end=statuses[0] == 401) == statuses
    assert kept(folder) == before


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 4"),
        ("Content-Length: 0", "Content-Length: 4"),
        ("Transfer-Encoding:\x0bchunked", "Content-Length: 4"),
    ],
    ids=["length-first", "chunked-first", "two-lengths", "odd-space"],
)
def test_a_smuggled_request(served: Served, folder: Path, lines: tuple[str, ...]) -> None:
    """A second, good request in what one reading takes for the first one's body is never answered."""
    inner = promotion()
    second = head(inner, f"Content-Length: {len(inner)}") + inner
    before = kept(folder)

    assert tell(served, head(b"0\r\n\r\n", *lines) + b"0\r\n\r\n" + second) == [400]
    assert kept(folder) == before


def test_two_honest_requests(served: Served) -> None:
    """Requests that follow each other on one connection, at once or not, are two deliveries."""
    pair = [promotion(), promotion()]
    requests_made = [head(raw, f"Content-Length: {len(raw)}") + raw for raw in pair]

    assert tell(served, b"".join(requests_made), end=True) == [202, 202]


# --- chunks


def chunks(raw: bytes, size: int) -> bytes:
    """A body in chunks of this size."""
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_good_chunks(served: Served, size: int) -> None:
    """A chunked body is taken, whatever its pieces. [B2]"""
    raw = promotion()

    assert tell(served, head(raw, "Transfer-Encoding: chunked") + chunks(raw, size), end=True) == [202]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda raw: b"-1\r\n" + raw,
        lambda raw: b"zz\r\n" + raw,
        lambda raw: b"%x\r\n" % (len(raw) - 1) + raw + b"\r\n0\r\n\r\n",
        lambda raw: b"%x\r\n" % len(raw) + raw + b"0\r\n\r\n" * 200,
        lambda raw: b"%x\n" % len(raw) + raw + b"\n0\n\n" + b"x" * 300,
        lambda _raw: b"1" * 5000,
        lambda raw: chunks(raw, 9)[:-2] + b"Content-Length: 1\r\n\r\n",
    ],
    ids=["negative", "no-number", "short", "no-line-end", "bare-line-ends", "endless-size", "bad-trailer"],
)
def test_bad_chunks(served: Served, folder: Path, wrong: Any) -> None:
    """A chunk that is none is answered 400, and nothing is kept. [B2]"""
    raw, before = promotion(), kept(folder)

    assert tell(served, head(raw, "Transfer-Encoding: chunked") + wrong(raw)) == [400]
    assert kept(folder) == before


def test_chunks_that_grow_past_the_limit(served: Served) -> None:
    """A chunked body is refused as it passes the limit, and is not taken for its beginning. [B2]"""
    raw = b" " * MAX_BODY
    pieces = [b"8000\r\n" + b" " * 0x8000 + b"\r\n"] * 20

    assert tell(served, head(raw, "Transfer-Encoding: chunked"), *pieces) == [413]
    assert tell(served, head(raw, "Transfer-Encoding: chunked"), b"ffffffffffff\r\n") == [413]


def test_a_gigabyte(served: Served) -> None:
    """A gigabyte, announced or in chunks, is refused before it comes, and is not held. [B1, B2]"""
    before, block = memory(served), b" " * MEGABYTE
    chunk = b"%x\r\n" % len(block) + block + b"\r\n"
    for length, piece in (("Content-Length: 1073741824", block), ("Transfer-Encoding: chunked", chunk)):
        with connect(served) as client:
            client.sendall(head(block, length))
            sent = 0
            with contextlib.suppress(ConnectionError):
                for _ in range(1024):
                    client.sendall(piece)
                    sent += 1
        assert sent < 64
        assert tell(served, head(block, length), piece[:100]) == [413]
    assert memory(served) - before < 16 * MEGABYTE


# --- slow, many, gone


@contextlib.contextmanager
def dripping(served: Served, clients: int) -> Iterator[None]:
    """Clients that send a byte a second each, of head and body."""
    raw = promotion()
    bodies = head(raw, f"Content-Length: {len(raw)}") + raw
    stop = threading.Event()
    with contextlib.ExitStack() as open_ones:
        slow = [open_ones.enter_context(connect(served)) for _ in range(clients)]
        for number, client in enumerate(slow):
            client.sendall(bodies[: number % len(bodies)] or b"P")

        def drip() -> None:
            while not stop.wait(1.0):
                for client in slow:
                    with contextlib.suppress(OSError):
                        client.sendall(b"a")

        dripper = threading.Thread(target=drip)
        dripper.start()
        try:
            yield
        finally:
            stop.set()
            dripper.join()


def test_slow_senders(served: Served) -> None:
    """Many that send a byte a second hold no thread: good deliveries are answered within a second. [B3]"""
    with dripping(served, 400):
        for _ in range(8):
            assert good(served) < 1
            time.sleep(0.25)  # While they go on.


@pytest.fixture
def many_files() -> Iterator[int]:
    """As many open files for the tests as may be; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield 65_536 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ten_thousand_connections(served: Served, many_files: int) -> None:
    """With ten thousand clients that never finish, good deliveries are answered within a second."""
    before = memory(served)
    with contextlib.ExitStack() as open_ones:
        for number in range(min(10_500, many_files - 500)):
            client = open_ones.enter_context(connect(served))
            client.sendall(b"POST /webhooks/wandb HTTP/1.1\r\nHost: x\r\nA:")
            if number % 2_000 == 0:
                assert good(served) < 1
        assert good(served) < 1
        grown = memory(served) - before
    assert grown < 64 * MEGABYTE, grown


LOW = "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (150, 150)); "
LOW += "from receiver import cli{}; sys.exit(cli.main())"


@pytest.mark.parametrize("reserve", ["", ", worker; worker._RESERVED = -100"], ids=["minded", "beyond"])
def test_more_connections_than_descriptors(environ: dict[str, str], tmp_path: Path, reserve: str) -> None:
    """Where files run out, whoever waited longest goes; the worker lives, and answers."""
    with (
        serving(environ, tmp_path, program=("-c", LOW.format(reserve))) as small,
        contextlib.ExitStack() as open_ones,
    ):
        for _ in range(300):
            open_ones.enter_context(connect(small)).sendall(b"POST ")
        assert good(small) < 2
        small.wait_for_log("to make room")
        assert "".join(small.log).count("Booting worker") == 1


def test_a_client_that_does_not_wait(served: Served, folder: Path) -> None:
    """Who goes before the answer has delivered all the same; told again, it is a duplicate. [B12]"""
    raw, before = promotion(), kept(folder)
    with connect(served) as client:
        client.sendall(head(raw, f"Content-Length: {len(raw)}") + raw)
    wait_until(lambda: kept(folder) == before + 1)

    again = requests.post(served.webhook_url, data=raw, headers=signed(raw), timeout=20)
    assert (again.status_code, again.json()["status"]) == (200, "duplicate")
    assert again.json()["dispatches"] == [{"repository": REPOSITORY, "event_type": "ADD_ARTIFACT_ALIAS"}]
    assert kept(folder) == before + 1


# --- bodies


def test_a_gzip_bomb(served: Served) -> None:
    """A compressed body is not unpacked, whoever signed it, and whatever its header says. [B4]"""
    bomb, before = gzip.compress(b" " * 200 * MEGABYTE), memory(served)

    for coding, status in (("gzip", 415), ("identity", 400)):
        headers = signed(bomb, **{"Content-Encoding": coding})
        answer = requests.post(served.webhook_url, data=bomb, headers=headers, timeout=20)
        assert answer.status_code == status
    assert memory(served) - before < 16 * MEGABYTE


BODIES = {
    "empty": b"",
    "deep-arrays": b"[" * 100_000 + b"]" * 100_000,
    "deep-objects": b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
    "unclosed": b"[" * 200_000,
    "doubled-key": b'{"event_type": "A", "event_type": "B"}',
    "doubled-key-escaped": b'{"alias": "A", "al\\u0069as": "B"}',
    "nan": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "huge-float": b'{"a": 1e400}',
    "huge-integer": b'{"a": ' + b"9" * 100_000 + b"}",
    "lone-surrogate": b'{"alias": "\\ud800"}',
    "turned-surrogates": b'{"alias": "\\udc00\\ud800"}',
    "nul": b'{"alias": "a\\u0000"}',
    "raw-nul": b'{"alias": "\x00"}',
    "invalid-utf-8": b'{"alias": "\xff\xfe"}',
    "overlong-utf-8": b'{"alias": "\xc0\xaf"}',
    "utf-16": '{"alias": "a"}'.encode("utf-16"),
    "byte-order-mark": b"\xef\xbb\xbf{}",
    "two-values": b"{}{}",
    "trailing-comma": b'{"a": 1,}',
    "comment": b"{} // no",
    "quotes": b'{"' + b'\\"' * 100_000,
}


@pytest.mark.parametrize("raw", BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_json(served: Served, folder: Path, raw: bytes) -> None:
    """However it is signed, what is not JSON with one reading is a 400, at once. [B5]"""
    before, begun = kept(folder), time.monotonic()
    answer = requests.post(served.webhook_url, data=raw, headers=signed(raw), timeout=20)

    assert (answer.status_code, answer.json()["reason"]) == (400, "not-json")
    assert time.monotonic() - begun < 1
    assert kept(folder) == before


# --- headers


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        (b"A: " + b"x" * 102_400 + b"\r\n", 431),
        (b"A: " + b"x" * 9_000 + b"\r\n", 431),
        (b"".join(b"A%d: b\r\n" % number for number in range(1_000)), 431),
        (b"A: b\nC: d\r\n", 400),
        (b"A: b\r\n folded: c\r\n", 400),
        (b"A: \x00\r\n", 400),
        (b"A\x00: b\r\n", 400),
        (b": b\r\n", 400),
        (b"\xff\xff\r\n", 400),
        (b"A: b\rX-Wandb-Signature: c\r\n", 400),
    ],
    ids=["100-KiB", "9-KB", "1000", "bare-lf", "folded", "nul", "nul-name", "no-name", "no-colon", "bare-cr"],
)
def test_bad_headers(served: Served, extra: bytes, status: int) -> None:
    """Headers that are too many, too long or none are refused, beside a right signature too. [B10]"""
    raw = promotion()
    request = head(raw, f"Content-Length: {len(raw)}").replace(b"Host: x\r\n", b"Host: x\r\n" + extra) + raw

    assert tell(served, request) == [status]


def test_two_signature_headers(served: Served) -> None:
    """Two headers are a list, of which one must be good; two tokens are one that is wrong. [A8, A9]"""

    def told(*lines: str) -> list[int]:
        raw = promotion()
        right = sign(raw, SECRET.encode())
        filled = "\r\n".join(line.format(right=right) for line in lines)
        first = f"POST {PATH.decode()} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(raw)}\r\n"
        return tell(served, f"{first}{filled}\r\n\r\n".encode() + raw, end=True)

    token, wrong = f"Authorization: Bearer {TOKEN}", "X-Wandb-Signature: " + "0" * 64
    assert told("X-Wandb-Signature: {right}", wrong, token) == [202]
    assert told(wrong, "X-Wandb-Signature: {right}", token) == [202]
    assert told(wrong, wrong, token) == [401]
    assert told("X-Wandb-Signature: {right}", token, token) == [401]
    assert told("X_Wandb_Signature: {right}", token) == [401]


def test_signatures_of_another_length(served: Served, folder: Path) -> None:
    """What has another encoding's or hash's length, or is a part of the right one, is a 401. [A4]"""
    raw, before = promotion(), kept(folder)
    right = sign(raw, SECRET.encode())
    in_base64 = sign(raw, SECRET.encode(), Encoding.BASE64)
    wrong = [
        *(right[:44], right[:40], right[:63], right + "0", right * 2, in_base64 + "=" * 20, in_base64[:43]),
        *(
            base64.b64encode(right.encode()).decode(),
            "sha1=" + right[:40],
            "sha512=" + right * 2,
            "0x" + right,
        ),
    ]
    for signature in wrong:
        headers = signed(raw, **{"X-Wandb-Signature": signature})
        answer = requests.post(served.webhook_url, data=raw, headers=headers, timeout=20)
        assert (answer.status_code, signature) == (401, signature)
        assert right not in answer.text
    assert kept(folder) == before


# --- floods


def flood(served: Served, number: int, headers: Mapping[str, str], raw: bytes) -> set[int]:
    """So many requests on one connection; their statuses."""
    with requests.Session() as session:
        session.trust_env = False
        return {
            session.post(served.webhook_url, data=raw, headers=dict(headers), timeout=20).status_code
            for _ in range(number)
        }


def test_a_flood_of_wrong_secrets(served: Served, folder: Path) -> None:
    """Thousands of wrong signatures are refused, their traces bounded; good deliveries go on. [A17]"""
    raw = json.dumps({"a": list(range(490)), "b": "é" * 6_000}).encode()  # What costs most to refuse.
    headers = signed(raw, **{"X-Wandb-Signature": ",".join(["0" * 64] * 10)})
    flood(served, 50, headers, raw)
    memory_before, kept_before = memory(served), kept(folder)
    with ThreadPoolExecutor(8) as pool:
        floods = [pool.submit(flood, served, 300, headers, raw) for _ in range(8)]
        taken = []
        while not all(one.done() for one in floods):
            taken.append(good(served))
        assert {status for one in floods for status in one.result()} == {401}

    assert max(taken) < 2
    assert kept(folder) == kept_before + len(taken)
    assert memory(served) - memory_before < 16 * MEGABYTE
    with Ledger.read_only(f"sqlite:///{folder}/handoff.db") as ledger:
        assert len(ledger.rejections(limit=10_000)) <= 1_000


# --- other requests


@pytest.mark.parametrize(
    ("first", "status"),
    [
        ("GET /webhooks/wandb HTTP/1.1", 405),
        ("HEAD /webhooks/wandb HTTP/1.1", 405),
        ("PUT /webhooks/wandb HTTP/1.1", 405),
        ("DELETE /webhooks/wandb HTTP/1.1", 405),
        ("OPTIONS * HTTP/1.1", 404),
        ("TRACE /webhooks/wandb HTTP/1.1", 405),
        ("CONNECT 127.0.0.1:22 HTTP/1.1", 404),
        ("GARBAGE /webhooks/wandb HTTP/1.1", 405),
        ("post /webhooks/wandb HTTP/1.1", 400),
        ("POST /nowhere HTTP/1.1", 404),
        ("POST /webhooks/wandb/ HTTP/1.1", 404),
        ("POST //webhooks/wandb HTTP/1.1", None),
        ("POST /webhooks/../webhooks/wandb HTTP/1.1", 404),
        ("POST /webhooks%2fwandb HTTP/1.1", None),
        ("POST /webhooks/wandb%00 HTTP/1.1", 404),
        ("POST /%ff%fe HTTP/1.1", 404),
        ("POST /../../etc/passwd HTTP/1.1", 404),
        ("POST webhooks/wandb HTTP/1.1", 400),
        ("POST http://[::1/webhooks/wandb HTTP/1.1", 400),
        ("POST /webhooks/wandb HTTP/2.0", 400),
        ("POST /webhooks/wandb HTTP/9", 400),
        ("POST /webhooks/wandb", 400),
        ("POST /webhooks/wandb\x00 HTTP/1.1", 400),
        ("POST /" + "x" * 5_000 + " HTTP/1.1", 414),
        ("PRI * HTTP/2.0", 400),
    ],
    ids=lambda value: str(value)[:40],
)
def test_other_requests(served: Served, folder: Path, first: str, status: int | None) -> None:
    """Another method, path or version finds nothing here; another spelling of ours is verified. [B10]"""
    before = kept(folder)
    got = tell(served, f"{first}\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}".encode(), end=True)

    assert got[:1] == [status or 401]
    assert kept(folder) == before


def test_other_ways_to_say_the_same(served: Served) -> None:
    """HTTP/1.0 and the absolute form, as some proxies have it, are taken; a Host counts for nothing."""
    for change in (
        (b" HTTP/1.1", b" HTTP/1.0"),
        (PATH, b"http://elsewhere.example" + PATH),
        (PATH, PATH + b"?secret=1#x"),
        (b"Host: x", b"Host: ][;'"),
    ):
        raw = promotion()
        assert tell(served, head(raw, f"Content-Length: {len(raw)}").replace(*change) + raw, end=True) == [
            202
        ]


def test_a_client_that_speaks_tls(served: Served) -> None:
    """A TLS greeting on the plain port is answered, not waited for."""
    assert tell(served, b"\x16\x03\x01\x00\xf1\x01\x00\x00\xed\x03\x03" + bytes(range(240)), end=True) == [
        400
    ]
