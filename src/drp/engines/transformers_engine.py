"""The in-process engine: any Hugging Face causal language model, batched, on CPU or GPU."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
)
from transformers.utils import logging

from drp.engines.base import Reply, Request, Sampling
from drp.engines.decoding import decode
from drp.engines.encoding import encode, render_prompt
from drp.engines.generated_ids import completion_of
from drp.engines.identity import model_identity, pretrained
from drp.engines.slots import SlotDecoder, fits
from drp.errors import EngineError, out_of_memory
from drp.text.thinking import THINK, Tags

REFILLS = 16
"""On a GPU a batch holds so many times the slots: its last rows leave slots idle, and the fewer such ends the better."""


def pick_device(device: str) -> torch.device:
    """Return the device a setting names; ``auto`` prefers CUDA, then CPU.

    Raises:
        EngineError: There is no such device on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        here = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
        known = (found.index or 0) < here.get(found.type, 1)
    except RuntimeError:
        found, known = None, False
    if found is None or not known:
        raise EngineError(
            f"student.device={device}: there is no such device here. torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA device(s); set student.device=auto or cpu, or install a torch "
            "that was built for this machine's driver"
        )
    return found


def pick_dtype(device: str, dtype: str) -> str:
    """Return the number format a setting names; ``auto`` is bfloat16 on a GPU, be it here or not, float32 on a CPU."""
    if dtype != "auto":
        return dtype
    where = pick_device(device).type if device == "auto" else device.partition(":")[0]
    return "bfloat16" if where == "cuda" else "float32"


def described(path: str, tokenizer: Any) -> tuple[int, list[int]]:
    """Return a model's context, 0 where it names none, and the ids that end a completion; no weights are read.

    Raises:
        EngineError: Its config cannot be read, or it names no end token.
    """
    try:
        where = pretrained(path)
        config = AutoConfig.from_pretrained(**where)
        try:
            generation = GenerationConfig.from_pretrained(
                where["pretrained_model_name_or_path"], revision=where["revision"]
            )
        except OSError:  # it has none of its own
            generation = GenerationConfig.from_model_config(config)
    except (OSError, ValueError) as error:
        raise EngineError(f"cannot read the student's config.json at {path}: {error}") from error
    text = config.get_text_config()
    return int(getattr(text, "max_position_embeddings", 0) or 0), end_ids(generation, tokenizer, path)


