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
            TeacherError: The teacher could not produce a valid script; the message is the reason.
        """
        ...

    async def repair(
        self, trace: Trace, units: Sequence[str], script: EditScript, complaints: Sequence[str]
    ) -> EditScript | None:
        """Return another script after checks found fault with ``script``, or ``None`` for no better one.

        Args:
            trace: The trace.
            units: Its units.
            script: The script that was found wanting.
            complaints: What failed, one sentence each.

        Raises:
            TeacherError: As in :meth:`prune`.
        """
        ...
