"""Settings of engine ``vllm``: the student's weights in this process, decoded by vLLM. Light: no torch, no vLLM."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from drp.engines.adapters import adapter_of
from drp.engines.base import Engine
from drp.engines.identity import resolve_model
from drp.engines.local import in_process
from drp.engines.registry import EngineSettings, Subject
from drp.engines.settings import StudentSettings
from drp.errors import MissingExtraError
from drp.runs.fingerprints import EXECUTION
from drp.runs.stage import Say, silent

OURS = frozenset({
    "model", "revision", "tokenizer", "dtype", "tensor_parallel_size", "gpu_memory_utilization", "max_model_len",
    "max_num_seqs", "enable_prefix_caching", "generation_config", "skip_tokenizer_init", "enforce_eager", "enable_lora",
    "max_loras", "max_lora_rank", "data_parallel_size",
})  # fmt: skip
"""Arguments of vLLM that this package decides, or that its own settings name."""


class VllmSettings(EngineSettings):
    """Runs any causal language model that vLLM loads, on the GPUs that this process sees."""

    kind: Literal["vllm"] = "vllm"
    batch_size: int = Field(default=256, ge=1, json_schema_extra=EXECUTION)
    """Most requests decoded at once."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1, json_schema_extra=EXECUTION)
    """Share of the GPU's memory that vLLM may take, weights and cache together."""
    tensor_parallel: int = Field(default=1, ge=1, json_schema_extra=EXECUTION)
    """GPUs that share one copy of the model."""
    lora: bool = Field(default=False, json_schema_extra=EXECUTION)
    """Whether a trained model is the student with its adapter laid over it, instead of the merged model."""
    eager: bool = Field(default=False, json_schema_extra=EXECUTION)
    """Whether vLLM compiles and captures nothing: starts sooner, decodes slower."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of `vllm.LLM`, as they are, such as `quantization: fp8`."""

    packages: ClassVar[tuple[str, ...]] = ("vllm",)
    installed_by: ClassVar[str] = "vllm"

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(OURS & extra.keys()):
            raise ValueError(f"{', '.join(taken)} cannot be set here: other settings decide that")
        return extra

    @property
    def gpus(self) -> int:
        """GPUs that share one copy of the model."""
        return self.tensor_parallel

    def open(self, subject: Subject, say: Say = silent) -> Engine:
        """Return the engine, which loads vLLM with its first requests; see :class:`drp.engines.registry.EngineSettings`."""
        if find_spec("vllm") is None:
            raise MissingExtraError("vllm", self.installed_by)
        from drp.engines.vllm_engine import VllmEngine

        model, adapter = resolve_model(subject.model), None
        if self.lora and subject.trained:
            adapter, why = adapter_of(Path(model), resolve_model(subject.student.source))
            if why:
                say(f"note: {why}, so vLLM loads the merged model {model}")
                adapter = None
        return VllmEngine(
            resolve_model(subject.student.source) if adapter else model,
            self,
            device=subject.student.device,
            dtype=subject.student.dtype,
            tags=subject.student.thinking_tags,
            adapter=adapter,
        )

    def number_format(self, student: StudentSettings) -> str:
        """Return the number format that the device chooses."""
        return in_process().pick_dtype(student.device, student.dtype)
