"""A file on its way: bytes in any order, one digest."""

from __future__ import annotations

import base64
import errno
import itertools
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry_client.digest import digester
from registry_client.errors import DiskFullError, TargetError, VerificationError
from registry_client.files import Tree
from registry_client.manifest import ManifestEntry
from registry_client.partial import Partial, name_of
from registry_client.version import DigestAlgorithm

CONTENT = os.urandom(3_000_000)


def entry(content: bytes = CONTENT, algorithm: DigestAlgorithm = DigestAlgorithm.MD5) -> ManifestEntry:
    hashing = digester(algorithm)
    hashing.update(content)
    digest = base64.b64encode(hashing.digest()).decode()
    return ManifestEntry("model.bin", digest, len(content), algorithm, None, None)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with Tree(tmp_path) as tree:
        yield tree


@pytest.fixture
def partial(tree: Tree) -> Iterator[Partial]:
    partial = Partial(tree, entry())
    yield partial
    partial.close()


def write(partial: Partial, *ranges: tuple[int, int], content: bytes = CONTENT) -> None:
    for start, end in ranges:
        partial.write(start, content[start:end])


def test_bytes_may_come_in_any_order(partial: Partial, tmp_path: Path) -> None:
    """
    They lie where they belong, and the one who finds the end hashed is told so, once.
    """
    write(partial, (2_000_000, 3_000_000), (0, 500_000))
    assert not partial.follow()
    assert partial.gaps() == [(500_000, 2_000_000)]
    write(partial, (500_000, 2_000_000))

    assert [partial.follow(), partial.follow()] == [True, False]
    partial.check()
    assert (tmp_path / name_of(entry())).read_bytes() == CONTENT


@pytest.mark.parametrize("algorithm", DigestAlgorithm, ids=lambda each: each.name)
def test_what_comes_in_order_is_never_read_back(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, algorithm: DigestAlgorithm
) -> None:
    """
    The digest takes it from memory.
    """
    partial = Partial(tree, entry(algorithm=algorithm))
    monkeypatch.setattr("registry_client.partial.read_at", lambda *_: pytest.fail("read back"))

    write(partial, *((start, start + 100_000) for start in range(0, len(CONTENT), 100_000)))

    assert partial.follow()
    partial.check()
    partial.close()


def test_another_byte_is_noticed(partial: Partial) -> None:
    """
    The message has both digests.
    """
    write(partial, (0, 3_000_000), content=bytes([CONTENT[0] ^ 1]) + CONTENT[1:])

    assert partial.follow()
    with pytest.raises(VerificationError, match=r"^model\.bin: got MD5 .*==, want .*=="):
        partial.check()


@pytest.mark.parametrize("seed", range(5))
def test_threads_may_write_as_they_like(tree: Tree, seed: int) -> None:
    """
    Each follows after its pieces; exactly one of them finds the end.
    """
    partial = Partial(tree, entry())
    chance = random.Random(seed)  # noqa: S311 - the same each time
    cuts = sorted({0, len(CONTENT), *chance.sample(range(len(CONTENT)), 60)})
    pieces = list(itertools.pairwise(cuts))
    chance.shuffle(pieces)
    ends: list[bool] = []

    def work(mine: list[tuple[int, int]]) -> None:
        for piece in mine:
            write(partial, piece)
            ends.append(partial.follow())

    threads = [threading.Thread(target=work, args=(pieces[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ends.count(True) == 1
    partial.check()
    partial.close()


def test_the_next_try_goes_on(partial: Partial, tree: Tree) -> None:
    """
    What a killed process has written and noted is not asked for again; it is hashed like all the rest.
    """
    write(partial, (0, 100), (1_000_000, 2_000_000))

    again = Partial(tree, entry())

    assert again.resumed
    assert again.size == 1_000_100
    assert again.gaps() == [(100, 1_000_000), (2_000_000, 3_000_000)]
    write(again, *again.gaps())
    assert again.follow()
    again.check()
    again.close()


def test_a_journal_without_its_bytes_is_not_believed(partial: Partial, tree: Tree, tmp_path: Path) -> None:
    """
    A disk may lose what was written last; then all is fetched anew.
    """
    write(partial, (0, 2_000_000))
    os.truncate(tmp_path / partial.name, 1_999_999)

    again = Partial(tree, entry())

    assert not again.resumed
    assert again.gaps() == [(0, 3_000_000)]
    again.close()


def test_restarting_forgets_everything(partial: Partial) -> None:
    """
    Bytes, notes and digest.
    """
    write(partial, (0, 3_000_000), content=bytes(3_000_000))
    assert partial.follow()

    partial.restart()

    assert partial.gaps() == [(0, 3_000_000)]
    write(partial, (0, 3_000_000))
    assert partial.follow()
    partial.check()


def test_a_proven_file_gets_its_place(partial: Partial, tmp_path: Path) -> None:
    """
    Nothing of it stays behind.
    """
    write(partial, (0, 3_000_000))
    (tmp_path / "content").mkdir()

    with Tree(tmp_path / "content") as content:
        partial.move(content, "weights/model.bin")

    assert (tmp_path / "content/weights/model.bin").read_bytes() == CONTENT
    assert [each.name for each in tmp_path.iterdir()] == ["content"]


def test_removing_does_not_disturb_who_still_writes(partial: Partial, tmp_path: Path) -> None:
    """
    Other threads end in their own time; their bytes go nowhere.
    """
    write(partial, (0, 10))
    partial.remove()
    write(partial, (10, 20))

    assert list(tmp_path.iterdir()) == []


def test_hashing_ends_when_nobody_wants_it(partial: Partial) -> None:
    """
    Large files take seconds to be read back: a stop does not wait for them.
    """
    write(partial, (10, 3_000_000), (0, 10))

    assert not partial.follow(lambda: True)


def test_a_file_cut_by_somebody_else_is_an_error(partial: Partial, tmp_path: Path) -> None:
    """
    And no endless loop.
    """
    write(partial, (10, 3_000_000), (0, 10))
    os.truncate(tmp_path / partial.name, 10)

    with pytest.raises(TargetError, match="cannot be read back"):
        partial.follow()


def test_a_disk_that_fills_up_is_named(partial: Partial, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With its own error, as there is something to do about it.
    """

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("registry_client.partial.write_at", full)

    with pytest.raises(DiskFullError, match=r"model\.bin cannot be written: No space left"):
        write(partial, (0, 10))


def test_a_link_is_not_written_through(tree: Tree, tmp_path: Path) -> None:
    """
    Not even one of the right name.
    """
    (tmp_path / name_of(entry())).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(TargetError, match="cannot be written"):
        Partial(tree, entry())

    assert not (tmp_path / "elsewhere").exists()
