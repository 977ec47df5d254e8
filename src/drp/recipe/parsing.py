"""YAML text into plain data, within bounds: no text, however made, takes long or fills the memory."""

from collections.abc import Iterable
from typing import Any, cast

import yaml

DEEPEST = 50
"""Most levels of nesting; a recipe has six."""
MOST_NODES = 10_000
"""Most keys and values, with every alias counted as what it stands for."""
MOST_BYTES = 1_000_000
"""Longest text."""


def parse_yaml(text: str) -> object:
    """Return the plain data of one YAML document.

    Raises:
        ValueError: It is no YAML, names a key twice, or is beyond the bounds; says what and where.
    """
    try:
        _check_bounds(text)
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        tabs = "; indent with spaces, not with tabs" if "'\\t'" in str(error) else ""
        raise ValueError(f"{str(error)[:500]}{tabs}") from error
    except Exception as error:  # PyYAML's constructors raise whatever their conversions do: 2024-13-45, 0x_
        raise ValueError(f"a value cannot be read: {str(error)[:200]}") from error


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, for which a key that stands twice is an error, not the last one's to win."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Compose a mapping; its keys are looked at before `<<` merges others in, which it may well override."""
        node: Any = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # no field is named by a list or a mapping; that is refused when it is constructed
            if key.value in seen:
                raise _refused(f"the key {key.value!r} stands twice in one section; keep one", key.start_mark)
            seen.add(key.value)
        return node


def _check_bounds(text: str) -> None:
    """Read a text's events, which takes neither recursion nor memory, and stop where they leave the bounds.

    A few lines of aliases of aliases stand for billions of values ("billion laughs"), so an alias counts as many
    nodes as its anchor: in `a: &a [1, 2]`, `b: [*a, *a]` the list of b counts as seven.
    """
    if len(text) > MOST_BYTES:
        raise _refused(f"longer than {MOST_BYTES:,} characters", None)
    total = 0
    sizes: dict[str, int] = {}  # of anchors whose node has ended
    opened: list[tuple[str | None, int]] = []  # anchor of each open collection, and the total before it
    events = cast("Iterable[yaml.Event]", yaml.parse(text, Loader=yaml.SafeLoader))  # type: ignore[reportUnknownMemberType]
    for event in events:
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in (anchor for anchor, _ in opened):
                raise _refused(f"*{event.anchor} stands inside what it names", mark)
            total += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            sizes[event.anchor or ""] = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            sizes[anchor or ""] = total - before
        if len(opened) > DEEPEST:
            raise _refused(f"nested more than {DEEPEST} deep", mark)
        if total > MOST_NODES:
            raise _refused(f"more than {MOST_NODES:,} keys and values, aliases spelt out", mark)


def _refused(problem: str, mark: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
