"""Short edit scripts for tests: which units go, and which are written anew."""

from collections.abc import Mapping, Sequence

from drp.records import Edit, EditScript


def pruned(units: Sequence[str], *gone: int, texts: Mapping[int, str] | None = None) -> EditScript:
    """One edit a unit: deleted where named, written anew where a text is given, else kept."""
    texts = texts or {}

    def edit(i: int) -> Edit:
        if i in texts:
            return Edit(first=i, last=i, action="rewrite", skills=("x",), text=texts[i])
        action = "delete" if i in gone else "keep"
        return Edit(first=i, last=i, action=action, skills=("x",), reason="test" if i in gone else None)

    return EditScript(units=len(units), edits=tuple(edit(i) for i in range(len(units))))
