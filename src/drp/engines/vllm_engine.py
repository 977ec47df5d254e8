"""The in-process engine on vLLM: continuous batching and paged caches, for long completions of large students.

Token ids go in and come out, rendered and read as for engine ``transformers``, so that both see the same prompts and
count the same tokens. Nothing of the model's generation config is applied: every setting of sampling is stated.
"""

# The libraries behind this file ship incomplete types, and vLLM itself is seldom there where types are checked.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import json
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from drp.engines.adapters import RANKS
from drp.engines.base import Reply, Request, Sampling
from drp.engines.encoding import encode, render_prompt
from drp.engines.generated_ids import completion_of
from drp.engines.identity import model_identity, pretrained
from drp.engines.transformers_engine import described, load_tokenizer, pick_dtype
from drp.engines.vllm_settings import VllmSettings
from drp.errors import EngineError, out_of_memory
from drp.records import Failure
from drp.text.thinking import THINK, Tags

ROUNDED_TO = 256
"""Room for a prompt and its completion is rounded up to a multiple of this, so that it seldom has to grow."""
WAITING = 4
"""Requests handed to vLLM at a time, in multiples of those that it decodes at once."""
ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    # A process that has looked for GPUs must not be forked.
    "VLLM_WORKER_MULTIPROCESSING_METHOD": "spawn",
}
"""How vLLM runs unless the user's environment says otherwise: it sends nothing home, and stages report by themselves."""


