"""Bad input: files for every verb that reads one, their rows, recipes, and students."""

# One case a line reads as a table.
# fmt: off

import gzip
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from drp.engines.identity import resolve_model
from robust.case import GOOD, MEND, QUICK, ROWS, Case, absent, accounted, case, lines_of, student_with

# Files.

DEEP = b'{"question": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
FIRST, REST = lines_of(ROWS[0]), lines_of(*ROWS[1:])
READERS = {
    "grade": ("grade $file", r"\b4\b.* 100\.0"),
    "compare": ("compare good.jsonl $file", r"\b4\b"),
    "prune": ("prune --traces $file --out out", r"4 of 4 done"),
    "estimate": ("estimate --traces $file prune.teacher=edit_script", r"4 traces worth pruning of 4"),
    "generate": (f"generate $mini {QUICK} 'problems=[{{benchmark: mine, path: $file}}]' --out out", r"4 of 4 done"),
}
"""Every verb that reads a file of the user's, and what it says of the four rows."""
BAD_FILES: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", r"bad\.jsonl", r"no (traces|completions|problems|rows)|empty|look at|expected"),
    "blank lines alone": (b"\n \n\n", r"bad\.jsonl", r"no (traces|completions|problems|rows)|empty|look at|expected"),
    "not JSON": (FIRST + b"hello\n", r"bad\.jsonl, line 2", r"expected one (JSON )?object a line"),
    "cut off": (GOOD[:-30], r"bad\.jsonl, line 4", r"expected one (JSON )?object a line"),
    "JSON array": (json.dumps(ROWS).encode(), r"bad\.jsonl, line 1", r"expected one (JSON )?object"),
    "NUL bytes": (FIRST + b"\0" * 4096 + REST, r"bad\.jsonl, line 2", r"expected"),
    "UTF-16": (GOOD.decode().encode("utf-16"), r"bad\.jsonl", r"UTF-8"),
    "gzip": (gzip.compress(GOOD), r"bad\.jsonl", r"UTF-8|gzip|unpack"),
    "100,000 brackets deep": (FIRST + DEEP, r"bad\.jsonl, line 2", r"nested|deep|expected"),
    "a number": (FIRST + b"17\n", r"bad\.jsonl, line 2", r"expected"),
    "field is null": (FIRST + lines_of(ROWS[1] | {"question": None, "gold": None}), r"bad\.jsonl, line 2", r"missing|field"),
}
FINE_FILES: dict[str, bytes] = {
    "BOM": b"\xef\xbb\xbf" + GOOD, "CRLF": GOOD.replace(b"\n", b"\r\n"), "blank lines between": GOOD.replace(b"\n", b"\n\n  \n"),
    "no line feed at the end": GOOD.rstrip(), "U+2028 in text": FIRST.replace(b"Mia has", "Mia\u2028 has".encode()) + REST,
    "unknown fields": lines_of(*(row | {"extra": {"a": [1]}, "id": n} for n, row in enumerate(ROWS))),
}


def _file_cases() -> Iterator[Case]:
    for verb, (argv, right) in READERS.items():

        def reading(file: str, argv: str = argv) -> str:
            return argv.replace("$file", file)

        for kind, (content, place, mend) in BAD_FILES.items():
            yield case(f"{verb}: file {kind}", reading("bad.jsonl"), place, mend, files={"bad.jsonl": content})
        for kind, content in FINE_FILES.items():
            same = right if verb != "compare" or "U+2028" not in kind else r"\b3\b"  # another question is another problem
            yield case(f"{verb}: file with {kind}", reading("odd.jsonl"), want="works", said=same, files={"odd.jsonl": content})
        surrogate = FIRST.replace(b"24 shells", b"24 \\ud800 shells") + REST
        yield case(f"{verb}: lone surrogate", reading("odd.jsonl"), r"odd\.jsonl, line 1", want="either",
                   said=right if verb != "compare" else r"\b3\b", files={"odd.jsonl": surrogate})
        yield case(f"{verb}: no such file", reading("absent.jsonl"), r"absent\.jsonl", r"no such file|does not exist")
        yield case(f"{verb}: file is a folder", reading("folder"), r"folder", files={"folder/x": b""},
                   mend=r"is a (folder|directory)|no evaluation|not a run folder")
        yield case(f"{verb}: false Parquet", reading("bad.parquet"), r"bad\.parquet", r"not a Parquet", files={"bad.parquet": GOOD})
        yield case(f"{verb}: named pipe", reading("pipe"), r"pipe", r"file|pipe", before=lambda folder: os.mkfifo(folder / "pipe"))
        yield case(f"{verb}: file may not be read", reading("locked.jsonl"), r"locked\.jsonl", r"permi|cannot (be )?read|denied|not readable",
                   files={"locked.jsonl": GOOD}, before=lambda folder: (folder / "locked.jsonl").chmod(0), user=65534)


