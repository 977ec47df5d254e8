"""Adapters that vLLM lays over the student: which of them stand for a trained model, and how a server gets one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drp.engines.identity import model_identity
from drp.errors import EngineError
from drp.runs import layout

if TYPE_CHECKING:
    from openai import AsyncOpenAI

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM makes room for."""


def adapter_of(model: Path, student: str) -> tuple[Path, str | None]:
    """Return the adapter that a trained model was merged from, and why the student with it is not that very model.

    It is not where the adapter was merged at another scale, belongs to another model or is more than LoRA matrices.

    Args:
        model: Folder of the trained model.
        student: Folder or hub id of the student, as it is loaded.
    """
    adapter, merged = model.with_name(layout.ADAPTER), model.with_name(layout.MERGED)
    try:
        config = json.loads((adapter / "adapter_config.json").read_bytes())
        scale = json.loads(merged.read_bytes())["strength"] if merged.exists() else 1.0
    except FileNotFoundError:
        return adapter, f"there is no adapter in {adapter}"
    except (OSError, ValueError, KeyError) as error:
        return adapter, f"{adapter} or {merged.name} beside it cannot be read ({error})"
    of, revision = config.get("base_model_name_or_path"), config.get("revision")
    of = f"{of}@{revision}" if revision else of
    others = [k for k in ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern") if config.get(k)]
    why = (
        f"the model was merged at scale {scale:g} of its adapter" if scale != 1.0
        else f"{adapter} is of {of}, not of {student}" if of != student
        else f"vLLM does not serve adapters with {', '.join(others)}" if others
        else f"its rank {config['r']} is above {RANKS[-1]}" if config["r"] > RANKS[-1]
        else None
    )  # fmt: skip
    return adapter, why


@dataclass(frozen=True)
class AdapterOnServer:
    """Has a server load an adapter, under a name made of its content: what answers to it can be no other model.

    vLLM: https://docs.vllm.ai/en/latest/features/lora/#dynamically-serving-lora-adapters
    """

    adapter: Path
    """Its folder, by the path under which the server finds it too."""

    @property
    def name(self) -> str:
        """What the server calls it."""
        return f"drp-{model_identity(str(self.adapter))['content'][:12]}"

    async def load(self, client: "AsyncOpenAI") -> None:
        """Make sure that the server has it.

        Raises:
            EngineError: The server does not load adapters, or not this one; the message says what to do.
            openai.APIConnectionError: Nobody answers.
        """
        import openai

        asks = client.with_options(max_retries=0)
        try:
            if self.name in {served.id for served in (await asks.models.list()).data}:
                return
            body = {"lora_name": self.name, "lora_path": str(self.adapter.resolve())}
            await asks.post("/load_lora_adapter", cast_to=str, body=body)
        except openai.NotFoundError as error:
            raise EngineError(
                f"{client.base_url} loads no adapters. Serve the student with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve "
                "… --enable-lora --max-lora-rank RANK; or serve the adapter by a name and give trained_model instead"
            ) from error
        except openai.APIStatusError as error:
            raise EngineError(
                f"{client.base_url} does not load the adapter {self.adapter} ({error.status_code}): {error.message}. The server "
                "must see that folder by the same path, and make room for its rank (vLLM: --max-lora-rank)"
            ) from error