class VllmEngine:
    """Runs requests through vLLM's own scheduler, each with its own seed, and yields each as it ends.

    vLLM is loaded with the first requests, since its memory is shared out by the longest of them. A kill loses only
    what was being decoded. Which requests share a step varies, so a resumed run need not give the same bits.
    """

    def __init__(
        self,
        path: str,
        settings: VllmSettings,
        *,
        device: str = "auto",
        dtype: str = "auto",
        tags: Tags = THINK,
        adapter: Path | None = None,
    ) -> None:
        self.path, self.settings, self.tags, self.adapter = path, settings, tags, adapter
        self.device, self.dtype = device, pick_dtype(device, dtype)
        self.tokenizer = load_tokenizer(path)
        self.context, self.stop_ids = described(path, self.tokenizer)
        self.room = 0
        self._vllm: Any = None
        self._llm: Any = None

    @property
    def name(self) -> str:
        """Folder or hub name of the model, and of the adapter over it."""
        name = Path(self.path).name
        return f"{name}+{self.adapter.name}" if self.adapter else name

    @property
    def identity(self) -> dict[str, str]:
        """Content identity of the weights, and of the adapter over them."""
        found = model_identity(self.path)
        return found | {"adapter": model_identity(str(self.adapter))["content"]} if self.adapter else found

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Every request on its own, those with the same prompt together: vLLM batches as it likes."""
        return [[request] for request in requests]

    async def complete(self, batches: Sequence[Sequence[Request]]) -> AsyncIterator[Reply]:
        """Yield replies as they end."""
        waiting = deque(self._prepared([request for batch in batches for request in batch]))
        if not waiting:
            return
        self._make_room(max(len(ids) + how.max_new_tokens for _, ids, _, how in waiting))
        try:
            for reply in self._run(waiting):
                yield reply
        except (self._vllm.v1.engine.exceptions.EngineDeadError, RuntimeError) as error:
            raise _died(error) from error

    def _prepared(self, requests: Sequence[Request]) -> Iterator[tuple[Request, list[int], bool, Sampling]]:
        """Return each request with its prompt, whether that opens the thinking, and a limit that fits the context."""
        for request in requests:
            messages = [m.model_dump() for m in request.messages]
            text = render_prompt(self.tokenizer, messages, request.template_arguments, self.tags)
            ids, how = encode(self.tokenizer, text), request.sampling
            if self.context and len(ids) + how.max_new_tokens > self.context:
                if len(ids) >= self.context:
                    raise EngineError(
                        f"a prompt of {len(ids)} tokens does not fit the {self.context}-token context of {self.path}"
                    )
                how = how.model_copy(update={"max_new_tokens": self.context - len(ids)})
            yield request, ids, self.tags.end(text), how

    def _run(self, waiting: deque[tuple[Request, list[int], bool, Sampling]]) -> Iterator[Reply]:
        """Keep vLLM busy without handing it everything at once."""
        engine, lora = self._llm.llm_engine, self._lora()
        flying: dict[str, tuple[Request, int, bool]] = {}
        try:
            while waiting or flying:
                while waiting and len(flying) < WAITING * self.settings.batch_size:
                    request, ids, opened, how = waiting.popleft()
                    flying[request.id] = (request, len(ids), opened)
                    asked = self._parameters(how, request.seed)
                    engine.add_request(request.id, {"prompt_token_ids": ids}, asked, lora_request=lora)
                for output in engine.step():
                    if output.finished:
                        yield self._reply(output, *flying.pop(output.request_id))
        except GeneratorExit:  # nobody waits for the rest
            engine.abort_request(list(flying))
            raise

    def _parameters(self, how: Sampling, seed: int) -> Any:
        """Return vLLM's parameters, all of them stated: what is left out would be the model's own defaults."""
        return self._vllm.SamplingParams(
            n=1,
            temperature=how.temperature,
            top_p=how.top_p,
            top_k=how.top_k,
            min_p=how.min_p,
            repetition_penalty=how.repetition_penalty,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            seed=seed,
            max_tokens=how.max_new_tokens,
            stop_token_ids=self.stop_ids,
            detokenize=False,
            output_kind=self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
        )

    def _reply(self, output: Any, request: Request, prompt_tokens: int, opened: bool) -> Reply:
        one = output.outputs[0]
        if one.finish_reason not in ("stop", "length"):
            why = f"vLLM ended it with {one.finish_reason!r} after {len(one.token_ids)} tokens"
            return Reply(
                request.id, Failure(id=request.id, stage="engine", kind="vllm", message=why, retry=True)
            )
        outcome = completion_of(
            self.tokenizer, one.token_ids, prompt_tokens, self.stop_ids, opened=opened, tags=self.tags
        )
        return Reply(request.id, outcome)

    def _lora(self) -> Any:
        if self.adapter is None:
            return None
        return self._vllm.lora.request.LoRARequest(
            lora_name="adapter", lora_int_id=1, lora_path=str(self.adapter)
        )

    def _make_room(self, tokens: int) -> None:
        """Load vLLM with room for so many tokens a request, again where what is loaded has less."""
        if self._llm is not None and tokens <= self.room:
            return
        self._shut_down()
        room = -(-tokens // ROUNDED_TO) * ROUNDED_TO
        self.room = min(room, self.context) if self.context else room
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._vllm = _vllm()
        self._refuse_device()
        try:
            self._llm = self._vllm.LLM(**self._arguments())
        except Exception as error:  # vLLM reports what went wrong in its processes as any kind of error
            raise _cannot_start(self.path, error) from error

    def _arguments(self) -> dict[str, Any]:
        """Return what vLLM is built with."""
        model, settings = pretrained(self.path), self.settings
        found = {
            "model": model["pretrained_model_name_or_path"],
            "dtype": self.dtype,
            "tensor_parallel_size": settings.tensor_parallel,
            "gpu_memory_utilization": settings.gpu_memory_utilization,
            "max_model_len": self.room,
            "max_num_seqs": settings.batch_size,
            "enable_prefix_caching": True,
            "enforce_eager": settings.eager,
            "generation_config": "vllm",  # none of the model's own
            "skip_tokenizer_init": True,
            "disable_log_stats": True,
        }
        if not Path(self.path).is_dir():
            found["revision"] = model["revision"]
        if self.adapter is not None:
            rank = int(json.loads((self.adapter / "adapter_config.json").read_bytes())["r"])
            room = next(most for most in RANKS if most >= rank)
            found |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": room}
        return found | settings.extra

    def _refuse_device(self) -> None:
        """Refuse a device that vLLM would not take, or not the one that is meant."""
        here = str(self._vllm.platforms.current_platform.device_type)
        if self.device in ("auto", here):
            return
        raise EngineError(
            f"student.device={self.device}: engine vllm runs on {here or 'no device'} here, on the GPUs that CUDA_VISIBLE_DEVICES "
            "names. Set student.device=auto, and CUDA_VISIBLE_DEVICES to the GPUs that it may have; or use engine transformers"
        )

    def _shut_down(self) -> None:
        """End vLLM's processes, which frees what they hold, the GPU's memory included."""
        if self._llm is not None:
            self._llm.llm_engine.engine_core.shutdown()
            self._llm = None

    async def close(self) -> None:
        """Free what vLLM holds."""
        self._shut_down()


def _vllm() -> Any:
    """Return vLLM, with the modules of it that are used here."""
    for name in ("platforms", "sampling_params", "lora.request", "v1.engine.exceptions"):
        import_module(f"vllm.{name}")
    return import_module("vllm")


def _cannot_start(path: str, error: Exception) -> EngineError:
    reason = " ".join(str(error).split())[:500]
    return EngineError(
        f"vLLM could not be started with {path}: {reason} If memory is short, lower engine.gpu_memory_utilization (others use the "
        "GPU too) or raise it (too little is left for the cache), lower sampling.max_new_tokens, or spread the model over several "
        "GPUs by engine.tensor_parallel. Run the same command with VLLM_LOGGING_LEVEL=INFO to read what vLLM says"
    )


def _died(error: BaseException) -> EngineError:
    memory = (
        "; it ran out of memory: lower engine.batch_size or engine.gpu_memory_utilization"
        if out_of_memory(error)
        else ""
    )
    return EngineError(
        f"vLLM stopped while decoding ({' '.join(str(error).split())[:300]}){memory}. What had ended is on file, and the same "
        "command goes on; with VLLM_LOGGING_LEVEL=INFO vLLM says more"
    )
