"""Names that stand for several settings."""

from collections.abc import Mapping

from drp.errors import RecipeError
from drp.teachers.registry import TEACHERS


def named_teacher(name: str) -> list[str]:
    """Return the changes to a recipe that a teacher's name stands for: ``KIND``, or ``KIND/PROTOCOL`` as in ``edit_script/json``.

    Raises:
        RecipeError: The kind has no such protocol.
    """
    kind, _, protocol = name.partition("/")
    if not protocol:
        return [f"prune.teacher={kind}"]
    known: Mapping[str, Mapping[str, str]] = (
        TEACHERS.settings(kind).protocols if kind in TEACHERS.names() else {}
    )
    if protocol not in known:
        some = ", ".join(f"{kind}/{other}" for other in known) or f"{kind} alone"
        raise RecipeError(f"there is no teacher {name!r}; there is {some}")
    fields = [f"prune.teacher.{field}={value}" for field, value in known[protocol].items()]
    return [f"prune.teacher={kind}", *fields]
