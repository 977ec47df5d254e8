"""The public benchmarks of the paper, by their usual names: from the hub, or from a local file of the same rows."""

from drp.records import Record


class Public(Record):
    """Where a benchmark stands and how its rows read."""

    hub: str
    """Data set on the Hugging Face hub."""
    config: str | None = None
    splits: dict[str, str]
    """Our split names and the hub's."""
    question: str
    gold: str
    sizes: dict[str, int]
    """Problems per split, to notice a file that is cut short or another version."""


PUBLIC: dict[str, Public] = {
    "gsm8k": Public(
        hub="openai/gsm8k", config="main", splits={"train": "train", "test": "test"},
        question="question", gold="answer", sizes={"train": 7_473, "test": 1_319},
    ),
    # The 12,000 problems of MATH that MATH500 leaves for training, as in PRM800K.
    "prm12k": Public(
        hub="nlile/hendrycks-MATH-benchmark", splits={"train": "train"},
        question="problem", gold="answer", sizes={"train": 12_000},
    ),
    "math500": Public(
        hub="HuggingFaceH4/MATH-500", splits={"test": "test"},
        question="problem", gold="answer", sizes={"test": 500},
    ),
    "aime24": Public(
        hub="HuggingFaceH4/aime_2024", splits={"test": "train"},
        question="problem", gold="answer", sizes={"test": 30},
    ),
    "amc23": Public(
        hub="math-ai/amc23", splits={"test": "test"}, question="question", gold="answer", sizes={"test": 40},
    ),
}  # fmt: skip
