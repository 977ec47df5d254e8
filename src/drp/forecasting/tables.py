"""The tables beside this file: hardware, shapes, measured throughput, published lengths."""

from functools import lru_cache
from importlib.resources import files
from typing import Any, cast

import yaml


@lru_cache(maxsize=8)
def table(name: str) -> dict[str, Any]:
    """Return the table ``name.yaml`` of this room; it is shared, so it must not be changed."""
    text = files("drp.forecasting").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    return cast("dict[str, Any]", yaml.safe_load(text))
