"""Settings of engine ``ray``: another engine, in many processes over a Ray cluster. Light: no torch, no Ray."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, SerializeAsAny, field_validator

from drp.engines.base import Engine
from drp.engines.identity import resolve_model
from drp.engines.local import TransformersSettings, in_process
from drp.engines.registry import ENGINES, EngineSettings, Subject
from drp.engines.settings import StudentSettings
from drp.errors import MissingExtraError
from drp.records import Record
from drp.runs.fingerprints import DEFINES, EXECUTION
from drp.runs.stage import Say, silent

InnerEngine = Annotated[SerializeAsAny[EngineSettings], ENGINES.told_apart("transformers")]


class ClusterSettings(Record):
    """A Ray cluster, and the workers to have there."""

    address: str = Field(default="auto", json_schema_extra=EXECUTION)
    """A cluster's `host:port`; auto: RAY_ADDRESS or the one on this machine, else one is started; local: one is started."""
    workers: int | Literal["auto"] = Field(default="auto", json_schema_extra=EXECUTION)
    """Copies of the model; auto: as many as the cluster's GPUs have room for, without GPUs one a node."""
    gpus_per_worker: float | None = Field(default=None, ge=0, json_schema_extra=EXECUTION)
    """GPUs, or the share of one, that each has; left out: what the engine takes if this machine has GPUs, else none."""
    cpus_per_worker: int = Field(default=1, ge=1, json_schema_extra=EXECUTION)
    """Cores that each has; without a GPU it computes in so many threads."""
    retries: int = Field(default=2, ge=0, json_schema_extra=EXECUTION)
    """How often a worker that dies is started again, and what died with it tried again."""
    wait_s: float = Field(default=300.0, gt=0, json_schema_extra=EXECUTION)
    """Seconds until the cluster must have found room for the first worker."""

    @field_validator("address")
    @classmethod
    def _no_client(cls, address: str) -> str:
        if "://" in address:
            raise ValueError(
                "results come back as a stream, which Ray's client has not: run the command on a node of the cluster, with "
                "address auto or host:port"
            )
        return address

    @field_validator("workers")
    @classmethod
    def _some(cls, workers: int | str) -> int | str:
        if isinstance(workers, int) and workers < 1:
            raise ValueError("there must be one worker or more, or auto")
        return workers


class RaySettings(ClusterSettings, EngineSettings):
    """Runs another engine in workers over a Ray cluster; records are those of that engine in this process."""

    kind: Literal["ray"] = "ray"
    engine: InnerEngine = Field(default=TransformersSettings(), json_schema_extra=DEFINES)
    """What each worker runs, with its settings: transformers, vllm, or another package's."""

    packages: ClassVar[tuple[str, ...]] = ("ray",)
    installed_by: ClassVar[str] = "ray"

    @field_validator("engine")
    @classmethod
    def _runs_models(cls, engine: EngineSettings) -> EngineSettings:
        if isinstance(engine, RaySettings):
            raise ValueError(
                "a worker cannot hold a cluster of its own: name what each worker runs, such as transformers"
            )
        if not engine.in_process:
            raise ValueError(
                f"engine {engine.kind} asks an endpoint, which one process does as fast as many: name it without ray"
            )
        return engine

    @property
    def name(self) -> str:
        """What a plan calls it."""
        return f"{self.engine.name} over ray"

    @property
    def batch_size(self) -> int:
        """Requests that one worker decodes together, as far as its engine says."""
        return int(getattr(self.engine, "batch_size", 64))

    def copies(self, gpus: int) -> int:
        """Return how many workers there are on a machine with so many GPUs."""
        if self.workers != "auto":
            return self.workers
        each = self.engine.gpus if self.gpus_per_worker is None else self.gpus_per_worker
        return max(1, int(gpus / each)) if each else 1

    def share(self, student: StudentSettings) -> float:
        """Return the GPUs that each worker has."""
        if self.gpus_per_worker is not None:
            return self.gpus_per_worker
        return self.engine.gpus if in_process().pick_device(student.device).type == "cuda" else 0

    def number_format(self, student: StudentSettings) -> str:
        """Return the number format that the workers' devices choose."""
        return self.engine.number_format(self._there(student))

    def _there(self, student: StudentSettings) -> StudentSettings:
        """Return the student as a worker loads it: from a path that holds anywhere, on the device that it is given."""
        folder = Path(resolve_model(student.model))
        device = "cuda" if self.share(student) else "cpu" if student.device != "mps" else "mps"
        named = student.model == "mini" or not folder.is_dir()
        where = student.model if named else str(folder.absolute())
        return student.model_copy(update={"device": device, "model": where})

    def open(self, subject: Subject, say: Say = silent) -> Engine:
        """Return the engine, which starts its workers; see :class:`drp.engines.registry.EngineSettings`."""
        if find_spec("ray") is None:
            raise MissingExtraError("ray", self.installed_by)
        from drp.engines.ray_engine import RayEngine

        student = self._there(subject.student)
        # What is on file says in which format it was drawn: no node chooses for itself.
        student = student.model_copy(update={"dtype": self.number_format(subject.student)})
        made = subject.made and str(Path(subject.made).absolute())
        there = Subject(student, subject.prompt, made, subject.trained)
        return RayEngine(self, there, self.share(subject.student), say)
