"""What a student's small files say of it: template, thinking tags, context, size. Needs neither torch nor transformers.

A chat template is a program in Jinja that turns messages into a prompt; it is rendered here in the same sandbox that
`transformers` renders it in.
"""

import json
import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import Field

from drp.engines.identity import HUB_ID, resolve_model, split_revision
from drp.records import Record
from drp.text.thinking import THINK, Tags

KNOWN_TAGS = (
    THINK,
    Tags("[THINK]", "[/THINK]"),
    Tags("<seed:think>", "</seed:think>"),
    Tags("<|START_THINKING|>", "<|END_THINKING|>"),
    Tags("<thought>", "</thought>"),
    Tags("<reasoning>", "</reasoning>"),
)
"""What models are known to write around their thinking; DeepSeek and Qwen, Magistral, Seed, Command A, …"""
SMALL_FILES = ("config.json", "tokenizer_config.json", "chat_template.jinja")
"""Files of a few kilobytes that say what a student is."""
MOST_BYTES = 5_000_000
HUB_S = 5.0
"""Seconds that the hub has to answer."""


class StudentFiles(Record):
    """What is known of a student."""

    source: str
    """Where it comes from: ``files``, or ``family`` where nothing but its name was there to look at."""
    tags: Tags | None = None
    """What it writes around its thinking; ``None`` if nothing known was found."""
    template: str | None = None
    """Its chat template."""
    special: dict[str, str] = Field(default_factory=dict)
    """Tokens that the template may name, such as ``bos_token``."""
    prefilled: bool | None = None
    """Whether its prompt ends in the opening tag; ``None`` if that is not known."""
    switch: str | None = None
    """The argument of its template that turns thinking on and off, if it has one."""
    context: int | None = None
    """Most tokens of prompt and completion together."""
    parameters: float | None = None
    """How many, about."""
    row_bytes: int | None = None
    """What keys and values of one token take at two bytes a number."""

    def prompt(self, arguments: Mapping[str, Any] | None = None, question: str = "1 + 1 = ?") -> str:
        """Return the prompt that its template makes of a question.

        Raises:
            TemplateError: The template refuses it, or there is none.
        """
        if self.template is None:
            raise TemplateError("there is no chat template")
        return _render(self.template, self.special, question, arguments or {})


SWITCHES = ("enable_thinking", "thinking")
"""Names of the argument that turns thinking on and off: Qwen3, GLM and SmolLM3; Granite and DeepSeek V3.1."""
_SIZE = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)B(?![a-z])")
"""A size in a name: takes 1.5 from "Qwen-1.5B", leaves "8Bit"."""
FAMILIES: tuple[tuple[str, bool, str | None, int], ...] = (
    # name holds, prompt opens the thinking, switch, context
    (r"DeepSeek-R1-Distill", True, None, 131_072),
    (r"Qwen3-.*Thinking", True, None, 262_144),
    (r"Qwen3-\d", False, "enable_thinking", 40_960),
    (r"QwQ-32B", True, None, 40_960),
)
"""What is known of students that recipes are often for, where their files cannot be read."""


def student_files(model: str, *, hub: bool = True) -> StudentFiles | None:
    """Return what is known of a student.

    Args:
        model: `mini`, a folder, or an id on the hub, with its revision behind it or not.
        hub: Whether the hub may be asked; what this machine's cache has is read in either case.

    Returns:
        What its files say, else what is known of its family, else ``None``.
    """
    name = resolve_model(model)
    folder = Path(name)
    if folder.is_dir():
        names = (*SMALL_FILES, "tokenizer.json")
        files = {file: _text(folder / file) for file in names if (folder / file).is_file()}
    else:
        files = _from_hub(name, hub=hub)
    return _read(name, files) if files else _family(name)


def _from_hub(name: str, *, hub: bool) -> dict[str, str]:
    """Return the small files of a model on the hub that this machine's cache has, or that can be read in seconds.

    Not with the hub's library: where no network is, it tries each file for half a minute. No token is sent, so gated
    models are known by their family alone.
    """
    id_, revision = split_revision(name)
    found = _cached(id_, revision)
    if (
        found
        or not hub
        or not HUB_ID.fullmatch(id_)
        or os.environ.get("HF_HUB_OFFLINE", "0") not in ("0", "")
    ):
        return found
    base = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    for file in SMALL_FILES:
        url = f"{base}/{id_}/resolve/{quote(revision or 'main', safe='')}/{file}"
        try:
            with urlopen(url, timeout=HUB_S) as answer:
                found[file] = answer.read(MOST_BYTES).decode("utf-8", "replace")
        except HTTPError:
            continue  # it has no such file, or shows it to members only
        except (OSError, ValueError):
            break  # no network: the next one will not be reached either
    return found


