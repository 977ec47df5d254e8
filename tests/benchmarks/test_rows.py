"""Files as people have them: other encodings, damage, odd values. One sentence with the place and the mend, or it works."""

import datetime
import decimal
import gzip
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drp.benchmarks import rows as rows_module
from drp.benchmarks.completions import Fields, read_completions
from drp.benchmarks.files import read_problems, read_traces
from drp.errors import DataError

Reader = Callable[[Path], list[Any]]
READERS: list[Reader] = [read_problems, read_traces, read_completions]
ROW = {"question": "1+1?", "gold": "2", "thinking": "so 2", "answer": "\\boxed{2}"}
LINE = json.dumps(ROW).encode() + b"\n"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + LINE,
        LINE.replace(b"\n", b"\r\n"),
        b"\n \r\n\n" + LINE + b"\n\n",
        LINE.rstrip(b"\n"),
        LINE.replace(b"1+1?", "1+1 \u2028 \x85 ?".encode()),  # only a line feed ends a line
    ],
    ids=["byte-order-mark", "crlf", "blank-lines", "no-last-line-feed", "other-separators"],
)
def test_what_windows_and_editors_write_just_works(tmp_path: Path, reader: Reader, content: bytes) -> None:
    """A mark at the start, CRLF and blank lines are no fault of the data, so they cost the user nothing."""
    assert len(reader(written(tmp_path / "x.jsonl", content))) == 1


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no .*: it has no rows"),
        (b"\n\r\n \n", "holds no .*: it has no rows"),
        (LINE.decode().encode("utf-16"), r"is UTF-16; .*iconv -f UTF-16 -t UTF-8"),
        (LINE.decode().encode("utf-16-le"), r"is UTF-16; .*iconv"),
        (gzip.compress(LINE, mtime=0), r"compressed by gzip; .*gunzip -k"),
        (b"\xfd7zXZ\x00rest", "unxz"),
        (LINE + b"\x00\x00\x00\x00\n", "line 2: holds NUL bytes"),
        (b"[\n" + LINE + b"]\n", r"line 1: a JSON array; .*jq -c"),
        (b"[" + LINE.strip() + b"]\n", r"line 1: a JSON array; .*jq -c"),
        (LINE + b"[" * 100_000 + b"\n", "line 2: nested too deeply"),
        (LINE + b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "line 2: nested too deeply"),
        (LINE + b'{"question": "caf\xe9"}\n', "line 2: not UTF-8"),
        (LINE + b'"text"\n', "line 2: expected a JSON object"),
        (LINE + b'{"n": ' + b"9" * 5000 + b"}\n", "line 2: not JSON"),
    ],
)  # fmt: skip
def test_what_is_no_jsonl_is_told_apart_and_mended(
    tmp_path: Path, reader: Reader, content: bytes, message: str
) -> None:
    """Every one of these was a traceback, or a message about byte 0 that names no mend."""
    begun = time.monotonic()
    with pytest.raises(DataError, match=message):
        reader(written(tmp_path / "x.jsonl", content))
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("reader", READERS)
def test_what_the_system_refuses_is_one_sentence(
    tmp_path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder, a name too long, no permission, a path that vanishes: the system's word, and no traceback."""
    with pytest.raises(DataError, match="is a folder; name a file in it"):
        reader(tmp_path)
    with pytest.raises(DataError, match=r"cannot read .*name too long"):
        reader(tmp_path / ("x" * 3000))
    with pytest.raises(DataError, match="no such file"):
        reader(tmp_path / "gone.jsonl")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")  # tests may run as root, who is refused nothing

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataError, match=r"cannot read .*: Permission denied"):
        reader(written(tmp_path / "x.jsonl", LINE))


