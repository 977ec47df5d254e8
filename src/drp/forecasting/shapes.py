"""The shape of a student: how many weights it has and what a token of it costs, from its config.json."""

import json
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from drp.engines.identity import resolve_model, split_revision
from drp.errors import DataError
from drp.forecasting.tables import table
from drp.records import Record

BYTES = 2
"""Bytes of a weight or an activation: bfloat16, which is what a GPU runs."""


class Shape(Record):
    """A decoder with full attention and gated feed-forward layers, as Qwen and Llama are."""

    name: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    intermediate_size: int
    vocab_size: int
    head_dim: int
    tie_word_embeddings: bool = False

    @property
    def layer_weights(self) -> int:
        """Weights of all layers: what every token is multiplied by, besides the head."""
        attention = (
            2 * (self.num_attention_heads + self.num_key_value_heads) * self.head_dim * self.hidden_size
        )
        return self.num_hidden_layers * (attention + 3 * self.hidden_size * self.intermediate_size)

    @property
    def head_weights(self) -> int:
        """Weights of the head, or of the embeddings."""
        return self.vocab_size * self.hidden_size

    @property
    def weights(self) -> int:
        """All weights that are held."""
        return self.layer_weights + self.head_weights * (1 if self.tie_word_embeddings else 2)

    @property
    def used(self) -> int:
        """Weights that a decoding step reads; of the embeddings it reads a few rows."""
        return self.layer_weights + self.head_weights

    @property
    def position_bytes(self) -> int:
        """Bytes of the keys and values of one position."""
        return 2 * BYTES * self.num_hidden_layers * self.num_key_value_heads * self.head_dim


def named_shape(name: str) -> Shape:
    """Return a shape of the table by its short name, such as ``r1-7b``."""
    return _shape(name, table("shapes")[name])


def short_name(model: str) -> str | None:
    """Return the table's name of a model, ``None`` where the table does not know it."""
    id_, _ = split_revision(model)
    return next((name for name, row in table("shapes").items() if id_ in row["ids"]), None)


def shape_of(model: str) -> Shape:
    """Return the shape of a student: a folder's by its config.json, else the table's, else the hub's.

    Raises:
        DataError: It is in none of them, or its config says too little.
    """
    folder = Path(resolve_model(model))
    if folder.is_dir():
        return _read(folder / "config.json", model)
    if name := short_name(model):
        return named_shape(name)
    return _read(_from_hub(model), model)


def _from_hub(model: str) -> Path:
    id_, revision = split_revision(model)
    try:
        from huggingface_hub import hf_hub_download  # pyright: ignore[reportUnknownVariableType]

        return Path(hf_hub_download(id_, "config.json", revision=revision))
    except Exception as error:
        raise DataError(
            f"what {model} is made of is not known: it is no folder, not in the table of known students, and the hub did not give its "
            f"config.json ({type(error).__name__}). Fetch it first, and name its folder: student.model=FOLDER"
        ) from error


def _read(path: Path, model: str) -> Shape:
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({error}): a student's folder needs its config.json"
        ) from error
    config = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    return _shape(Path(model).name, {**config, **cast("dict[str, Any]", config.get("text_config") or {})})


def _shape(name: str, config: dict[str, Any]) -> Shape:
    heads = config.get("num_attention_heads") or 0
    filled = {
        **{field: config[field] for field in Shape.model_fields if config.get(field) is not None},
        "name": name,
        "num_key_value_heads": config.get("num_key_value_heads") or heads,
        "head_dim": config.get("head_dim") or (config.get("hidden_size", 0) // heads if heads else 0),
    }
    try:
        return Shape.model_validate(filled)
    except ValidationError as error:
        missing = ", ".join(str(e["loc"][0]) for e in error.errors())
        raise DataError(
            f"the config.json of {name} does not say its {missing}, so nothing can be forecast"
        ) from None