def load_tokenizer(path: str) -> Any:
    """Load a tokenizer with a chat template.

    Raises:
        EngineError: There is none at ``path``; the message says how to mend that.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(**pretrained(path))
    except (OSError, ValueError) as error:
        if out_of_memory(error):
            raise
        raise _cannot_load(path, error) from error
    if not getattr(tokenizer, "chat_template", None):
        raise EngineError(
            f"{path} has no chat template; put a chat_template.jinja next to its tokenizer.json"
        )
    return tokenizer


def _cannot_load(path: str, error: Exception) -> EngineError:
    reason = str(error).split("\n", 1)[0]
    return EngineError(
        f"cannot load the student {path!r}: {reason} Give a local checkpoint folder, a hub id "
        "that this machine can reach, with a revision it has, or `mini` for the embedded student."
    )


def load_model(path: str, device: str, dtype: str) -> PreTrainedModel:
    """Load a causal language model in eval mode; ``auto`` is bfloat16 on GPU, float32 on CPU.

    Raises:
        EngineError: The model cannot be loaded; the message says from where and why.
    """
    logging.disable_progress_bar()  # stages show progress of their own
    where = pick_device(device)
    try:
        number_format = getattr(torch, pick_dtype(device, dtype))
        model = AutoModelForCausalLM.from_pretrained(**pretrained(path), dtype=number_format)
    except (OSError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
        if out_of_memory(error):
            raise
        raise _cannot_load(path, error) from error
    placed: Any = model  # the stub of `to` is a wrapper that strict checking cannot see through
    return placed.to(where).eval()


def stop_ids(model: Any, tokenizer: Any) -> list[int]:
    """Return the ids that end a completion: those of the generation config, and the tokenizer's end token.

    Raises:
        EngineError: There is none.
    """
    return end_ids(model.generation_config, tokenizer, model.name_or_path)


def end_ids(generation_config: Any, tokenizer: Any, name: str) -> list[int]:
    """Return the same of a model that is not loaded here.

    Raises:
        EngineError: There is none.
    """
    configured = getattr(generation_config, "eos_token_id", None)
    stops = configured if isinstance(configured, list) else [configured]
    found = sorted({int(s) for s in [*stops, tokenizer.eos_token_id] if s is not None})
    if not found:
        raise EngineError(f"{name} names no end token; set eos_token_id in its generation_config.json")
    return found


class TransformersEngine:
    """Runs requests in batches of similar prompt length, each row with its own seed.

    On a GPU a batch is decoded in ``batch_size`` slots and holds several times as many requests, so that
    the slots of finished rows are taken by others.
    """

    def __init__(
        self,
        path: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 64,
        tags: Tags = THINK,
    ) -> None:
        self.path, self.batch_size, self.tags = path, batch_size, tags
        self.tokenizer = load_tokenizer(path)
        self.model = load_model(path, device, dtype)
        self.stop_ids = stop_ids(self.model, self.tokenizer)
        self.context = int(getattr(self.model.config, "max_position_embeddings", 0) or 0)
        self._slots = (
            SlotDecoder(self.model, self.stop_ids, batch_size, fused=True) if fits(self.model) else None
        )
        refilled = self._slots is not None and self.model.device.type == "cuda"
        self._planned = batch_size * (REFILLS if refilled else 1)

    @property
    def name(self) -> str:
        """Folder or hub name of the model."""
        return Path(self.path).name

    @property
    def flying(self) -> int:
        """How many requests are being decoded."""
        return self._slots.used.flying if self._slots else 0

    @property
    def drawn(self) -> int:
        """Tokens drawn so far."""
        return self._slots.used.drawn if self._slots else 0

    @property
    def identity(self) -> dict[str, str]:
        """Content identity of the weights."""
        return model_identity(self.path)

    def _render(self, request: Request) -> tuple[list[int], bool]:
        messages = [m.model_dump() for m in request.messages]
        text = render_prompt(self.tokenizer, messages, request.template_arguments, self.tags)
        return encode(self.tokenizer, text), self.tags.end(text)

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Group by sampling and prompt length, longest first, so that memory trouble shows early."""

        def key(request: Request) -> tuple[str, int, str]:
            return (
                request.sampling.model_dump_json(),
                -sum(len(m.content) for m in request.messages),
                request.id,
            )

        ordered = sorted(requests, key=key)
        groups: list[list[Request]] = []
        for request in ordered:
            full = not groups or len(groups[-1]) >= self._planned
            if full or groups[-1][0].sampling != request.sampling:
                groups.append([])
            groups[-1].append(request)
        return groups

    async def complete(self, batches: Sequence[Sequence[Request]]) -> AsyncIterator[Reply]:
        """Yield replies as their rows end."""
        for batch in batches:
            for reply in self._complete_batch(batch):
                yield reply

    def _complete_batch(self, batch: Sequence[Request]) -> Iterator[Reply]:
        rendered = [self._render(request) for request in batch]
        sampling = batch[0].sampling
        longest = max(len(ids) for ids, _ in rendered)
        limit = sampling.max_new_tokens
        if self.context and longest + limit > self.context:
            limit = self.context - longest
            if limit < 1:
                raise EngineError(
                    f"a prompt of {longest} tokens does not fit the {self.context}-token context of {self.path}"
                )
        prompts, seeds = [ids for ids, _ in rendered], [request.seed for request in batch]
        for row, output in self._decode(
            prompts, seeds, sampling.model_copy(update={"max_new_tokens": limit})
        ):
            ids, opened = rendered[row]
            outcome = completion_of(
                self.tokenizer, output, len(ids), self.stop_ids, opened=opened, tags=self.tags
            )
            yield Reply(batch[row].id, outcome)

    def _decode(
        self, prompts: list[list[int]], seeds: list[int], how: Sampling
    ) -> Iterator[tuple[int, list[int]]]:
        if self._slots is not None:
            return self._slots.decode(prompts, seeds, how)
        return enumerate(decode(self.model, prompts, seeds, how, self.stop_ids))

    async def close(self) -> None:
        """Drop the model."""
        self._slots = None
        del self.model
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
