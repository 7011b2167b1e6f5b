"""Where one HTTP request ends: pure, no I/O.

Only the end is sought here; what a request says is gunicorn's parser's to read, which gets these bytes and
no more.  What cannot have a clear end is handed to it at once, to be refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LARGEST_HEAD = 32_768  # Bytes; W&B's are below 1,000.
LARGEST_OVERHEAD = 65_536  # Bytes beside the body's own, where a body comes in chunks.
_LONGEST_SIZE_LINE = 256
_LONGEST_TRAILERS = 8_192
_END = b"\r\n\r\n"
_BARE_LF = re.compile(rb"(?<!\r)\n")
_FIELD = re.compile(rb"\n(content-length|transfer-encoding|expect)[ \t]*:([^\r\n]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?", re.DOTALL)


@dataclass(frozen=True)
class Whole:
    """Enough is there to answer.

    Attributes:
        end: How many bytes belong to the request.
        last: What follows them, if anything, is no request: the connection ends with the answer.
        too_large: The body is over the limit; not all of it is there, and it is not to be read.
    """

    end: int
    last: bool = False
    too_large: bool = False


class HeadTooLargeError(Exception):
    """The request line and headers are longer than LARGEST_HEAD."""


class Framer:
    """Looks for the end of the request at the start of a growing buffer, at no byte twice.

    Attributes:
        expects_continue: The head is there, and the client waits for a word before it sends its body.
    """

    def __init__(self, largest_body: int) -> None:
        self.expects_continue = False
        self._largest = largest_body
        self._seen = 0
        self._head = 0
        self._length: int | None = None  # None: it comes in chunks.
        self._body = 0  # Bytes in the chunks so far.
        self._next = 0  # Where the next chunk's size stands.

    def look(self, buffer: bytearray) -> Whole | None:
        """Return the request's end, or None while more is needed.

        Raises:
            HeadTooLargeError: No such end is sought for.
        """
        if not self._head:
            whole = self._read_head(buffer)
            if whole or not self._head:
                return whole
        if self._length is None:
            return self._read_chunks(buffer)
        end = self._head + self._length
        return Whole(end) if len(buffer) >= end else None

    def _read_head(self, buffer: bytearray) -> Whole | None:
        begin = max(0, self._seen - len(_END))
        self._seen = len(buffer)
        found = buffer.find(_END, begin)
        so_far = len(buffer) if found < 0 else found
        if so_far > LARGEST_HEAD:
            raise HeadTooLargeError
        if _BARE_LF.search(buffer, begin, so_far):
            return Whole(len(buffer), last=True)  # Such a line end hides where the head ends.
        if found < 0:
            return None
        self._head = self._next = found + len(_END)
        return self._read_fields(bytes(buffer[: found + 2]))

    def _read_fields(self, head: bytes) -> Whole | None:
        fields = [(name.lower(), value.strip().lower()) for name, value in _FIELD.findall(head)]
        lengths = [value for name, value in fields if name == b"content-length"]
        codings = [value for name, value in fields if name == b"transfer-encoding"]
        self.expects_continue = (b"expect", b"100-continue") in fields and b" HTTP/1.1\r\n" in head
        if codings:
            one_reading = codings == [b"chunked"] and not lengths
            return None if one_reading else Whole(self._head, last=True)
        if len(lengths) > 1 or not all(_LENGTH.fullmatch(length) for length in lengths):
            return Whole(self._head, last=True)
        self._length = int(lengths[0]) if lengths else 0
        if self._length > self._largest:
            return Whole(self._head, last=True, too_large=True)
        return None

    def _read_chunks(self, buffer: bytearray) -> Whole | None:
        while len(buffer) > self._next:
            line_end = buffer.find(b"\r\n", self._next, self._next + _LONGEST_SIZE_LINE)
            if line_end < 0:
                too_long = len(buffer) - self._next >= _LONGEST_SIZE_LINE
                return Whole(len(buffer), last=True) if too_long else None
            size = _SIZE.fullmatch(buffer, self._next, line_end)
            if size is None:
                return Whole(len(buffer), last=True)
            count = int(size[1], 16)
            if count == 0:
                return self._read_trailers(buffer, line_end)
            self._body += count
            self._next = line_end + 2 + count + 2
            if self._body > self._largest:
                return Whole(self._head, last=True, too_large=True)
            if self._next - self._head - self._body > LARGEST_OVERHEAD:
                return Whole(len(buffer), last=True)
        return None

    def _read_trailers(self, buffer: bytearray, begin: int) -> Whole | None:
        end = buffer.find(_END, begin, begin + _LONGEST_TRAILERS)
        if end < 0:
            too_long = len(buffer) - begin >= _LONGEST_TRAILERS
            return Whole(len(buffer), last=True) if too_long else None
        return Whole(end + len(_END))
