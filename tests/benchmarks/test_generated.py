"""Where thinking ends in other tools' logs: cut off at the token limit, or opened by the prompt, it is not an answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from drp.benchmarks.completions import read_completions
from drp.errors import DataError
from drp.records import Trace

THOUGHT = "Let me see, 3 * 4 = 12. So \\boxed{12}. Wait, let me check that"
BOXED = {"question": "3*4?", "gold": "12"}


def read(path: Path, *rows: dict[str, object], **options: Any) -> list[Trace]:
    file = path / "log.jsonl"
    file.write_text("".join(json.dumps(BOXED | row) + "\n" for row in rows))
    return read_completions(file, **options)


@pytest.mark.parametrize(
    "row",
    [
        {"completion": THOUGHT, "finish_reason": "length"},
        {"completion": THOUGHT, "stop_reason": "max_tokens"},
        {"completion": THOUGHT, "finish_reason": "FinishReason.MAX_TOKENS"},
        {"completion": THOUGHT, "finish_reason": "model_length"},
        {"completion": THOUGHT, "done_reason": "length"},
        {"completion": THOUGHT, "stop_type": "limit"},
        {"completion": THOUGHT, "finish_reason": None, "truncated": True},
        {"completion": THOUGHT, "is_truncated": "True"},
        {"completion": [THOUGHT], "finish_reasons": ["length"]},
        {"choices": [{"message": {"content": THOUGHT}, "finish_reason": "length"}]},
        {"choices": [{"text": THOUGHT, "finish_reason": "length"}]},
        {"choices": [{"message": {"content": None, "reasoning_content": THOUGHT}, "finish_reason": "length"}]},
        {"outputs": [{"text": THOUGHT, "finish_reason": "length", "stop_reason": None, "token_ids": [1, 2]}]},
        {"output": THOUGHT, "meta_info": {"finish_reason": {"type": "length", "length": 16}}},
        {"resps": [[THOUGHT]], "finish_reason": "length"},
        {"completion": THOUGHT, "completion_tokens": 16, "max_tokens": 16},
        {"completion": THOUGHT, "usage": {"completion_tokens": 16}, "sampling_params": {"max_tokens": 16}},
        {"completion": THOUGHT, "num_tokens": 16.0, "max_new_tokens": "16"},
        {"resps": [[THOUGHT]], "num_tokens": 16,
         "arguments": {"gen_args_0": {"arg_0": "3*4?", "arg_1": {"until": [], "max_gen_toks": 16}}}},
        {"resps": [[THOUGHT]], "num_tokens": 17, "arguments": [["3*4?", {"max_gen_toks": 16}]]},
        {"thinking": THOUGHT, "answer": "", "finish_reason": "length"},
    ],
    ids=str,
)  # fmt: skip
def test_thinking_that_the_limit_cut_off_is_no_answer(tmp_path: Path, row: dict[str, object]) -> None:
    """Without a tag, a cut thinking was graded as a closed answer, and its passing \\boxed{12} as right."""
    (trace,) = read(tmp_path, row)
    assert (trace.thinking, trace.answer, trace.closed) == (THOUGHT, "", False)
    assert trace.finish_reason == "length"


@pytest.mark.parametrize(
    "row",
    [
        {"completion": "\\boxed{12}"},
        {"completion": "\\boxed{12}", "finish_reason": "stop", "completion_tokens": 16, "max_tokens": 16},
        {"completion": "\\boxed{12}", "stop_reason": 151643, "truncated": False},
        {"completion": "\\boxed{12}", "completion_tokens": 15, "max_tokens": 16},
        {"completion": "<think>\nhm\n</think>\n\n\\boxed{12}", "finish_reason": "length"},
        {"choices": [{"message": {"content": "\\boxed{12}"}, "finish_reason": "stop"}]},
        {"outputs": [{"text": "\\boxed{12}", "finish_reason": "stop"}]},
        {"completion": "\\boxed{12}", "max_tokens": float("nan")},
    ],
    ids=str,
)  # fmt: skip
def test_what_ended_by_itself_is_an_answer(tmp_path: Path, row: dict[str, object]) -> None:
    """A stop at exactly the limit is a stop where the log says so; a closed thinking stays closed though its answer was cut."""
    (trace,) = read(tmp_path, row)
    assert (trace.answer, trace.closed) == ("\\boxed{12}", True)


def test_several_completions_of_a_row_end_each_in_their_own_way(tmp_path: Path) -> None:
    """Lists beside several completions hold one item each; the usage of a reply is the sum of its choices."""
    one, two = read(
        tmp_path,
        {
            "resps": [["\\boxed{12}", THOUGHT]],
            "finish_reasons": ["stop", "length"],
            "completion_tokens": [5, 16],
        },
    )
    assert (one.closed, two.closed) == (True, False)
    assert [t.usage.completion_tokens for t in (one, two) if t.usage] == [5, 16]
    choices = [{"text": "\\boxed{12}", "finish_reason": "stop"}, {"text": THOUGHT, "finish_reason": "length"}]
    one, two = read(tmp_path, {"choices": choices, "usage": {"completion_tokens": 21}})
    assert (one.closed, two.closed, one.usage, two.usage) == (True, False, None, None)


@pytest.mark.parametrize(
    ("resps", "message"),
    [
        ([], "no response"),
        ([[]], "no response"),
        ([[None]], "is null, not text"),
        ([[[-1.5, False]]], "generate_until"),
    ],
)
def test_a_row_without_a_response_is_an_error(tmp_path: Path, resps: object, message: str) -> None:
    """It vanished from the mean, or was graded as the text "None"; log-likelihoods were graded as brackets."""
    with pytest.raises(DataError, match=f"line 2: .*{message}"):
        read(tmp_path, {"resps": [["12"]]}, {"resps": resps})


CLOSED = {"completion": "hm\n</think>\n\n\\boxed{12}"}
BARE = {"completion": "So \\boxed{12}, but let me"}


def test_prompts_that_opened_the_thinking_are_told_by_what_closes_it(tmp_path: Path) -> None:
    """R1's template ends in <think>, so the log of a file holds </think> alone; where it never came, all is thinking."""
    notes: list[str] = []
    closed, bare = read(tmp_path, CLOSED, BARE, say=notes.append)
    assert (closed.answer, closed.closed) == ("\\boxed{12}", True)
    assert (bare.answer, bare.closed, bare.thinking) == ("", False, BARE["completion"])
    assert len(notes) == 1 and "1 of 2" in notes[0] and "--no-prefilled" in notes[0]
    assert [t.closed for t in read(tmp_path, BARE, BARE)] == [True, True]  # nothing tells
    tagged = {"completion": "<think>\nhm\n</think>\n\n\\boxed{12}"}
    assert [t.closed for t in read(tmp_path, tagged, BARE)] == [True, True]  # the model opens it itself


