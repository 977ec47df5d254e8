"""Export: the training set as other trainers read it, written row by row, with a card that says where it came from."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field

from drp.engines.encoding import render_prompt, shield
from drp.engines.identity import HUB_ID
from drp.engines.prompting import prompt_messages
from drp.errors import DataError, MissingExtraError
from drp.methods.drp import of_pruned
from drp.recipe import Recipe
from drp.records import PrunedTrace, Record, Target
from drp.runs import layout
from drp.runs.folder import StageFolder
from drp.runs.journal import read_records, write_atomically
from drp.runs.manifest import installed_versions
from drp.runs.on_demand import Mapped, OnDemand, spooled, where
from drp.stages.llama_factory import dataset_info, training_yaml
from drp.stages.pruned_parquet import write_parquet
from drp.stages.training_set import choose, to_train

Format = Literal["trl", "sharegpt", "llamafactory", "parquet"]
DATA = {
    "trl": "train.jsonl",
    "sharegpt": "train.json",
    "llamafactory": "drp.json",
    "parquet": "pruned.parquet",
}
"""The file with the rows, by format."""


class Exported(Record):
    """What an export wrote."""

    folder: Path
    data: Path
    """The file with the rows."""
    rows: int
    left_out: dict[str, int] = Field(default_factory=dict)
    """How many texts are not in it, by reason."""
    notes: tuple[str, ...] = ()


def export_pruned(source: Path, form: Format, out: Path, recipe: Recipe) -> Exported:
    """Write the pruned traces of a run folder, or of a file of such records, for another trainer.

    Args:
        source: Run folder, or JSONL of pruned traces.
        form: Parquet has every pruned trace with all that was done to it; the others what `drp train` trains on.
        out: Folder to write to.
        recipe: Says how the student is asked and what is trained on.

    Raises:
        DataError: There is no such format, or nothing to export.
        MissingExtraError: Rendering prompts needs transformers, Parquet pyarrow.
    """
    if form not in get_args(Format):
        raise DataError(f"no such format: {form}; choose {', '.join(get_args(Format))}")
    pruned = _pruned(source)
    out.mkdir(parents=True, exist_ok=True)
    data = out / DATA[form]
    writer: _Rows | None = None
    if form == "parquet":
        rows, left_out, notes = write_parquet(data, pruned), dict[str, int](), tuple[str, ...]()
    else:
        accepted = where(pruned, lambda trace: trace.accepted)
        chosen = choose(Mapped(accepted, of_pruned), recipe.train.max_examples, recipe.train.seed)
        if not chosen:
            raise DataError(f"{source} has no accepted pruned trace, so there is nothing to export")
        writer = _Rows(recipe, form, {trace.id: trace.gold for trace in accepted})
        write_atomically(data, writer.lines(chosen))
        rows, left_out, notes = writer.written, writer.left_out, writer.notes()
        if beyond := len(accepted) - len(chosen):
            left_out = {**left_out, f"beyond train.max_examples={recipe.train.max_examples}": beyond}
    found = Exported(folder=out, data=data, rows=rows, left_out=left_out, notes=notes)
    if form == "llamafactory" and writer:
        write_atomically(out / "dataset_info.json", json.dumps(dataset_info(data.name), indent=2) + "\n")
        template = str(getattr(writer.tokenizer, "chat_template", None) or "")
        write_atomically(out / "train.yaml", training_yaml(recipe, template, model_name(recipe)))
    write_atomically(out / "README.md", _card(found, form, recipe))
    return found


def model_name(recipe: Recipe) -> str | None:
    """Return the student's hub id; ``None`` for a folder, which is nobody else's business."""
    source = recipe.student.source
    hub = source != "mini" and HUB_ID.fullmatch(source.partition("@")[0]) and not Path(source).exists()
    return source if hub else None


def _pruned(source: Path) -> OnDemand[PrunedTrace]:
    if source.is_dir():
        folder = StageFolder(source / layout.PRUNE, layout.PRUNE)
        found: OnDemand[PrunedTrace] = folder.on_demand(PrunedTrace, folder.wanted())
    else:
        if not source.exists():
            raise DataError(f"no such file or run folder: {source}")
        found = spooled(read_records(source, PrunedTrace), PrunedTrace)
    if not found:
        raise DataError(f"{source} has no pruned traces: run `drp prune` first")
    return found


class _Rows:
    """Makes rows of targets, each looked at whether another trainer would see what ours sees."""

    def __init__(self, recipe: Recipe, form: Format, gold: dict[str, str]) -> None:
        try:
            from drp.engines.transformers_engine import load_tokenizer
        except ImportError as error:
            raise MissingExtraError(str(error.name), "train") from error
        self._recipe, self._form, self._gold = recipe, form, gold
        self.tokenizer: Any = load_tokenizer(to_train(recipe.student).path)
        self.written = self._apart = 0
        self.left_out: dict[str, int] = {}

    def lines(self, chosen: Sequence[Target]) -> Iterator[str]:
        """Yield the file: JSON lines for TRL, one JSON array for the others."""
        listed = self._form != "trl"
        for target in chosen:
            if (row := self._row(target)) is None:
                continue
            comma = ("[\n" if self.written == 0 else ",\n") if listed else ""
            self.written += 1
            yield f"{comma}{json.dumps(row, ensure_ascii=False)}" + ("" if listed else "\n")
        if not self.written:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
            raise DataError(f"none of the {len(chosen)} texts can be exported: {reasons}")
        if listed:
            yield "\n]\n"

    def _row(self, target: Target) -> dict[str, object] | None:
        from drp.training.examples import build_example, render_response

        recipe, tags = self._recipe, self._recipe.student.thinking_tags
        messages = [m.model_dump() for m in prompt_messages(recipe.prompt, target.question, target.task)]
        texts = [target.thinking, target.answer, *(m["content"] for m in messages)]
        if any(shield(self.tokenizer, text, tags) != text for text in texts):
            return self._without("spell out a control token, which other trainers take for the token itself")
        arguments = recipe.prompt.template_arguments
        example = build_example(
            self.tokenizer, target.id, messages, target.thinking, target.answer, arguments, tags
        )
        if example.length > recipe.train.max_length:
            return self._without(f"longer than train.max_length={recipe.train.max_length} tokens")
        known = {"id": target.id, "question": target.question, "gold": self._gold[target.id]}
        if self._form == "trl":
            prompt = render_prompt(self.tokenizer, messages, arguments, tags)
            response = render_response(prompt, target.thinking, target.answer, tags)
            begin = self.tokenizer.bos_token
            if begin and self.tokenizer("")["input_ids"][:1] == [self.tokenizer.bos_token_id]:
                prompt = prompt.removeprefix(begin)  # the tokenizer writes it itself
            whole = f"{prompt}{response}{self.tokenizer.eos_token}"
            self._apart += self.tokenizer(whole)["input_ids"] != example.input_ids
            return {"prompt": prompt, "completion": response + str(self.tokenizer.eos_token), **known}
        reply = render_response("", target.thinking, target.answer, tags)
        system, asked = recipe.prompt.system, messages[-1]["content"]
        if self._form == "llamafactory":
            said = {"system": system} if system else {}
            return {"instruction": asked, "input": "", "output": reply, **said, **known}
        turns = [{"from": "system", "value": system}] if system else []
        turns += [{"from": "human", "value": asked}, {"from": "gpt", "value": reply}]
        return {"conversations": turns, **known}

    def _without(self, reason: str) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def notes(self) -> tuple[str, ...]:
        """Return what must be known beside the rows."""
        kept = keeps_thinking(self.tokenizer)
        if self._form == "trl":
            found = ["Prompts are rendered: train on them as plain text, without a chat template."]
            if not kept:
                found.append(
                    "The student's chat template takes the thinking out of replies, so chats would lose it."
                )
            if self._apart:
                found.append(
                    f"{self._apart} rows get other tokens at the border of prompt and completion than in `drp train`."
                )
            return tuple(found)
        if not kept:
            return (
                "The student's own chat template takes the thinking out of replies: use a trainer's template that keeps it.",
            )
        return ()


def keeps_thinking(tokenizer: Any) -> bool:
    """Return whether a student's chat template leaves the thinking in a reply, which R1's does not."""
    told = [
        {"role": "user", "content": "1 + 1 = ?"},
        {"role": "assistant", "content": "<think>\nmarked thinking\n</think>\n\n2"},
    ]
    try:
        return "marked thinking" in str(tokenizer.apply_chat_template(told, tokenize=False))
    except Exception:  # noqa: BLE001  templates raise what they like
        return False


def _card(found: Exported, form: str, recipe: Recipe) -> str:
    student = model_name(recipe) or (
        "mini, the embedded student" if recipe.student.source == "mini" else "a local checkpoint"
    )
    what = (
        "every pruned trace with its edits and checks"
        if form == "parquet"
        else "accepted pruned traces, to fine-tune on"
    )
    version = installed_versions().get("drp-reasoning", "")
    lines = [
        "# Pruned reasoning traces",
        f"{found.rows:,} rows in `{found.data.name}` ({form}): {what}.",
        f"Made by DRP {version} (distilled reasoning pruning, arXiv 2505.13975), recipe `{recipe.name}`: traces of {student}, pruned "
        f"by the teacher `{recipe.prune.teacher.kind}`.",
        *found.notes,
    ]
    if found.left_out:
        lines.append(
            "Left out: " + "; ".join(f"{n:,} {reason}" for reason, n in found.left_out.items()) + "."
        )
    lines.append(
        "Questions, gold answers and traces stand under the licences of their benchmarks and of the student."
    )
    return "\n\n".join(lines) + "\n"
