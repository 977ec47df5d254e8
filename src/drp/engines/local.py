"""Engine ``transformers``: the student's weights in this process, decoded by this package's own loop."""

from types import ModuleType
from typing import ClassVar, Literal

from pydantic import Field

from drp.engines.base import Engine
from drp.engines.identity import resolve_model
from drp.engines.registry import EngineSettings, Subject
from drp.engines.settings import StudentSettings
from drp.errors import MissingExtraError
from drp.runs.fingerprints import EXECUTION
from drp.runs.stage import Say, silent


class TransformersSettings(EngineSettings):
    """Runs any causal language model that `transformers` loads."""

    kind: Literal["transformers"] = "transformers"
    batch_size: int = Field(default=64, ge=1, json_schema_extra=EXECUTION)
    """Requests decoded together."""

    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    def open(self, subject: Subject, say: Say = silent) -> Engine:
        """Return the engine; see :class:`drp.engines.registry.EngineSettings`."""
        _ = say
        student = subject.student
        return in_process().TransformersEngine(
            resolve_model(subject.model),
            device=student.device,
            dtype=student.dtype,
            batch_size=self.batch_size,
            tags=student.thinking_tags,
        )

    def number_format(self, student: StudentSettings) -> str:
        """Return the number format that the device chooses."""
        return in_process().pick_dtype(student.device, student.dtype)


def in_process() -> ModuleType:
    """Return the engine's code, which needs torch.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        from drp.engines import transformers_engine
    except ImportError as error:
        raise MissingExtraError(str(error.name), "train") from error
    return transformers_engine