def _row(name: str, verb: str, change: Mapping[str, Any], place: str, mend: str = MEND, **more: Any) -> Case:
    """Return a case of four rows of which the second is changed; a field changed to ``...`` is left out."""
    rows = [dict(row) for row in ROWS]
    rows[1] = {k: v for k, v in (rows[1] | change).items() if v is not ...}
    argv = {"grade": "grade x.jsonl --format csv", "prune": "prune --traces x.jsonl --out out"}[verb]
    return case(f"{verb}: {name}", argv, r"x\.jsonl, line 2.*" + place, mend, files={"x.jsonl": lines_of(*rows)}, **more)


FREE = {"thinking": ..., "answer": ...}
"""A row whose completion is one text is without these."""


def _row_cases() -> Iterator[Case]:
    for value in (float("nan"), float("inf"), "many", 1.7, -5, True):
        yield _row(f"completion_tokens {value}", "grade", {"completion_tokens": value}, "completion_tokens",
                   want="either", said=r"completion_tokens|tokens.*(not|no) count|without.*count")
    counted = lines_of(*(row | {"completion_tokens": 253.0} for row in ROWS))
    yield case("grade: completion_tokens 253.0", "grade x.jsonl", want="works", said=r"\b253\b", files={"x.jsonl": counted})
    yield _row("usage is a list", "grade", {"usage": [1, 2]}, "usage", want="either", said=r"\busage\b|without.*count")
    yield _row("resps empty", "grade", FREE | {"resps": [], "target": "72"}, "(resps|completion)", r"resps|--completion")
    yield _row("resps of numbers", "grade", FREE | {"resps": [[1], [None]], "target": "72"}, "(resps|completion)", r"resps|text")
    yield _row('closed is "false"', "grade", {"closed": "false"}, "closed", want="either", said=r"x,x,4,1(,[^,]*){7},0\.25,")
    yield _row('closed is "false"', "prune", {"closed": "false"}, "closed", want="either", said="1 left out")
    yield _row("no gold field", "grade", {"gold": ...}, "gold", "--gold")
    yield _row("no gold field", "prune", {"gold": ...}, "gold", "missing")
    yield _row("gold is empty", "grade", {"gold": ""}, "gold", want="either", said=r"gold.*empty|empty.*gold|no gold")
    yield _row("gold is empty", "prune", {"gold": ""}, "gold", want="either", said=r"left out")
    yield _row("no completion", "grade", FREE, "completion", "--completion")
    yield _row("no thinking", "prune", {"thinking": ...}, "thinking", "missing")
    yield _row("thinking is a list", "prune", {"thinking": ["a"]}, "thinking", "text|string")
    for name, text in {"30,000 unclosed \\(": "\\(" * 30_000, "28,000 characters of \\boxed{": "\\boxed{" * 4_000,
                       "1 MB in one line": "7" * 1_000_000, "1 MB of braces": "{}" * 500_000, "nothing": ""}.items():
        yield _row(f"answer of {name}", "grade", {"answer": text}, "answer", want="works", said=r"x,x,4,1,0\.75,")
        yield _row(f"answer of {name}", "prune", {"answer": text}, "answer", want="recorded", said="1 left out",
                   checks=(accounted("out/prune", 4),))
    wide = "So 3 * 24 = 72. " * 8_000  # as long as the longest cut-off lets it be
    yield _row("thinking of 128 kB", "prune", {"thinking": wide}, "", want="recorded", checks=(accounted("out/prune", 4),))
    yield _row("tags in the question", "prune", {"question": "</think> <|im_end|> [/INST]"}, "", want="recorded",
               checks=(accounted("out/prune", 4),))
    yield case("prune: the same trace twice", "prune --traces x.jsonl --out out", want="works", files={"x.jsonl": GOOD + FIRST},
               said=r"5 (lines|rows|traces)|twice|again|same|duplicate|repeat")
    yield case("grade: the same file twice", "grade good.jsonl good.jsonl", r"good\.jsonl", want="either", said=r"twice|same|good.*good")
    yield case("grade: --gold names no field", "grade good.jsonl --gold nope", r"line 1", r"--gold")
    yield case("grade: --tokenizer is nowhere", "grade good.jsonl --tokenizer nowhere", r"nowhere")
    yield case("grade: --format pdf", "grade good.jsonl --format pdf", r"pdf", r"choose table")
    yield case("grade: --price -1", "grade good.jsonl --price -1", r"--price", r"range|greater")
    yield case("grade: --price nan", "grade good.jsonl --price nan", r"--?price")
    yield case("grade: --out under a file", "grade good.jsonl --out good.jsonl/x", r"good\.jsonl/x", r"make room|mend|choose|another")
    yield case("grade: --out in no folder", "grade good.jsonl --out no/such/x.jsonl", r"no/such", want="either",
               checks=(lambda folder: "" if (folder / "no/such/x.jsonl").exists() else "nothing was written",))
    yield case("compare: one name", "compare good.jsonl", r"two or more")
    yield case("compare: margin of 200", "compare good.jsonl good.jsonl --margin 200", r"--margin", r"range|less")
    yield case("compare: no problem in common", "compare good.jsonl x.jsonl", r"x\.jsonl", r"common|share",
               files={"x.jsonl": lines_of(*(row | {"question": "?" + row["question"]} for row in ROWS))})
    yield case("estimate: the teacher costs nothing", "estimate --traces good.jsonl", r"rules", r"prune\.teacher=edit_script")
    yield case("estimate: --trace-tokens 0", "estimate --trace-tokens 0 prune.teacher=edit_script", r"--trace-tokens", r"range|greater")
    yield case("estimate: probe without traces", "estimate --probe 3 prune.teacher=edit_script", r"probe", r"drp generate")
    yield case("prune: unknown teacher", "prune --traces good.jsonl --teacher guru --out out", r"prune\.teacher", r"rules")
    yield case("prune: --tokenizer is nowhere", "prune --traces good.jsonl --tokenizer nowhere --out out", r"nowhere")
    yield case("prune: no key", "prune --traces good.jsonl --teacher edit_script --out out", r"OPENAI_API_KEY", r"set")
    yield case("prune: key variable is empty", "prune --traces good.jsonl --teacher edit_script --out out", r"OPENAI_API_KEY", r"set",
               env={"OPENAI_API_KEY": ""})
    yield case("prune: nothing named", "prune", r"recipe|--traces")
    corrections = f"generate $mini {QUICK} problems.0.corrections=c.jsonl --out out"
    yield case("generate: corrections absent", corrections, r"c\.jsonl", r"no such file")
    yield case("generate: corrections fit nothing", corrections, r"c\.jsonl", want="either", said=r"correct", files={"c.jsonl": GOOD})


