"""Degenerate loops: text whose end repeats one block over and over."""

WINDOW = 6000
"""How many characters at the end of a text are looked at."""


def loop_period(text: str, *, repeats: int = 4, min_span: int = 160, window: int = WINDOW) -> int | None:
    """Return the length in characters of the block that ``text`` ends on repeating, else ``None``.

    A loop is a block that fills at least ``repeats`` times its own length and ``min_span``
    characters up to the end of the text (a last incomplete copy included). Only the last
    ``window`` characters are looked at. Time is linear in the window (Z-function).
    """
    tail = text.rstrip()[-window:][::-1]
    size = len(tail)
    if size < min_span:
        return None
    z = [0] * size
    left = right = 0
    for i in range(1, size):
        if i < right:
            z[i] = min(right - i, z[i - left])
        while i + z[i] < size and tail[z[i]] == tail[i + z[i]]:
            z[i] += 1
        if i + z[i] > right:
            left, right = i, i + z[i]
        if i + z[i] >= max(repeats * i, min_span) and tail[:i].strip():
            return i
    return None
