"""The table of `handoff check`."""

from __future__ import annotations

from receiver.checks import Finding, Mark, is_good, offline, table
from tests.receiver.config.reading import GOOD, check_key, read


def test_a_line_for_each_and_a_sum() -> None:
    """
    Nothing that came from outside can forge a line; what is only to think about is not to mend.
    """
    findings = [
        Finding.good("a", "fine"),
        Finding.warning("longer", "hm"),
        Finding.open("b", "later"),
        Finding.bad("c", "bad\nlines"),
    ]

    assert table(findings) == (
        "✓ a       fine\n"
        "! longer  hm\n"
        "– b       not checked: later\n"
        "✗ c       bad\\nlines\n"
        "1 right, 1 to mend, 1 to think about, 1 not checked\n"
    )
    assert not is_good(findings)
    assert is_good(findings[:3])


def test_warnings_of_the_file_are_no_faults() -> None:
    """
    They work, and so the file passes.
    """
    config = read(GOOD, {"HANDOFF_REPOSITORY": "a/b"})
    findings = offline(config, check_key=check_key)

    assert [each.what for each in findings if each.mark is Mark.WARNING] == [
        "WANDB_WEBHOOK_TOKEN",
        "HANDOFF_REPOSITORY",
    ]
    assert is_good(findings)
