"""What every teacher offers: a proposal, which is an edit script and what came with it."""

from collections.abc import Sequence
from typing import Protocol

from pydantic import Field

from drp.records import Check, EditScript, Record, Trace, Usage


class Proposal(Record):
    """One candidate for a pruned trace."""

    script: EditScript
    answer: str | None = None
    """The answer part the teacher wrote, where it was asked for one."""
    figures: dict[str, float] = Field(default_factory=dict)
    """What the protocol measured about itself."""
    checks: tuple[Check, ...] = ()
    """What the teacher itself found out about the result; it must pass as the checks of every pruned trace must."""
    usage: dict[str, Usage] = Field(default_factory=dict)
    """Tokens of each call behind it, by the identity of its request; empty where no model was asked."""


class Complaint(Record):
    """What a check found wrong with a pruned trace, in words a teacher understands."""

    text: str
    """What must be so, and the words and numbers that are not."""
    at: int | None = None
    """A unit of the trace (0-based) where it is to be mended; ``None``: it is about the whole."""


class Teacher(Protocol):
    """Prunes traces. Implementations say their name and never change the trace."""

    @property
    def name(self) -> str:
        """Name under which pruned traces are recorded."""
        ...

    @property
    def exempt(self) -> frozenset[str]:
        """Checks that are recorded but not required, because this teacher does not mean to pass them."""
        ...

    async def prune(self, trace: Trace, units: Sequence[str], candidate: int = 0) -> Proposal:
        """Return one candidate for a trace.

        Args:
            trace: The trace; its thinking is ``"".join(units)``.
            units: The units the script's indices refer to.
            candidate: Which one; a deterministic teacher returns the same for all.

        Raises:
            TeacherError: The teacher could not produce a valid script; the message is the reason.
            BudgetError: The budget does not allow the next request.
        """
        ...

    async def repair(
        self, trace: Trace, units: Sequence[str], proposal: Proposal, complaints: Sequence[Complaint]
    ) -> Proposal | None:
        """Return another proposal after checks found fault with this one, or ``None`` for no better one.

        Args:
            trace: The trace.
            units: Its units.
            proposal: What was found wanting.
            complaints: What failed, and where.

        Raises:
            TeacherError: As in :meth:`prune`.
            BudgetError: As in :meth:`prune`.
        """
        ...

    async def polish(self, trace: Trace, units: Sequence[str], proposal: Proposal) -> Proposal | None:
        """Return the proposal with its joins smoothed, or ``None`` where the teacher does not polish.

        Raises:
            TeacherError: As in :meth:`prune`.
            BudgetError: As in :meth:`prune`.
        """
        ...


class SingleProposal:
    """Base of teachers that have one proposal for a trace: nothing is mended after checks, and no joins are smoothed."""

    async def repair(
        self, trace: Trace, units: Sequence[str], proposal: Proposal, complaints: Sequence[Complaint]
    ) -> Proposal | None:
        """Return ``None``: there is no other proposal; see :class:`Teacher`."""
        _ = trace, units, proposal, complaints
        return None

    async def polish(self, trace: Trace, units: Sequence[str], proposal: Proposal) -> Proposal | None:
        """Return ``None``: nothing is written anew; see :class:`Teacher`."""
        _ = trace, units, proposal
        return None
