"""Settings of engine ``vllm``: the student's weights in this process, decoded by vLLM. Light: no torch, no vLLM."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from drp.engines.base import Engine
from drp.engines.identity import resolve_model
from drp.engines.local import in_process
from drp.engines.registry import EngineSettings, Subject
from drp.engines.settings import StudentSettings
from drp.errors import MissingExtraError
from drp.runs import layout
from drp.runs.fingerprints import EXECUTION
from drp.runs.stage import Say, silent

OURS = frozenset({
    "model", "revision", "tokenizer", "dtype", "tensor_parallel_size", "gpu_memory_utilization", "max_model_len",
    "max_num_seqs", "enable_prefix_caching", "generation_config", "skip_tokenizer_init", "enforce_eager", "enable_lora",
    "max_loras", "max_lora_rank", "data_parallel_size",
})  # fmt: skip
"""Arguments of vLLM that this package decides, or that its own settings name."""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM makes room for."""


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
            adapter = adapter_beside(Path(model), resolve_model(subject.student.source), say)
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


def adapter_beside(model: Path, student: str, say: Say = silent) -> Path | None:
    """Return the adapter that a trained model was merged from, if the student with it is that very model.

    It is not where the adapter was merged at another scale, belongs to another model or is more than LoRA matrices.
    Then there is ``None``, the reason is said, and the merged model serves.
    """
    adapter, merged = model.with_name(layout.ADAPTER), model.with_name(layout.MERGED)
    try:
        config = json.loads((adapter / "adapter_config.json").read_bytes())
        scale = json.loads(merged.read_bytes())["strength"] if merged.exists() else 1.0
    except FileNotFoundError:
        why = f"there is no adapter in {adapter}"
    except (OSError, ValueError, KeyError) as error:
        why = f"{adapter} or {merged.name} beside it cannot be read ({error})"
    else:
        revision = config.get("revision")
        of = (
            f"{config.get('base_model_name_or_path')}@{revision}"
            if revision
            else config.get("base_model_name_or_path")
        )
        others = [
            k for k in ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern") if config.get(k)
        ]
        why = (
            f"the model was merged at scale {scale:g} of its adapter" if scale != 1.0
            else f"{adapter} is of {of}, not of {student}" if of != student
            else f"vLLM does not serve adapters with {', '.join(others)}" if others
            else f"its rank {config['r']} is above {RANKS[-1]}" if config["r"] > RANKS[-1]
            else None
        )  # fmt: skip
    if why is None:
        return adapter
    say(f"note: {why}, so vLLM loads the merged model {model}")
    return None
