"""The engines that a recipe may name, and what each says of itself before it runs."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from drp.engines.base import Engine
from drp.engines.settings import EndpointSettings, PromptSettings, StudentSettings
from drp.kinds import Kind, Registry
from drp.runs.stage import Say, silent


@dataclass(frozen=True)
class Subject:
    """Which model an engine is to run, and how its user asks it."""

    student: StudentSettings
    prompt: PromptSettings
    made: str | None = None
    """Folder of a model made from the student; ``None`` for the student itself."""
    trained: bool = False
    """Whether that is the model trained by this run, which an endpoint may serve under a name of its own."""

    @property
    def model(self) -> str:
        """Folder or hub id, with the revision behind it if there is one."""
        return self.made or self.student.source


class EngineSettings(Kind):
    """Settings of an engine; each kind adds its own and says how it is opened."""

    in_process: ClassVar[bool] = True
    """Whether weights are loaded from folders on this machine; if not, something else serves them."""
    packages: ClassVar[tuple[str, ...]] = ()
    """What must be installed …"""
    installed_by: ClassVar[str] = "train"
    """… and the extra that installs it."""

    @property
    def name(self) -> str:
        """What a plan calls it."""
        return self.kind

    @property
    def gpus(self) -> int:
        """GPUs that one copy of the model takes, where there are any."""
        return 1

    def copies(self, gpus: int) -> int:
        """Return how many copies of the model draw at once on a machine with so many GPUs."""
        _ = gpus
        return 1

    @abstractmethod
    def open(self, subject: Subject, say: Say = silent) -> Engine:
        """Return an engine that runs a model.

        Raises:
            DrpError: It cannot be opened; the message says what to do.
        """

    def number_format(self, student: StudentSettings) -> str:
        """Return the number format of the weights, as far as it is known here."""
        return student.dtype

    def endpoint(self, student: StudentSettings) -> tuple[str, EndpointSettings] | None:
        """Return the name of the model and the endpoint that serves it, if one does."""
        _ = student
        return None

    @property
    def setup(self) -> str | None:
        """Identity of what may make an endpoint refuse requests; ``None`` where nothing is asked of one."""
        return None


ENGINES: Registry[EngineSettings] = Registry(
    "engine",
    "drp.engines",
    EngineSettings,
    {
        "transformers": "drp.engines.local:TransformersSettings",
        "openai": "drp.engines.served:OpenAISettings",
        "vllm": "drp.engines.vllm_settings:VllmSettings",
        "ray": "drp.engines.ray_settings:RaySettings",
    },
)
