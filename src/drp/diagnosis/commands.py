"""The command that a diagnosis ends on."""

import shlex


def next_command(source: str, is_model: bool, is_folder: bool) -> str:
    """Return what to do next with a model, a run folder or a file of completions."""
    named = shlex.quote(source)
    if is_model:
        return (
            "drp run recipes/mini.yaml"
            if source == "mini"
            else (f"drp run recipes/r1_qwen_1.5b.yaml student.model={named} --dry-run")
        )
    if is_folder:
        return f"drp run {named}"
    return f"drp prune --traces {named}"
