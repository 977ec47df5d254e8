"""Pruned traces as Parquet: every field, with edits and checks as nested columns, a few rows in memory at a time."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import importlib
import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from drp.errors import MissingExtraError
from drp.records import PrunedTrace
from drp.runs.journal import writing

ROWS = 256
"""Rows of one group, about 20 MB of long traces."""


def write_parquet(path: Path, traces: Iterable[PrunedTrace]) -> int:
    """Write pruned traces; return how many.

    Raises:
        MissingExtraError: It needs pyarrow.
    """
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtraError("pyarrow", "train") from error
    schema, count, waiting = _schema(arrow), 0, iter(traces)
    temporary = path.with_name(path.name + ".tmp")
    with writing(path):
        with parquet.ParquetWriter(temporary, schema) as writer:
            while rows := [_row(trace) for trace in islice(waiting, ROWS)]:
                writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
                count += len(rows)
        temporary.replace(path)
    return count


def _row(trace: PrunedTrace) -> dict[str, Any]:
    row = trace.model_dump(mode="json")
    script: dict[str, Any] = row.pop("script")
    checks: list[dict[str, Any]] = row.pop("checks")
    # Figures have names of their own in each check, which columns cannot have.
    named = [{**check, "figures": json.dumps(check["figures"])} for check in checks]
    used = row.pop("usage")
    return {
        **row,
        "units": script["units"],
        "edits": script["edits"],
        "checks": named,
        "protocol": json.dumps(row["protocol"]),
        "usage": json.dumps(used) if used else None,
    }


def _schema(arrow: Any) -> Any:
    text, whole, truth = arrow.string(), arrow.int64(), arrow.bool_()
    edit = arrow.struct(
        [("first", whole), ("last", whole), ("action", text), ("skills", arrow.list_(text)), ("text", text), ("reason", text), ("borders", arrow.list_(whole))]
    )  # fmt: skip
    check = arrow.struct(
        [("name", text), ("passed", truth), ("figures", text), ("detail", text), ("required", truth)]
    )
    others = {
        "units": whole,
        "edits": arrow.list_(edit),
        "checks": arrow.list_(check),
        "replies": arrow.list_(text),
    }
    others |= dict.fromkeys(("tokens_before", "tokens_after", "candidates"), whole)
    others |= dict.fromkeys(("accepted", "repaired", "polished"), truth)
    names = [name for name in PrunedTrace.model_fields if name != "script"]
    return arrow.schema([(name, others.get(name, text)) for name in (*names, "units", "edits")])
