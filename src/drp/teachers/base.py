"""What every teacher offers: an edit script for a trace."""

from collections.abc import Sequence
from typing import Protocol

from drp.records import EditScript, Trace


class Teacher(Protocol):
    """Prunes traces. Implementations say their name and never change the trace."""

    @property
    def name(self) -> str:
        """Name under which pruned traces are recorded."""
        ...

    async def prune(self, trace: Trace, units: Sequence[str]) -> EditScript:
        """Return the edit script of one trace.

        Args:
            trace: The trace; its thinking is ``"".join(units)``.
            units: The units the script's indices refer to.

        Raises:
            DrpError: The teacher could not produce a valid script; the message is the reason.
        """
        ...
