"""Rows of the page in columns: what a list of 20,000 traces is filtered and shown by."""

from collections.abc import Sequence

SHOWN = 140
"""Characters of a question that a list shows."""


class Columns:
    """A table by column, which repeats no name.

    Args:
        names: The columns.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.values: dict[str, list[object]] = {name: [] for name in names}

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def add(self, **row: object) -> None:
        """Add a row, which names every column."""
        for name, column in self.values.items():
            column.append(row[name])


class Names:
    """Numbers names by kind, so that rows hold small numbers."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, int]] = {}

    def number(self, kind: str, name: str) -> int:
        """Return the number of a name among those of its kind."""
        known = self.known.setdefault(kind, {})
        return known.setdefault(name, len(known))

    def lists(self) -> dict[str, list[str]]:
        """Return the names of each kind, by number."""
        return {kind: list(known) for kind, known in self.known.items()}


def snippet(text: str) -> str:
    """Return the beginning of a text, on one line."""
    return " ".join(text[: 4 * SHOWN].split())[:SHOWN]
