"""What a stage runs on: memory, bandwidth, matrix peak and price of one GPU."""

from typing import Any, cast

import yaml
from pydantic import Field, ValidationError

from drp.errors import RecipeError
from drp.forecasting.tables import table
from drp.records import Record


class Hardware(Record):
    """One GPU, or one thread of a CPU."""

    name: str
    memory: float = Field(gt=0)
    """GiB."""
    bandwidth: float = Field(gt=0)
    """TB/s between memory and processor."""
    flops: float = Field(gt=0)
    """Dense bfloat16 matrix peak, in TFLOP/s."""
    price: float = Field(default=0.0, ge=0)
    """Dollars an hour."""

    @property
    def family(self) -> str:
        """Which measured rows speak for it: those of a GPU, or of a CPU."""
        return "cpu" if self.name == "cpu" else "gpu"


def hardware_of(name: str, price: float | None = None) -> Hardware:
    """Return known hardware by its name, or hardware of one's own, described by its limits.

    Args:
        name: Such as ``h100``; or ``memory=48,bandwidth=0.86,flops=362`` (GiB, TB/s, TFLOP/s).
        price: Dollars an hour, instead of the table's.

    Raises:
        RecipeError: There is no such GPU in the table, or a limit is missing or no number.

    Examples:
        >>> hardware_of("h100").memory, hardware_of("memory=48,bandwidth=0.9,flops=300", 1.0).price
        (80.0, 1.0)
    """
    known = table("hardware")
    if "=" in name:
        found = _described(name)
    elif name.lower() in known:
        found = Hardware(name=name.lower(), **known[name.lower()])
    else:
        raise RecipeError(
            f"no GPU {name!r} in the table ({', '.join(known)}). Describe it: --gpu memory=GIB,bandwidth=TB_PER_S,flops=TFLOPS"
        )
    return found if price is None else found.model_copy(update={"price": price})


def _described(text: str) -> Hardware:
    fields: dict[str, Any] = {"name": "custom"}
    for part in text.split(","):
        key, _, value = part.partition("=")
        fields[key.strip()] = cast("object", yaml.safe_load(value))
    try:
        return Hardware(**fields)
    except ValidationError as error:
        wrong = ", ".join(str(e["loc"][0]) for e in error.errors())
        raise RecipeError(
            f"--gpu {text}: {wrong} missing, unknown or no positive number. "
            "Write memory=GIB,bandwidth=TB_PER_S,flops=TFLOPS, with price=DOLLARS_AN_HOUR if you like"
        ) from None
