"""What one look at a machine, a recipe or an endpoint found, and what to do about it."""

from typing import Literal

from drp.records import Record

State = Literal["ok", "problem", "warning", "unknown"]
_SIGNS: dict[State, str] = {"ok": "ok", "problem": "PROBLEM", "warning": "warning", "unknown": "not known"}


class Finding(Record):
    """What one look found."""

    what: str
    state: State
    detail: str
    mend: str = ""
    """What to do about it, where the detail does not say so."""

    @property
    def sign(self) -> str:
        """The state in a word."""
        return _SIGNS[self.state]

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{self.sign:<9}  {self.what}: {self.detail}" + (f"; {self.mend}" if self.mend else "")


def ok(what: str, detail: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(what=what, state="ok", detail=detail)


def problem(what: str, detail: str, mend: str = "") -> Finding:
    """Return what would stop a run."""
    return Finding(what=what, state="problem", detail=detail, mend=mend)


def warning(what: str, detail: str, mend: str = "") -> Finding:
    """Return what is better mended."""
    return Finding(what=what, state="warning", detail=detail, mend=mend)


def unknown(what: str, detail: str, mend: str = "") -> Finding:
    """Return what could not be found out."""
    return Finding(what=what, state="unknown", detail=detail, mend=mend)
