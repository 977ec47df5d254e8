"""A page read as its script reads it, without a browser."""

import base64
import gzip
import json
import re
from typing import Any

BLOCK = re.compile(r'<script type="text/plain" id="([\w-]+)">([^<]*)</script>')


def blocks(page: str) -> dict[str, Any]:
    """Return the page's data by name."""
    return {name: json.loads(gzip.decompress(base64.b64decode(text))) for name, text in BLOCK.findall(page)}


def documents(page: str) -> list[Any]:
    """Return all texts of the page in order."""
    found = blocks(page)
    return [document for name, part in found.items() if name.startswith("part-") for document in part]
