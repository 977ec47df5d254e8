"""The one exception tree of the project.

Every message says what happened, where, and what to do about it.
"""

import errno
import re


class DrpError(Exception):
    """Base of every error the project raises on purpose; the CLI prints it without a traceback."""


_OUT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|can(?:.t|not) allocate memory|can.t start new thread", re.IGNORECASE
)


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory did not suffice.

    Torch says so in errors of several kinds, the system by a number, and a thread that finds no room for its stack by its start.
    """
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error)))
    )


class RecipeError(DrpError):
    """A recipe or an override on the command line cannot be used as written."""


class DataError(DrpError):
    """An input file or record does not have the documented shape."""


class EditScriptError(DrpError):
    """An edit script does not cover its trace exactly once, or an edit is malformed."""


class RunFolderError(DrpError):
    """A run folder is damaged, belongs to something else, or is in use."""


class NewerSchemaWarning(UserWarning):
    """A newer version of this tool wrote a file that was read, and some of its fields were left out."""


class OldSpellingWarning(UserWarning):
    """A recipe spells settings as an earlier version did; they were read all the same."""


class PreflightError(DrpError):
    """Something that a run needs is missing; nothing was started."""


class IncompleteError(DrpError):
    """A stage has items pending, and what would follow needs all of them."""


class DiskError(DrpError):
    """The disk took no more, or refused."""


class GradingError(DrpError):
    """The grader cannot give verdicts."""


class EngineError(DrpError):
    """An engine could not be built or could not answer."""


UNUSABLE = "unusable"
"""The kind of a :class:`TeacherError`: the teacher would not have anybody learn from the trace."""


class TeacherError(DrpError):
    """A teacher gave no usable edit script for one trace."""

    def __init__(
        self,
        message: str,
        *,
        kind: str = "teacher",
        retry: bool = False,
        raw: str | None = None,
        setup: str | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry = retry
        self.raw = raw
        self.setup = setup
        """Identity of the endpoint's settings under which this is final, where it depends on them."""


class BudgetError(DrpError):
    """The next request might cost more than is left of the budget."""


class TrainingError(DrpError):
    """Training could not start or did not produce a usable model."""


class HubError(DrpError):
    """The Hugging Face hub refused what was pushed, or did not answer."""


class MissingExtraError(DrpError):
    """An optional dependency is needed and absent."""

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(f"{package} is not installed. Install it with: pip install 'drp-reasoning[{extra}]'")

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        """Return how another process makes it again: it is raised by workers, too."""
        return type(self), (self.package, self.extra)