def test_the_user_has_the_last_word_on_prefilling(tmp_path: Path) -> None:
    """What was inferred can be wrong, and what cannot be inferred may be known."""
    notes: list[str] = []
    rows = (CLOSED, BARE)
    assert [t.closed for t in read(tmp_path, *rows, prefilled=False, say=notes.append)] == [True, True]
    assert [t.closed for t in read(tmp_path, BARE, prefilled=True, say=notes.append)] == [False]
    assert notes == []
    prompted = BARE | {"prompt": "<|User|>3*4?<|Assistant|><think>\n"}
    assert [t.closed for t in read(tmp_path, prompted)] == [False]


def raw(row: dict[str, Any]) -> str:
    """Return a real trace as a server writes it whose prompt opened the thinking."""
    return f"{row['thinking']}\n</think>\n\n{row['answer']}"


def test_real_traces_as_raw_logs(real_data: Path, tmp_path: Path) -> None:
    """Real thinking, as untagged logs have it: whole, cut in the middle with and without a word on it."""
    lines = (real_data / "traces" / "r1_qwen_7b.math500.jsonl").read_text().split("\n")
    rows = [json.loads(line) for line in lines if line.strip()]
    cut = [{"question": r["question"], "gold": r["gold"], "completion": r["thinking"]} for r in rows]
    whole = [{"question": r["question"], "gold": r["gold"], "completion": raw(r)} for r in rows]
    notes: list[str] = []
    traces = read(tmp_path, *cut, *whole, say=notes.append)
    assert [t.closed for t in traces] == [False] * 20 + [True] * 20
    assert [(t.thinking, t.answer) for t in traces[20:]] == [
        (r["thinking"].strip(), r["answer"].strip()) for r in rows
    ]
    assert "20 of 40" in notes[0]
    marked = [row | {"finish_reason": "length"} for row in cut]
    assert not any(t.closed or t.answer for t in read(tmp_path, *marked, prefilled=False))