def _cached(id_: str, revision: str | None) -> dict[str, str]:
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return {}
    try:
        paths = {file: try_to_load_from_cache(id_, file, revision=revision) for file in SMALL_FILES}
    except ValueError:  # no name that the hub could have
        return {}
    return {file: _text(Path(path)) for file, path in paths.items() if isinstance(path, str)}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _read(name: str, files: Mapping[str, str]) -> StudentFiles:
    settings, config = _json(files.get("tokenizer_config.json")), _json(files.get("config.json"))
    template = _template(files.get("chat_template.jinja"), settings)
    special = {key: _token(value) for key, value in settings.items() if key.endswith("_token")}
    known = StudentFiles(
        source="files",
        template=template,
        special={key: value for key, value in special.items() if value},
        switch=next((s for s in SWITCHES if template and re.search(rf"\b{s}\b", template)), None),
        tags=_tags(template or "", files.get("tokenizer.json"), settings),
        **_shape(config),
    )
    return known.model_copy(
        update={"prefilled": _prefilled(known), "parameters": known.parameters or size_in_name(name)}
    )


def _prefilled(known: StudentFiles) -> bool | None:
    """Return whether the prompt opens the thinking itself, where the template lets the student think."""
    arguments = {known.switch: True} if known.switch else {}
    try:
        return (known.tags or THINK).end(known.prompt(arguments))
    except TemplateError:
        return None


def _family(name: str) -> StudentFiles | None:
    for pattern, prefilled, switch, context in FAMILIES:
        if re.search(pattern, name, re.IGNORECASE):
            return StudentFiles(
                source="family",
                tags=THINK,
                prefilled=prefilled,
                switch=switch,
                context=context,
                parameters=size_in_name(name),
            )
    return None


def size_in_name(name: str) -> float | None:
    """Return the number of parameters that a model's name says."""
    found = _SIZE.findall(Path(name).name)
    return float(found[-1]) * 1e9 if found else None


def _json(text: str | None) -> dict[str, Any]:
    try:
        found: object = json.loads(text or "{}")
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _template(text: str | None, settings: Mapping[str, Any]) -> str | None:
    """Return the chat template: a file of its own, or in the tokenizer's settings, there alone or one of several."""
    if text is not None:
        return text
    found = settings.get("chat_template")
    if isinstance(found, list):
        named = {str(one.get("name")): one.get("template") for one in cast("list[dict[str, Any]]", found)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def _token(value: object) -> str:
    """Return a token that is written as a text, or as a mapping with its ``content``."""
    if isinstance(value, dict):
        value = cast("dict[str, object]", value).get("content")
    return value if isinstance(value, str) else ""


def _tags(template: str, tokenizer: str | None, settings: Mapping[str, Any]) -> Tags | None:
    """Return the tags that the template or the added tokens have; the closing one at least, since some leave out the other."""
    added = _json(tokenizer).get("added_tokens") or list(
        cast("dict[str, Any]", settings.get("added_tokens_decoder") or {}).values()
    )
    tokens = {str(token.get("content")) for token in cast("list[dict[str, Any]]", added)}
    return next((tags for tags in KNOWN_TAGS if tags.close in tokens or tags.close in template), None)


def _shape(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return context, parameters and bytes a token that a model's configuration stands for, as far as it says."""
    text = config.get("text_config")
    shape = cast("dict[str, Any]", text) if isinstance(text, dict) else dict(config)
    try:
        layers, hidden, heads = (
            int(shape[n]) for n in ("num_hidden_layers", "hidden_size", "num_attention_heads")
        )
        inner, words = int(shape["intermediate_size"]), int(shape["vocab_size"])
    except (KeyError, TypeError, ValueError):
        return {"context": shape.get("max_position_embeddings")}
    shared = int(shape.get("num_key_value_heads") or heads)
    size = int(shape.get("head_dim") or hidden // heads)
    layer = 2 * hidden * size * (heads + shared) + 3 * hidden * inner
    tables = 1 if shape.get("tie_word_embeddings") else 2
    mixture = any("expert" in key for key in shape)  # whose experts this does not count
    return {
        "context": shape.get("max_position_embeddings"),
        "parameters": None if mixture else float(layers * layer + tables * words * hidden),
        "row_bytes": 2 * layers * shared * size * 2,
    }


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _render(template: str, special: Mapping[str, str], question: str, arguments: Mapping[str, Any]) -> str:
    def as_json(value: Any, **how: Any) -> str:
        return json.dumps(value, ensure_ascii=False, **how)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = as_json
    names: dict[str, Any] = environment.globals
    names.update(raise_exception=_refuse, strftime_now=datetime.now().strftime)
    messages = [{"role": "user", "content": question}]
    try:
        return environment.from_string(template).render(
            messages=messages,
            add_generation_prompt=True,
            tools=None,
            documents=None,
            **{**special, **arguments},
        )
    except TemplateError:
        raise
    except Exception as error:  # a template is a program, and fails as programs do
        raise TemplateError(str(error)) from error