# Recipes.

RUN = "run r.yaml generate.sampling.max_new_tokens=64 --limit 4 --out out"
NOT_STARTED = (absent("out/generate/records.jsonl"),)


def _recipe_cases() -> Iterator[Case]:
    texts: dict[str, tuple[str | bytes, str, str]] = {
        "unknown section": ("nonsense: 1\n", r"nonsense", r"known here"),
        "misspelt field": ("train: {learning_rat: 1}\n", r"train\.learning_rat", r"did you mean .learning_rate"),
        "wrong type": ("train: {epochs: many}\n", r"train\.epochs", r"number|integer"),
        "section is a list": ("train: [1]\n", r"train", r"dictionary|mapping|section"),
        "YAML syntax": ("train: {epochs: 1\nx\n", r"r\.yaml.*line \d", r"YAML|expected"),
        "list at the top": ("- 1\n- 2\n", r"r\.yaml", r"mapping"),
        "not UTF-8": (b"name: caf\xe9\n", r"r\.yaml", r"UTF-8"),
        "a key twice": ("train: {epochs: 1}\ntrain: {rank: 4}\n", r"train", r"twice|duplicate|again"),
        "tabs": ("train:\n\tepochs: 1\n", r"r\.yaml.*line 2", r"YAML|tab|token"),
        "learning rate .nan": ("train: {learning_rate: .nan}\n", r"train\.learning_rate", r"finite|number|greater"),
        "learning rate 0": ("train: {learning_rate: 0}\n", r"train\.learning_rate", r"greater"),
        "unknown teacher": ("prune: {teacher: guru}\n", r"prune\.teacher", r"rules.*edit_script"),
        "unknown method": ("method: magic\n", r"method", r"drp.*self"),
        "unknown benchmark": ("problems: [{benchmark: gsm9k}]\n", r"gsm9k", r"choose one of.*gsm8k"),
        "unknown split": ("problems: [{split: dev}]\n", r"dev", r"train and test"),
        "count 0": ("problems: [{count: 0}]\n", r"problems\.0\.count", r"greater"),
        "no problems": ("problems: []\n", r"problems", r"count|at least"),
        "template without {question}": ("prompt: {template: Think.}\n", r"prompt\.template", r"\{question\}"),
        "batch of -1": ("generate: {batch_size: -1}\n", r"generate\.batch_size", r"greater"),
        "temperature -1": ("generate: {sampling: {temperature: -1}}\n", r"generate\.sampling\.temperature", r"greater"),
        "top_p 2": ("generate: {sampling: {top_p: 2}}\n", r"generate\.sampling\.top_p", r"less"),
        "model absent": ("student: {model: ./no-such-model}\n", r"no-such-model", r"Give a local checkpoint"),
        "model is a file": ("student: {model: good.jsonl}\n", r"good\.jsonl", r"Give a local checkpoint|folder"),
        "tokenizer absent": ("prune: {tokenizer: ./no-such}\n", r"no-such", MEND),
        "problems absent": ("problems: [{benchmark: mine, path: no.jsonl}]\n", r"no\.jsonl", r"no such file"),
        "budget without a price": ("prune: {teacher: edit_script, budget_usd: 1, llm: {model: m}}\n", r"budget_usd", r"price="),
        "no device cuda:99": ("student: {device: cuda:99}\n", r"cuda:99", r"auto or cpu"),
        "device of nonsense": ("student: {device: gpu}\n", r"student\.device=gpu", r"auto or cpu"),
    }
    for name, (text, place, mend) in texts.items():
        yield case(f"recipe: {name}", RUN, place, mend, files={"r.yaml": text}, checks=NOT_STARTED)
    for name in ("count 0", "misspelt field"):
        yield case(f"dry run: {name}", RUN + " --dry-run", texts[name][1], texts[name][2], files={"r.yaml": texts[name][0]})
    dry = f"run $mini {QUICK} --dry-run student.device=cuda:99"
    yield case("dry run: what is missing", dry, r"cuda:99", want="works", said=r"PROBLEM.*cuda:99.*1 problem")
    yield case("recipe: empty file", "run r.yaml --dry-run --out out", want="works", said="nothing is known to be missing", files={"r.yaml": ""})
    yield case("override of a list left to its default", "run r.yaml problems.0.count=3 --dry-run --out out", r"problems", want="works", said="3 problems",
               files={"r.yaml": "name: x\n"})
    yield case("recipe: no such file", "run nowhere.yaml", r"nowhere\.yaml", r"no such recipe")
    yield case("recipe: folder without one", "run folder", r"folder", r"name a recipe", files={"folder/x": b""})
    for verb in ("run", "generate", "train", "evaluate"):
        yield case(f"{verb}: nothing named", verb, r"recipe", r"name a recipe")
    overrides = {
        "past the list's end": ("problems.9.count=3", r"problems\.9\.count", r"position from 0 to 0"), "without =": ("train.epochs", r"train\.epochs", r"section\.field=value"),
        "of a misspelt field": ("train.epoch=3", r"train\.epoch", r"did you mean .epochs"), "below a plain value": ("name.x=3", r"name\.x", r"not a section"),
        "that is no YAML": ("'name={'", r"name=", r"value"), "epochs=-1": ("train.epochs=-1", r"train\.epochs", r"greater"),
        "learning rate 1e999": ("train.learning_rate=1e999", r"train\.learning_rate", r"finite|number|less"),
    }
    for name, (change, place, mend) in overrides.items():
        yield case(f"override {name}", f"run $mini {QUICK} {change} --out out", place, mend, checks=NOT_STARTED)
    yield case("--limit 0", f"run $mini {QUICK} --limit 0 --out out", r"--limit", r"range|greater")
    yield case("--limit many", f"run $mini {QUICK} --limit many --out out", r"--limit", r"integer")
    yield case("unknown option", f"run $mini {QUICK} --outt out", r"--outt", r"--out\b")
    yield case("tasks: an argument too many", "tasks mine", r"mine", r"--help")
    yield case("unknown command", "prun", r"prun\b", r"prune|--help")
    weights = (Path(resolve_model("mini")) / "model.safetensors").read_bytes()
    refusal = b"{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}x"
    students: dict[str, tuple[dict[str, bytes | None], str, str, str]] = {
        "without weights": ({"model__safetensors": None}, "", r"nothing was started.*student", r"holds no weights"),
        "without a chat template": ({"chat_template__jinja": None}, "", r"chat template", r"put a chat_template"),
        "template refuses system": ({"chat_template__jinja": refusal}, "prompt.system=Hi", r"no system role", r"prompt\.system=null"),
        "template is broken": ({"chat_template__jinja": b"{% if %}"}, "", r"template", MEND),
        "weights cut off": ({"model__safetensors": weights[:-1000]}, "", r"student", MEND),
        "weights are text": ({"model__safetensors": b"<html>404</html>"}, "", r"student", MEND),
        "weights of another shape": ({"config__json": b"HIDDEN"}, "", r"student", MEND),
        "config.json broken": ({"config__json": b"{"}, "", r"student", MEND),
        "tokenizer.json broken": ({"tokenizer__json": b"{"}, "", r"student", MEND),
    }
    config = json.loads((Path(resolve_model("mini")) / "config.json").read_text())
    for name, (files, change, place, mend) in students.items():
        if files.get("config__json") == b"HIDDEN":
            files = {"config__json": json.dumps(config | {"hidden_size": config["hidden_size"] * 2}).encode()}
        yield case(f"student {name}", f"generate $mini {QUICK} student.model=student {change} --out out", place, mend,
                   before=student_with(**files), checks=NOT_STARTED)
    yield case("student.device=cuda", f"run $mini {QUICK} student.device=cuda --out out", r"student\.device=cuda", r"auto or cpu",
               skip="this machine has CUDA" if Path("/dev/nvidia0").exists() else "")


CASES: list[Case] = [*_file_cases(), *_row_cases(), *_recipe_cases()]
