r"""Halves of characters: what is left in a JSON text where an emoji was cut in two.

JSON writes a character beyond U+FFFF as a pair of surrogates (``\ud83d\ude00``). A tool that cuts a text at a
token or a length may leave one half of the pair. Such a half is no text: it cannot be written as UTF-8.
"""

import re

# A decoder joins whole pairs into their character, so every surrogate left in a string stands alone:
# "ok \ud83d" is found, "ok 😀" is not.
_ALONE = re.compile(r"[\ud800-\udfff]")


def without_lone_surrogates(text: str) -> str:
    """Return text with U+FFFD, the sign for a broken character, in place of every lone surrogate."""
    return _ALONE.sub("\ufffd", text)