def test_a_pipe_works_and_never_waits_for_a_writer(tmp_path: Path) -> None:
    """``drp grade <(zcat x.gz)`` is a pipe; one that nobody writes to would hang ``open`` for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match="no rows"):
        read_completions(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(LINE * 3))
    writer.start()
    deadline = time.monotonic() + 5
    found: list[Any] = []
    while not found and time.monotonic() < deadline:  # until the thread has reached its own open
        try:
            found = read_completions(pipe)
        except DataError:
            time.sleep(0.01)
    writer.join()
    assert len(found) == 3


def test_a_long_line_is_read_and_an_endless_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 MB in one line are a completion that looped; a line without end, as of /dev/zero, would fill the memory."""
    row = json.dumps({"question": "q", "gold": "1", "completion": "<think>" + "so " * 17_000_000})
    begun = time.monotonic()
    (trace,) = read_completions(written(tmp_path / "x.jsonl", row.encode()))
    assert not trace.closed and len(trace.thinking) > 50_000_000
    assert time.monotonic() - begun < 5
    monkeypatch.setattr(rows_module, "MOST_BYTES", 1 << 20)
    with pytest.raises(DataError, match="line 1: longer than 1 MiB"):
        read_completions(Path("/dev/zero"))


@pytest.mark.parametrize("reader", READERS)
def test_half_a_character_is_replaced_and_counted(tmp_path: Path, reader: Any) -> None:
    """A tool that cuts an emoji in two writes half of a surrogate pair, which failed much later, on writing UTF-8.

    A whole pair is a character and stays.
    """
    lines = [
        ROW | {"answer": "\\boxed{2} \ud83d", "note": {"deep": ["\udc00"]}},
        ROW | {"question": "whole \U0001f600?", "answer": "fine"},
    ]
    path = written(tmp_path / "x.jsonl", "".join(json.dumps(r) + "\n" for r in lines).encode())
    notes: list[str] = []
    one, two = reader(path, say=notes.append)
    assert "😀" in two.question
    if reader is not read_problems:
        assert one.answer == "\\boxed{2} \ufffd"
    assert all(record.model_dump_json().encode() for record in (one, two))
    assert len(notes) == 1 and "1 line held half of a character" in notes[0]


@pytest.mark.parametrize("reader", [read_problems, read_traces])
def test_duplicates_are_counted_aloud(tmp_path: Path, reader: Any) -> None:
    """Rows that repeat another collapse into it; silently, a file of 300 rows was one of 200 without a word."""
    content = LINE * 3 + LINE.replace(b"1+1", b"2+0")
    notes: list[str] = []
    assert len(reader(written(tmp_path / "x.jsonl", content), say=notes.append)) == 2
    assert len(notes) == 1 and "2 of 4" in notes[0] and "count once" in notes[0]
    assert len(read_completions(tmp_path / "x.jsonl")) == 4  # there, they are runs


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("gold", ["2"], "'gold' is a list"),
        ("gold", None, "'gold' is null"),
        ("gold", "", "'gold' is empty"),
        ("gold", " \t", "'gold' is empty"),
        ("gold", float("nan"), "'gold' is NaN"),
        ("gold", True, "'gold' is true"),
        ("question", "  ", "'question' is empty"),
    ],
)
def test_a_blank_or_shapeless_field_is_named(
    tmp_path: Path, reader: Reader, field: str, value: object, message: str
) -> None:
    """An empty gold answer makes every answer wrong, a list of one is graded as its brackets: neither is data."""
    path = written(tmp_path / "x.jsonl", LINE + json.dumps(ROW | {field: value}).encode())
    with pytest.raises(DataError, match=f"line 2: .*{message}"):
        reader(path)


def test_a_gold_that_ends_on_its_mark_is_empty(tmp_path: Path) -> None:
    """`####` with nothing behind it leaves no answer to grade against."""
    path = written(tmp_path / "x.jsonl", json.dumps(ROW | {"gold": "5 * 4 = 20\n####"}).encode())
    with pytest.raises(DataError, match="line 1: field 'gold' is empty, or ends on ####"):
        read_problems(path)


