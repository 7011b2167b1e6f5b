"""Whatever happens to an answer: what lies under the final name is right to the last byte, or not there."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from registry_client.errors import RegistryError
from tests.client_faults import tricks
from tests.client_faults.conftest import FILES
from tests.client_faults.proxy import Trick
from tests.client_faults.trees import MIB, tree, wanted
from tests.client_faults.world import World, is_file, is_manifest, is_question
from tests.stand_ins.wandb import Membership

LARGE, SMALL = "weights/model.bin", "weights/bias.bin"
# What a client with patience gets over, when it happens once to a file.
PASSING: dict[str, Trick] = {
    "reset at once": tricks.reset_after(0),
    "reset after 50 kB": tricks.reset_after(50_000),
    "closed after 50 kB": tricks.closed_after(50_000),
    "dropped before the answer": tricks.dropped,
    "range ignored": tricks.range_ignored,
    "the URL is not taken any more": tricks.refused(403),
    "401": tricks.refused(401),
    "410, expired": tricks.refused(410),
    "429 with Retry-After": tricks.refused(429, retry_after="1"),
    "503": tricks.refused(503),
    "bytes after the end": tricks.surplus(100),
    "no length, and too early an end": tricks.unannounced(1000),
}
# What may be the file's own fault: got over, or refused in words of ours; never taken.
DOUBTFUL: dict[str, Trick] = {
    "a byte wrong": tricks.flipped(10_000),
    "the last byte wrong": tricks.flipped(99_999),
    "a login page with 200": tricks.login_page,
    "shorter by its own word": tricks.shorter(1),
    "longer by its own word": tricks.longer(1),
    "gzip unasked": tricks.gzipped,
    "204": tricks.refused(204),
    "206 where nothing was asked": tricks.refused(206),
    "206 with garbage for a range": tricks.refused(206, content_range="bytes 5-x/y"),
    "206 of another part": tricks.refused(206, content_range="bytes 5-20/100000"),
    "304": tricks.refused(304),
    "a redirect to nowhere": tricks.refused(302, location=""),
    "a redirect into the clear": tricks.refused(302, location="http://files.example/model"),
    "404": tricks.refused(404),
    "416": tricks.refused(416),
    "500 for ever": tricks.refused(500),
    "hardly HTTP": tricks.garbage,
}
BOTH = [pytest.param(path, id=id_) for path, id_ in ((LARGE, "in parts"), (SMALL, "in one piece"))]


def _failure(world: World, model: Membership, into: Path) -> str | None:
    """What our error says, if it comes to one."""
    try:
        world.fetch(model, into)
    except RegistryError as error:
        return str(error)
    return None


def check_nothing(into: Path) -> None:
    """
    Neither the directory, nor anything beside it that does not begin with a dot.
    """
    assert [path for path in into.parent.iterdir() if not path.name.startswith(".")] == []


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_got_over(
    world: World, model: Membership, tmp_path: Path, name: str, path: str
) -> None:
    """
    It happens to the first answer for a file, and the download is whole all the same.
    """
    spoiling = world.files.spoil(PASSING[name], where=is_file(model, path))

    world.fetch(model, tmp_path / "here")

    assert spoiling.played == 1
    assert tree(tmp_path / "here") == wanted(FILES)


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_is_wrong_once_is_never_taken(
    world: World, model: Membership, tmp_path: Path, name: str, path: str
) -> None:
    """
    The tree is right, or not there with an error that names the file; the next try is right in any case.
    """
    spoiling = world.files.spoil(DOUBTFUL[name], where=is_file(model, path))

    error = _failure(world, model, tmp_path / "here")

    assert spoiling.played == 1
    if error is not None:
        assert path in error
        world.fetch(model, tmp_path / "here")
    assert tree(tmp_path / "here") == wanted(FILES)


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_is_wrong_for_good_is_said(
    world: World, model: Membership, tmp_path: Path, name: str, path: str
) -> None:
    """
    After some tries, not for ever, an error names the file and shows no signed address.
    """
    world.files.spoil(DOUBTFUL[name], where=is_file(model, path), times=None)

    error = _failure(world, model, tmp_path / "here")

    assert error is not None
    assert path in error
    assert "X-Signature" not in error
    assert len(world.files.requests) < 100
    check_nothing(tmp_path / "here")


@pytest.mark.parametrize(
    "trick",
    [
        pytest.param(tricks.another_range(4096), id="another part, and says so"),
        pytest.param(tricks.lying_range(4096), id="another part under the name of the one asked for"),
        pytest.param(tricks.part_unasked, id="a part that is not named"),
    ],
)
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
def test_the_wrong_part_is_never_taken(
    world: World, model: Membership, tmp_path: Path, trick: Trick, times: int | None
) -> None:
    """
    Asked to go on in the middle, the store sends something else: it is not what the file becomes.
    """
    world.files.spoil(tricks.reset_after(MIB), where=is_file(model, LARGE))
    spoiling = world.files.spoil(
        trick,
        where=lambda asked: (
            is_file(model, LARGE)(asked) and not asked.headers.get("range", "bytes=0-").startswith("bytes=0-")
        ),
        times=times,
    )

    error = _failure(world, model, tmp_path / "here")

    assert spoiling.played >= 1
    if error is not None:
        assert LARGE in error
        check_nothing(tmp_path / "here")
        world.files.forget()
        world.fetch(model, tmp_path / "here")
    assert tree(tmp_path / "here") == wanted(FILES)


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("before", [True, False], ids=["before the head", "in the middle"])
def test_a_stall_is_noticed(world: World, model: Membership, tmp_path: Path, path: str, before: bool) -> None:
    """
    A store that says nothing more is left after the time that is set, and the rest comes by another way.
    """
    wait = world.files.released.wait
    trick = tricks.unheard(wait) if before else tricks.stalled_after(50_000, wait)
    world.files.spoil(trick, where=is_file(model, path))

    world.fetch(model, tmp_path / "here", read_timeout=0.5)

    assert tree(tmp_path / "here") == wanted(FILES)


def test_slow_is_not_stalled(world: World, model: Membership, tmp_path: Path) -> None:
    """
    A store that sends little, but sends, is waited for longer than any single silence may last.
    """
    world.files.spoil(tricks.throttled(100_000), where=is_file(model, SMALL))

    world.fetch(model, tmp_path / "here", read_timeout=0.5)

    assert len(world.files.requests) == len({asked.target for asked in world.files.requests}) + _parts(world)
    assert tree(tmp_path / "here") == wanted(FILES)


def _parts(world: World) -> int:
    """Requests for a further part of a file."""
    ranges = [asked.headers["range"] for asked in world.files.requests if "range" in asked.headers]
    return sum(not each.startswith("bytes=0-") for each in ranges)


def test_addresses_may_end_in_the_middle(world: World, model: Membership, tmp_path: Path) -> None:
    """
    The connection breaks, and by then the address is over as well: a new one is asked for.
    """
    world.files.spoil(tricks.reset_after(MIB), where=is_file(model, LARGE))
    world.files.spoil(tricks.refused(403), where=is_file(model, LARGE), times=3)

    world.fetch(model, tmp_path / "here")

    assert tree(tmp_path / "here") == wanted(FILES)


def test_every_answer_breaks_off(world: World, model: Membership, tmp_path: Path) -> None:
    """
    No answer ever brings more than some MiB: what came is kept, and the rest asked for, to the end.
    """
    world.files.spoil(tricks.reset_after(3 * MIB), where=is_file(model), times=None)

    world.fetch(model, tmp_path / "here")

    assert tree(tmp_path / "here") == wanted(FILES)
    assert world.sent_of(model) <= 1.05 * sum(map(len, FILES.values()))


@pytest.mark.parametrize("name", ["a byte wrong", "a login page with 200", "gzip unasked", "404"])
def test_the_manifest_too_is_proven(world: World, model: Membership, tmp_path: Path, name: str) -> None:
    """
    A manifest that is another than the version's leads to no file at all.
    """
    trick = tricks.flipped(100) if name == "a byte wrong" else DOUBTFUL[name]
    world.files.spoil(trick, where=is_manifest, times=None)

    with pytest.raises(RegistryError):
        world.fetch(model, tmp_path / "here")

    assert world.sent_of(model) == 0
    check_nothing(tmp_path / "here")


@pytest.mark.parametrize("question", ["artifactCollectionMembership", "currentManifest", "directUrl"])
@pytest.mark.parametrize(
    ("trick", "recovers"),
    [
        pytest.param(tricks.reset_after(10), True, id="reset"),
        pytest.param(tricks.dropped, True, id="dropped"),
        pytest.param(tricks.refused(502), True, id="502"),
        pytest.param(tricks.login_page, False, id="login page"),
        pytest.param(tricks.shorter(5), False, id="shorter"),
        pytest.param(tricks.refused(401), False, id="401"),
    ],
)
def test_the_api_is_not_believed_blindly(
    world: World, model: Membership, tmp_path: Path, question: str, trick: Trick, *, recovers: bool
) -> None:
    """
    What passes is asked anew; anything else ends in words of ours, without a directory.
    """
    spoiling = world.api.spoil(trick, where=is_question(question), times=1 if recovers else None)

    if recovers:
        world.fetch(model, tmp_path / "here")
        assert tree(tmp_path / "here") == wanted(FILES)
    else:
        with pytest.raises(RegistryError):
            world.fetch(model, tmp_path / "here")
        check_nothing(tmp_path / "here")
    assert spoiling.played >= 1


def test_a_failure_ends_what_stalls(world: World, model: Membership, tmp_path: Path) -> None:
    """
    When one file is wrong for good, another that waits for bytes is not waited for.
    """
    stalls = threading.Event()

    def wait() -> None:
        stalls.set()
        world.files.released.wait(20)

    world.files.spoil(tricks.stalled_after(50_000, wait), where=is_file(model, LARGE), times=None)
    world.files.spoil(tricks.flipped(10), where=is_file(model, SMALL), times=None)

    with pytest.raises(RegistryError, match=SMALL):
        world.fetch(model, tmp_path / "here", read_timeout=10)

    check_nothing(tmp_path / "here")
