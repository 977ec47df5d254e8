"""Texts in the page: compressed, in parts, so that a browser reads the few it shows of the many there are.

Whatever a model wrote is stored as base64 of gzip of JSON. Its alphabet has no ``<``, so no text can end the element that
holds it, and the page's script is the only one that ever sees it. The page's own policy allows scripts and styles by hash alone.
"""

import base64
import gzip
import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Self

PART = 256 * 1024
"""Characters of JSON in one part, about: what the page reads to show one trace."""
MOST = 160 * 1024 * 1024
"""Bytes of compressed texts in one page; browsers refuse strings of 512 MiB, and people wait."""
# What can be seen to do something to the text around it: controls but tab and line feed, joiners that hide, marks and
# overrides of direction, line separators. Of "a\u202eb" it takes the middle; "a\tb\n" and "é" stay.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


class Texts:
    """Documents of a page, each known by its number, in parts that can be read alone.

    What was written waits in a temporary file, so that however many there are, little is in memory.

    Args:
        most: Bytes after which documents are left out.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most, self._file = most, tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115  closed on exit
        self._waiting: list[str] = []
        self._waiting_size = self._written = self._count = 0
        self.starts: list[int] = []
        """The number of the first document of each part."""
        self.left_out = 0
        """Documents for which there was no room."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, document: object) -> int:
        """Take a document, any JSON value; return its number, or -1 where there is no room."""
        if self._written > self._most:
            self.left_out += 1
            return -1
        text = json.dumps(document, separators=(",", ":"))
        self._waiting.append(text)
        self._waiting_size += len(text)
        self._count += 1
        if self._waiting_size >= PART:
            self._end_part()
        return self._count - 1

    def _end_part(self) -> None:
        if not self._waiting:
            return
        name = f"part-{len(self.starts)}"
        self.starts.append(self._count - len(self._waiting))
        self._written += self._file.write(block(name, f"[{','.join(self._waiting)}]"))
        self._waiting, self._waiting_size = [], 0

    def copy_to(self, out: IO[str]) -> None:
        """Write all parts as elements of the page."""
        self._end_part()
        self._file.seek(0)
        shutil.copyfileobj(self._file, out)

    def close_parts(self) -> Sequence[int]:
        """End the last part, and return the number of the first document of each."""
        self._end_part()
        return self.starts


def block(name: str, content: str) -> str:
    """Return an element of the page that holds a JSON text and cannot be ended by it."""
    packed = gzip.compress(content.encode("ascii"), 6, mtime=0)
    return f'<script type="text/plain" id="{name}">{base64.b64encode(packed).decode("ascii")}</script>\n'


def packed(name: str, value: object) -> str:
    """Return an element of the page that holds a JSON value."""
    return block(name, json.dumps(value, separators=(",", ":")))


def visible(text: str) -> str:
    """Return a text with what cannot be seen spelled out: ``⟨U+202E⟩`` for a mark that would turn the line around."""
    return _UNSEEN.sub(lambda sign: f"⟨U+{ord(sign.group()):04X}⟩", text)


def policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """Return the content security policy of a page that runs these scripts and styles, and fetches nothing."""

    def allowed(sources: Sequence[str]) -> str:
        return " ".join(f"'sha256-{_digest(source)}'" for source in sources)

    return f"default-src 'none'; script-src {allowed(scripts)}; style-src {allowed(styles)}; base-uri 'none'; form-action 'none'"


def _digest(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode()).digest()).decode("ascii")
