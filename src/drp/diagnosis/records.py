"""What a diagnosis says: every figure with its interval and n, and what was assumed."""

from typing import Literal

from drp.diagnosis.figures import Figure
from drp.records import Record


class SkillShare(Record):
    """What one skill takes of all tokens of thinking."""

    skill: str
    share: Figure
    before: Figure | None = None
    """The same of the thinking up to where the answer is first reached."""
    after: Figure | None = None
    """The same of the thinking behind it."""
    until_part: float = 0.0
    """The part of :attr:`share` that comes until the answer is reached."""
    after_part: float = 0.0
    """The part that comes after it."""

    @property
    def unknown_part(self) -> float:
        """The part that stands in completions which never reach their answer."""
        return max(0.0, self.share.value - self.until_part - self.after_part)


class Conclusion(Record):
    """When the thinking first reaches the answer that it ends on."""

    found: Figure | None
    """Share of completions with thinking in which a sentence reaches it."""
    after: Figure | None
    """Share of all tokens of their thinking that come after that sentence."""
    after_settled: Figure | None
    """The same after the sentence that soundly concludes; later, and so a lower bound."""
    mean: Figure | None
    """Mean over problems of a completion's share: short and long count alike."""
    lost: Figure | None = None
    """Share of wrong completions whose thinking had reached the right answer and left it."""


class Group(Record):
    """A part of the completions: a third by length, a level that the file gives, the right ones, a benchmark."""

    by: Literal["correctness", "length", "level", "benchmark"]
    name: str
    completions: int
    accuracy: Figure | None
    thinking: Figure | None
    """Tokens of thinking, mean."""
    after: Figure | None
    """As :attr:`Conclusion.after`."""
    unclosed: Figure | None
    looping: Figure | None


class Saving(Record):
    """What pruning these very completions saves."""

    method: str
    tried: int
    accepted: Figure | None
    """Share of those tried whose pruned trace passes every check."""
    deleted: Figure | None
    """Share of the tokens of accepted ones, thinking and answer, that is gone."""
    overall: Figure | None
    """The same of all that were tried, where those refused stay whole."""


class Remedy(Record):
    """One way to fewer tokens that needs no training."""

    name: str
    kind: Literal["assumed", "run"]
    """Whether the outcome is read off the completions, or the model was run."""
    saved: Figure | None
    """Share of generated tokens that it saves."""
    accuracy: Figure | None
    """Accuracy with it, where anything is known of it."""
    change: Figure | None
    """Its difference to the completions as they are, paired by problem, as a share (0.01 is one point)."""
    note: str
    """What is assumed, or what else it costs."""


class Diagnosis(Record):
    """What some completions say before anything is trained."""

    source: str
    model: str
    completions: int
    problems: int
    thinking_completions: int
    """Completions with any thinking."""
    counted: str
    """Who counted tokens."""
    accuracy: Figure | None
    tokens: Figure | None
    """Generated tokens a completion: thinking and answer."""
    thinking: Figure | None
    answer: Figure | None
    thinking_share: Figure | None
    median: float
    """Of thinking tokens."""
    p95: float
    looping: Figure | None
    unclosed: Figure | None
    cut: Figure | None
    """Share that a token limit ended; ``None`` where the file does not say why completions ended."""
    skills: tuple[SkillShare, ...]
    conclusion: Conclusion
    groups: tuple[Group, ...]
    saving: Saving | None
    remedies: tuple[Remedy, ...]
    advice: tuple[str, ...]
    next_command: str
    notes: tuple[str, ...] = ()
    """What must be known beside the figures."""
