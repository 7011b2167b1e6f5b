"""Text that others wrote, made harmless for the runner's log and its commands: pure."""

from __future__ import annotations

import re


def printable(text: str) -> str:
    """The text with what does not print (line ends, escapes, halves of characters) written out."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def neutral(text: str) -> str:
    """The text as one line that holds neither of the runner's two forms of commands, nor a terminal's."""
    return re.sub(r"#(?=#\[)", "# ", re.sub(r":(?=:)", ": ", printable(text)))


def escaped(data: str) -> str:
    """The data of a command as the runner reads it back."""
    return data.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escaped_property(value: str) -> str:
    """The same for the value of a command's property."""
    return escaped(value).replace(":", "%3A").replace(",", "%2C")