@pytest.mark.parametrize("reader", [read_traces, read_completions])
@pytest.mark.parametrize(
    ("value", "meant"),
    [(False, False), ("false", False), ("FALSE", False), (0, False), ("0", False), (0.0, False),
     (True, True), ("True", True), (1, True), (None, True), ("no", "'no'"), (2, "2"), ([], "a list")],
)  # fmt: skip
def test_closed_is_a_truth_in_every_spelling(
    tmp_path: Path, reader: Reader, value: object, meant: bool | str
) -> None:
    """`"false"` is true for Python, so thinking that never closed counted as closed."""
    path = written(tmp_path / "x.jsonl", json.dumps(ROW | {"closed": value}).encode())
    if isinstance(meant, str):
        with pytest.raises(DataError, match=f"'closed' is {meant}; write true or false"):
            reader(path)
    else:
        assert reader(path)[0].closed is meant


@pytest.mark.parametrize(
    ("row", "tokens"),
    [
        ({"completion_tokens": 253}, 253), ({"completion_tokens": 253.0}, 253), ({"completion_tokens": "253"}, 253),
        ({"num_tokens": "253.0"}, 253), ({"completion_tokens": None}, None), ({"usage": None}, None),
        ({"usage": {"completion_tokens": 253.0}}, 253), ({"usage": {"output_tokens": 9}}, 9),
        ({"tokens": [1, 2, 3]}, None), ({"completion_tokens": 0}, 0),
        ({"completion_tokens": float("nan")}, "is NaN"), ({"completion_tokens": float("inf")}, "is infinite"),
        ({"completion_tokens": "many"}, "is 'many'"), ({"completion_tokens": 1.7}, "is 1.7"),
        ({"completion_tokens": -3}, "is -3"), ({"completion_tokens": 10**400}, "is 1000.*…"),
        ({"completion_tokens": 1e300}, r"is 1e\+300"), ({"completion_tokens": True}, "is true"),
        ({"completion_tokens": [1, 2]}, "is a list"), ({"usage": [1]}, "'usage' is a list, not an object"),
        ({"usage": {"completion_tokens": "x"}}, "'usage.completion_tokens' is 'x'"),
    ],
)  # fmt: skip
def test_a_count_of_tokens_is_one_in_every_spelling(
    tmp_path: Path, row: dict[str, object], tokens: int | str | None
) -> None:
    """pandas writes counts as 253.0, which failed; NaN, text and lists were tracebacks."""
    path = written(tmp_path / "x.jsonl", json.dumps(ROW | row).encode())
    if isinstance(tokens, str):
        with pytest.raises(DataError, match=f"line 1: .*{tokens}"):
            read_completions(path)
    else:
        (trace,) = read_completions(path)
        assert (trace.usage.completion_tokens if trace.usage else None) == tokens


def test_parquet_of_odd_types(tmp_path: Path) -> None:
    """Decimals are numbers; dates, structures and missing values are named, not written out as text."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def table(**columns: object) -> Path:
        path = tmp_path / "x.parquet"
        parquet.write_table(pyarrow.table({name: [value] for name, value in columns.items()}), path)
        return path

    read = read_problems(table(question="q", gold=decimal.Decimal("27.00"), at=datetime.datetime(2024, 1, 1)))
    assert read[0].gold == "27"
    for gold, message in (
        (datetime.datetime(2024, 1, 1), "a datetime"), ({"a": 1}, "an object"), ([1], "a list"), (None, "null"),
        (b"2", "a bytes"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=f"line 1: field 'gold' is {message}, not text"):
            read_problems(table(question="q", gold=gold))
    table(question="q", gold="1").rename(tmp_path / "x.data")  # known by its content, too
    assert len(read_problems(tmp_path / "x.data")) == 1


def test_named_fields_that_hold_no_text_are_named(tmp_path: Path) -> None:
    """With --completion, the message is about that field, not about all there might be."""
    path = written(tmp_path / "x.jsonl", json.dumps(ROW | {"out": {"a": 1}, "id": None}).encode())
    with pytest.raises(DataError, match="field 'out' is an object, not text"):
        read_completions(path, Fields(completion="out"))
    assert read_completions(path)[0].source_id is None
