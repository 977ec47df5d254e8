"""Where everything lies in a run folder: the name of every stage and file, once.

RUN/recipe.json                  the resolved recipe
RUN/teacher_replies.jsonl …      what a teacher was paid for, kept over all settings
RUN/generate/ prune/ train/      one folder a stage: manifest.json, records.jsonl, errors.jsonl, wanted.txt
RUN/explore/NAME/                what a method draws beyond the student's own traces
RUN/evaluate/base/ distilled/    the completions of both models; prompted/ where nothing was trained
RUN/superseded/                  stage folders made with other settings
RUN/report/                      pages and figures; never read by a stage
RUN/push/adapter/ model/ …       what `drp push` sends to the hub, with cards; never read by a stage
"""

GENERATE, EXPLORE, PRUNE, TRAIN, EVALUATE, REPORT = (
    "generate",
    "explore",
    "prune",
    "train",
    "evaluate",
    "report",
)
"""What commands and methods call the stages."""
BASE, DISTILLED, PROMPTED = "base", "distilled", "prompted"
"""What is evaluated: the student before, the trained model, or the student asked in another way."""


def evaluation(which: str) -> str:
    """Return the stage folder of the ``base``, the ``distilled`` or the ``prompted`` model's completions."""
    return f"{EVALUATE}/{which}"


def exploration(name: str) -> str:
    """Return the stage folder of what a method drew under a name of its own."""
    return f"{EXPLORE}/{name}"


EVALUATE_BASE, EVALUATE_DISTILLED, EVALUATE_PROMPTED = (evaluation(w) for w in (BASE, DISTILLED, PROMPTED))
STAGES = (GENERATE, PRUNE, TRAIN, EVALUATE_BASE, EVALUATE_DISTILLED, EVALUATE_PROMPTED)
"""The stage folders that a report is about, in their order."""

# Of the run.
LOCK = ".lock"
RECIPE = "recipe.json"
REPLIES = "teacher_replies.jsonl"
BATCHES = "teacher_batches.jsonl"
SUPERSEDED = "superseded"

# Of every stage.
MANIFEST = "manifest.json"
RECORDS = "records.jsonl"
ERRORS = "errors.jsonl"
WANTED = "wanted.txt"

# Of prune.
SPEND = "spend.json"

# Of train, and of explore where it makes a model.
ADAPTER = "adapter"
MODEL = "model"
CHECKPOINTS = "checkpoints"
LEARNABILITY = "learnability.json"
FIRST_EXAMPLE = "first_example.txt"
"""The first training example as text and token by token, with what carries loss; written before training begins."""
MERGED = "merged.json"
"""At which scale of its adapter the model beside it was merged."""

TENSORBOARD = "tensorboard"
"""Curves for TensorBoard, where ``train.tracker`` names it."""


def training_part(kind: str, number: int) -> str:
    """Return the folder of one of several trainings in a row: a ``phase`` or a ``round``."""
    return f"{kind}-{number}"


# Of the report.
SUMMARY = "summary.json"
REPORT_MARKDOWN = "report.md"
REPORT_HTML = "report.html"
VIEW = "view.html"
"""A page of several runs, with the first of them."""
REFUSED = "refused.md"
"""Pruned traces that the checks refused, with examples."""

# Of what is pushed.
PUSH = "push"
DATASET = "dataset"
"""The pruned traces as a data set, beside the adapter and the model, which are called as in ``train/``."""
