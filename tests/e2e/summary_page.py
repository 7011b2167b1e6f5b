"""A run's summary as GitHub shows it, near enough to be looked at."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_PAGE = """<!doctype html>
<meta charset="utf-8">
<style>
body {{ font: 16px/1.5 "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; color: #1f2328; margin: 24px; }}
h3 {{ font-size: 20px; margin: 24px 0 16px; }}
table {{ border-collapse: collapse; margin: 0 0 16px; }}
th, td {{ border: 1px solid #d1d9e0; padding: 6px 13px; vertical-align: top; }}
tr:nth-child(2n) {{ background: #f6f8fa; }}
code, pre {{ font: 85% ui-monospace, "DejaVu Sans Mono", monospace; background: #eff1f3; }}
code {{ padding: .2em .4em; overflow-wrap: anywhere; }}
pre {{ padding: 16px; white-space: pre-wrap; }}
a {{ color: #0969da; text-decoration: none; }}
</style>
{body}
"""


def page(summary: str) -> str:
    """The summary as a page: ours is HTML but for what is indented by four, which is shown as it is."""
    return _PAGE.format(body="\n".join(_parts(summary)))


def _parts(summary: str) -> Iterator[str]:
    for part in re.split(r"\n{2,}", summary):
        if part.startswith("    "):
            yield f"<pre>{html.escape(re.sub(r'(?m)^ {4}', '', part))}</pre>"
        else:
            yield part
