"""The stand-in for W&B serves files as W&B's bucket does, or wrong on demand."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.stand_ins.conftest import Clock
from tests.stand_ins.wandb import WandbStandIn
from tests.stand_ins.wandb_client import (
    BY_ID,
    CONTENT,
    REGISTRY,
    SOURCE,
    address,
    ask,
    get,
    post,
)


def test_an_address_ends_by_the_clock(wandb: WandbStandIn, clock: Clock) -> None:
    """
    A signed address works until its lifetime is over, then it is 403; a new one works again.
    """
    version = wandb.log_artifact(SOURCE, {"a": CONTENT})
    wandb.url_lifetime = timedelta(minutes=10)
    url = address(wandb, version)

    clock.move(timedelta(minutes=10) - timedelta(milliseconds=1))
    assert get(url).content == CONTENT
    clock.move(timedelta(milliseconds=1))
    assert get(url).status_code == 403
    assert get(address(wandb, version)).content == CONTENT


def change_signature(url: str) -> str:
    return url[:-1] + ("0" if url[-1] != "0" else "1")


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change_signature, id="another signature"),
        pytest.param(lambda url: url.partition("?")[0], id="none"),
        pytest.param(lambda url: url.replace("X-Expires=", "X-Expires=9"), id="a later end"),
        pytest.param(lambda url: url.replace("/0/", "/1/"), id="another file"),
    ],
)
def test_an_address_cannot_be_changed(wandb: WandbStandIn, change: Callable[[str], str]) -> None:
    """
    Whatever is changed in a signed address, it is refused.
    """
    version = wandb.log_artifact(SOURCE, {"a": CONTENT, "b": b"other"})

    assert get(change(address(wandb, version))).status_code == 403


def test_a_key_sent_to_the_file_store_is_an_error(wandb: WandbStandIn) -> None:
    """
    An Authorization header beside the signature is answered 400, as S3 does, and the request is on record.
    """
    url = address(wandb, wandb.log_artifact(SOURCE, {"a": CONTENT}))

    answer = requests.get(url, auth=("api", wandb.api_key), timeout=5)

    assert (answer.status_code, "Only one auth mechanism" in answer.text) == (400, True)
    assert (wandb.requests[-1].origin, "authorization" in wandb.requests[-1].headers) == ("files", True)


def test_an_address_is_for_get(wandb: WandbStandIn) -> None:
    """
    The signature covers the method: asking for the head alone is refused.
    """
    url = address(wandb, wandb.log_artifact(SOURCE, {"a": CONTENT}))

    assert requests.head(url, timeout=5).status_code == 403


@pytest.mark.parametrize(
    "case",
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, CONTENT, "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=5-2", 200, CONTENT, None),
        ("bytes=0-1,4-5", 200, CONTENT, None),
        ("bytes=-", 200, CONTENT, None),
        ("lines=1-2", 200, CONTENT, None),
    ],
    ids=lambda case: case[0],
)
@pytest.mark.parametrize("on_disk", [False, True], ids=["bytes", "file"])
def test_ranges(
    wandb: WandbStandIn, tmp_path: Path, case: tuple[str, int, bytes, str | None], on_disk: bool
) -> None:
    """
    One range is answered with exactly that part; one outside the file is 416; anything odd with all of it.
    """
    wanted, status, body, content_range = case
    (tmp_path / "a").write_bytes(CONTENT)
    url = address(wandb, wandb.log_artifact(SOURCE, {"a": tmp_path / "a" if on_disk else CONTENT}))

    answer = get(url, Range=wanted)

    assert (answer.status_code, answer.content) == (status, body)
    assert answer.headers.get("Content-Range") == content_range


def test_a_range_of_another_content_is_not_given(wandb: WandbStandIn) -> None:
    """
    With If-Range, a part comes only of the content that is meant; else all of it.
    """
    url = address(wandb, wandb.log_artifact(SOURCE, {"a": CONTENT}))
    etag = get(url).headers["ETag"]

    assert get(url, Range="bytes=0-3", If_Range=etag).status_code == 206
    assert get(url, Range="bytes=0-3", If_Range='"other"').status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/artifacts/acme/{digest}",
        "/artifactsV2/default/acme/{id}/{digest}",
        "/artifactsV2/default/acme/training/nature/{id}/{digest}/a",
        "/artifactsV2/default/acme-org/wandb-registry-model/nature/{id}/{id}/{digest}/a",
    ],
)
def test_the_api_sends_on_to_the_file(wandb: WandbStandIn, path: str) -> None:
    """
    The fallback addresses want a key and answer with a redirect to the signed one, on the other origin.
    """
    version = wandb.log_artifact(SOURCE, {"a": CONTENT})
    wandb.link(version, REGISTRY)
    eve = wandb.add_user("eve", entities=("eve",)).api_key
    digest = version.artifact.manifest.entries[0].hex_digest
    url = wandb.url + path.format(id=version.id, digest=digest)

    def answer(auth: tuple[str, str] | None) -> requests.Response:
        return requests.get(url, auth=auth, allow_redirects=False, timeout=5)

    assert answer(None).status_code == 401
    assert answer(("api", eve)).status_code == 404
    to = answer(("api", wandb.api_key))
    assert to.status_code == 307
    assert to.headers["Location"].startswith(wandb.files_url + "/")
    assert wandb.files_url != wandb.url
    assert get(to.headers["Location"]).content == CONTENT


@pytest.mark.parametrize(
    ("how", "status", "body"),
    [
        ({"status": 503}, 503, b'{"error": {"message": "on demand"}}'),
        ({"status": 404, "body": b"<Error/>"}, 404, b"<Error/>"),
        ({"flip_byte": 0}, 200, b"\xcf123456789"),
        ({"longer": b"!"}, 200, CONTENT + b"!"),
        ({"body": b"other"}, 200, b"other"),
        ({"stall": 0}, 200, CONTENT),
    ],
    ids=["status", "status and body", "flipped byte", "longer", "another body", "stall"],
)
def test_a_fault_spoils_one_answer(
    wandb: WandbStandIn, how: dict[str, Any], status: int, body: bytes
) -> None:
    """
    The next answer for this file is spoiled as asked, its length told as sent; the next one is good.
    """
    url = address(wandb, wandb.log_artifact(SOURCE, {"a": CONTENT}))
    wandb.faults.add("file:a", **how)

    spoiled = get(url)

    assert (spoiled.status_code, spoiled.content) == (status, body)
    assert get(url).content == CONTENT


def test_a_fault_may_add_headers(wandb: WandbStandIn) -> None:
    """
    Retry-After and other headers come with the fault.
    """
    url = address(wandb, wandb.log_artifact(SOURCE, {"a": CONTENT}))
    wandb.faults.add("file:*", status=429, retry_after=7, headers={"X-Why": "rate"})

    headers = get(url).headers

    assert (headers["Retry-After"], headers["X-Why"]) == ("7", "rate")


@pytest.mark.parametrize("how", [{"cut_after": 4}, {"reset": True}], ids=["cut", "reset"])
def test_a_fault_may_break_the_connection(wandb: WandbStandIn, how: dict[str, Any]) -> None:
    """
    A body cut short, or a connection reset, is an error to the client.
    """
    url = address(wandb, wandb.log_artifact(SOURCE, {"a": CONTENT}))
    wandb.faults.add("file:a", **how)

    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        get(url)
    assert get(url).content == CONTENT


def test_a_stalled_answer_waits(wandb: WandbStandIn) -> None:
    """
    A stall lets the client's own timeout strike.
    """
    url = address(wandb, wandb.log_artifact(SOURCE, {"a": CONTENT}))
    wandb.faults.add("file:a", stall=3600, cut_after=4)

    with pytest.raises(requests.ConnectionError, match="Read timed out"):
        requests.get(url, timeout=0.1)


def test_a_stall_ends_with_the_server(clock: Clock) -> None:
    """
    Nobody is left hanging when the server stops.
    """
    struck, ended = threading.Event(), threading.Event()
    with WandbStandIn(now=clock) as wandb:
        url = address(wandb, wandb.log_artifact(SOURCE, {"a": CONTENT}))
        wandb.faults.add("file:a", stall=3600, then=struck.set)

        def fetch() -> None:
            assert requests.get(url, timeout=60).content == CONTENT
            ended.set()

        client = threading.Thread(target=fetch, daemon=True)
        client.start()
        assert struck.wait(10)

    client.join(10)
    assert ended.is_set()


def test_a_fault_may_ignore_the_range_or_compress(wandb: WandbStandIn) -> None:
    """
    A range ignored is 200 with everything; a body compressed unasked says so.
    """
    url = address(wandb, wandb.log_artifact(SOURCE, {"a": CONTENT}))
    wandb.faults.add("file:a", ignore_range=True)
    wandb.faults.add("file:a", gzip=True)

    ignored = get(url, Range="bytes=2-3")
    with requests.get(url, timeout=5, stream=True) as compressed:
        raw = compressed.raw.read(decode_content=False)

    assert (ignored.status_code, ignored.content) == (200, CONTENT)
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(raw) == CONTENT


def test_a_fault_waits_and_ends_as_told(wandb: WandbStandIn) -> None:
    """
    ``after`` lets answers pass, ``times`` bounds the damage, ``then`` changes the world in between.
    """
    version = wandb.log_artifact(SOURCE, {"a": CONTENT})
    wandb.faults.add(
        "graphql:ById", after=1, times=2, status=502, then=lambda: wandb.add_tag(version, "struck")
    )

    answers = [post(wandb, BY_ID, id=version.id).status_code for _ in range(4)]

    assert answers == [200, 502, 502, 200]
    assert version.artifact.tags == ["struck"]


@pytest.mark.parametrize("target", ["manifest", "download:a", "graphql:ById"])
def test_every_kind_of_answer_can_fail(wandb: WandbStandIn, target: str) -> None:
    """
    Manifests, the API's redirects and GraphQL fail on demand, each by its own name.
    """
    version = wandb.log_artifact(SOURCE, {"a": CONTENT})
    manifest_url = ask(wandb, BY_ID, id=version.id)["artifact"]["currentManifest"]["file"]["directUrl"]
    digest = version.artifact.manifest.entries[0].hex_digest
    asks: dict[str, Callable[[], requests.Response]] = {
        "manifest": lambda: get(manifest_url),
        "download:a": lambda: requests.get(
            f"{wandb.url}/artifacts/acme/{digest}", auth=("api", wandb.api_key), timeout=5
        ),
        "graphql:ById": lambda: post(wandb, BY_ID, id=version.id),
    }
    wandb.faults.add(target, status=500)

    assert {name: answer().status_code for name, answer in asks.items()} == {
        **dict.fromkeys(asks, 200),
        target: 500,
    }


@pytest.mark.parametrize(
    "how", [{"reset": True}, {"cut_after": 10}, {"stall": 60}], ids=["reset", "cut", "stall"]
)
def test_the_api_too_may_break_off(clock: Clock, how: dict[str, Any]) -> None:
    """
    GraphQL answers can be reset, cut short or held back, and the server says nothing about it.
    """
    with WandbStandIn(now=clock) as wandb:
        wandb.faults.add("graphql:ById", **how)
        with pytest.raises(requests.RequestException):
            requests.post(
                f"{wandb.url}/graphql",
                json={"query": BY_ID, "variables": {"id": "x"}},
                auth=("api", wandb.api_key),
                timeout=(5, 0.2),
            )


def test_the_api_may_answer_what_is_not_so(wandb: WandbStandIn) -> None:
    """
    A GraphQL answer can be replaced, with its status left at 200.
    """
    wandb.faults.add("graphql:ById", body=b'{"errors": ["overloaded"]}')

    answer = post(wandb, BY_ID, id="x")

    assert (answer.status_code, answer.json()) == (200, {"errors": ["overloaded"]})
