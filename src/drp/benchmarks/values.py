"""What one field of a row says: a text, a truth or a count. Anything else is one error that names its place."""

import math
import re
from decimal import Decimal
from typing import Any

from drp.errors import DataError

MOST_TOKENS = 10**9
"""More tokens than any completion has; a greater count is some other figure."""

# A count as text, with the idle decimals that pandas writes: "253", "253.0"; not "1.7", "1e3", "-1".
_COUNT = re.compile(r"(\d{1,18})(?:\.0+)?")
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


def _finite(number: float | Decimal) -> bool:
    return (
        number.is_finite()
        if isinstance(number, Decimal)
        else isinstance(number, int) or math.isfinite(number)
    )


def described(value: object) -> str:
    """Return in words what a value is, for a message: ``a list``, ``null``, ``'many'``, ``NaN``."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str() if not value.strip():
            return "empty"
        case float() | Decimal() if not _finite(value):
            return "NaN" if math.isnan(value) else "infinite"
        case str() | int() | float() | Decimal():
            text = repr(value) if isinstance(value, str) else f"{value}"
            return text if len(text) <= 60 else f"{text[:60]}…"
        case list() | tuple():
            return "a list"
        case dict():
            return "an object"
        case _:
            return f"a {type(value).__name__}"


def text_of(value: object) -> str | None:
    """Return a text, or a number as text; ``None`` for anything else, NaN included."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not _finite(value):
        return None
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def needed_text(row: dict[str, Any], key: str, place: str, *, blank: bool = False) -> str:
    """Return the text of a field.

    Args:
        row: The row.
        key: The field.
        place: Where the row stands, for a message: file and line.
        blank: Whether an empty text will do.

    Raises:
        DataError: The field is missing, not text, or empty where it may not be.
    """
    if key not in row:
        raise DataError(
            f"{place}: field {key!r} is missing; the line has: {', '.join(sorted(row)) or 'none'}"
        )
    text = text_of(row[key])
    if text is None:
        raise DataError(f"{place}: field {key!r} is {described(row[key])}, not text")
    if not blank and not text.strip():
        raise DataError(f"{place}: field {key!r} is empty; fill it in, or remove the line")
    return text


def truth_of(value: object) -> bool | None:
    """Return a truth written as true, 1 or "true" (in any case), or their opposites; ``None`` for anything else."""
    if isinstance(value, str):
        return _TRUTHS.get(value.strip().lower())
    return bool(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def truth(row: dict[str, Any], key: str, place: str) -> bool | None:
    """Return what a field says of true and false; ``None`` where it is absent or null.

    Raises:
        DataError: It is neither.
    """
    value = row.get(key)
    found = truth_of(value)
    if found is None and value is not None:
        raise DataError(f"{place}: field {key!r} is {described(value)}; write true or false")
    return found


def count_of(value: object) -> int | None:
    """Return a count written as 253, 253.0 or "253"; ``None`` for anything else."""
    if isinstance(value, str):
        found = _COUNT.fullmatch(value.strip())
        value = int(found[1]) if found else None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not _finite(value):
        return None
    return int(value) if 0 <= value <= MOST_TOKENS and value == int(value) else None


def count(value: object, key: str, place: str) -> int | None:
    """Return a count of tokens; ``None`` for null.

    Raises:
        DataError: It is no whole number from 0 to a billion.
    """
    found = count_of(value)
    if found is None and value is not None:
        raise DataError(
            f"{place}: field {key!r} is {described(value)}, not a count of tokens; write a whole number, "
            "or null where it is not known"
        )
    return found
