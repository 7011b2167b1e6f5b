"""YAML becomes a tree with places, and nothing else: no tags, no surprises, no bombs."""

from __future__ import annotations

import pytest

from receiver.config.document import DEEPEST, LARGEST, Node, Pairs, Scalar, load, plain
from receiver.config.problems import Problem, Problems


def tree(text: str) -> Node:
    """The tree of a text with which nothing is wrong."""
    problems = Problems("x.yaml")
    node = load(text, problems)
    assert problems.found == []
    assert node is not None
    return node


def wrong(text: str) -> list[Problem]:
    """What is wrong with a text."""
    problems = Problems("x.yaml")
    load(text, problems)
    return problems.found


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("yes", "yes"),
        ("off", "off"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-1.5e3", -1500.0),
        ("12:30", "12:30"),
        ("0x10", "0x10"),
        ("2026-11-20", "2026-11-20"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("'true'", "true"),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ('"12"', "12"),
    ],
)
def test_words_mean_what_yaml_1_2_says(word: str, value: object) -> None:
    """
    ``no``, ``on`` and ``off`` are words, a time of day is no number; quotes make text of anything.
    """
    read = plain(tree(f"key: {word}"))["key"]

    assert (type(read), read) == (type(value), value)


def test_everything_has_its_place() -> None:
    """
    Keys and values know line and column, from 1, counted in characters.
    """
    node = tree("é: 1\nlist:\n  - {α: [β, γ]}\n")
    assert isinstance(node, Pairs)
    key, value = node.entries["list"]
    inner = value.items[0]  # type: ignore[attr-defined]  # a list, as written
    alpha, letters = inner.entries["α"]

    assert [(each.line, each.column) for each in (key, value, inner, alpha, letters, letters.items[1])] == [
        (2, 1),
        (3, 3),
        (3, 5),
        (3, 6),
        (3, 9),
        (3, 13),
    ]


def test_a_name_is_what_is_written() -> None:
    """
    ``on``, ``1`` and ``null`` are names like others where a key stands.
    """
    assert plain(tree("{on: 1, 1: 2, null: 3}")) == {"on": 1, "1": 2, "null": 3}


def test_anchors_and_merges_save_writing() -> None:
    """
    An alias stands for its anchor; what << brings yields to what is written, in whatever order.
    """
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {y: 4, <<: [*a, {z: 5}]}\nd: *a\n"

    assert plain(tree(text)) == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": {"x": 1, "y": 4, "z": 5},
        "d": {"x": 1, "y": 2},
    }


def test_a_bomb_of_aliases_is_refused() -> None:
    """
    Ten lines that stand for ten billion values are refused before anybody walks through them.
    """
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    assert wrong("\n".join(lines)) == [
        "x.yaml:5:5: stands for more than 100000 values, by its aliases or by itself"
    ]


def test_depth_and_size_are_bounded() -> None:
    """
    What no person writes is refused in a line: brackets without end, a file without end.
    """
    assert wrong("[" * 100_000) == [f"x.yaml:1:{DEEPEST + 2}: nests deeper than {DEEPEST} levels"]
    assert wrong("é" * (LARGEST // 2 + 1)) == [
        f"x.yaml:1:1: is larger than {LARGEST} bytes, which no configuration needs"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!python/name:os.system x", "1:4: has the tag '!!python/name:os.system'; want plain YAML"),
        ("a: ! 12", "1:4: has the tag '!'; want plain YAML without tags"),
        ("a: *b", "1:4: the alias *b has no anchor &… above it"),
        ("a: &a [*a]", "1:8: the alias *a stands inside what it is to repeat"),
        ("? [x]\n: y", "1:3: is a list where a key is wanted; want a name"),
        ("a: {<<: x}", "1:5: << wants a mapping, got 'x'"),
        ("a: 1\nb: {c: 1, c: 2, c: 3}", "2:11: b.c: is there twice; the first is in line 2"),
        ('a: "\\ud800"', "1:4: holds half of a surrogate pair, which is no text"),
        ('a: "\\0"', "1:4: holds NUL, which is no text"),
        ('a: "\\Uffffffff"', "1:1: holds an escape like \\Uffffffff, which is no character"),
        ('a: "\\d+"', "1:6: is no YAML: a backslash in double quotes; want single quotes around it"),
        ("a: 1\nb: \x1b[2J", "2:4: holds the character U+001B, which is no text"),
        ("a: @home", "1:4: is no YAML: no text can begin with this character; put it between quotes"),
        ("a: 1\nb\nc: 2", "3:1: is no YAML: a key without its ':', in this line or the one before"),
        ("# nothing", "1:1: is empty; want at least sources, github and routes"),
    ],
)
def test_what_is_no_document_is_told_with_its_place(text: str, said: str) -> None:
    """
    The first thing that ends the reading is told plainly, where it stands.
    """
    assert wrong(text)[0].startswith(f"x.yaml:{said}")


def test_a_scalar_keeps_how_it_was_written() -> None:
    """
    A number can be quoted back as the person wrote it.
    """
    node = tree("1.50")

    assert isinstance(node, Scalar)
    assert (node.value, node.text) == (1.5, "1.50")
