"""Formulas in running text, LaTeX or plain, brought to one spelling so that they can be compared."""

import re
from functools import lru_cache

# What only sets type, with a content that stays: `\text{cm}`, `\boxed{26}`, `\left(`.
_WRAPPED = re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox|operatorname|boxed|fbox|overline)\s*\{([^{}]*)\}")
_SIZE = re.compile(r"\\(?:left|right|displaystyle|quad|qquad|[bB]igg?[lr]?)(?![A-Za-z])|\\[!,;: ]")
_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_ROOT = re.compile(r"(?:\\sqrt|√|\bsqrt)\s*(?:\{([^{}]*)\}|\(([^()]*)\)|(\w+))")
_SCRIPT = re.compile(r"([\^_])\{([^{}]*)\}")
_DEGREES = re.compile(r"\^\s*\{?\\circ\}?|\\degree(?![A-Za-z])|°")
_DELIMITER = re.compile(r"\\[()\[\]]|\$+|\*\*")
_SEPARATOR = re.compile(r"(?<=\d)(?:,|\{,\}|,\\!)(?=\d{3}(?!\d))")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "²": "^2", "³": "^3", "π": " pi "})
_NAMED_SIGNS = (
    (r"\times", "*"), (r"\cdot", "*"), (r"\div", "/"), (r"\leq", "≤"), (r"\le", "≤"), (r"\geq", "≥"), (r"\ge", "≥"),
    (r"\neq", "≠"), (r"\approx", "≈"), (r"\equiv", "≡"), (r"\%", "%"),
)  # fmt: skip
_COMMAND = re.compile(r"\\([A-Za-z]+)")

_FUNCTIONS = "arcsin|arccos|arctan|sin|cos|tan|cot|sec|csc|log|ln|sqrt|pi|theta|alpha|beta|gamma|phi|lambda|omega|mod|gcd|lcm|infty"
# One token of a formula: a number, a function's name, a letter with its index or prime, or a sign. Words of two letters and
# more are none of these and end the formula, except capitals as points are named: `AB`.
_TOKEN = re.compile(
    rf"\d+(?:\.\d+)?|\.\d+|(?<![A-Za-z])(?:{_FUNCTIONS})(?![A-Za-z])|(?<![A-Za-z])[A-Z]{{2,3}}(?![A-Za-z'’])"
    r"|(?<![A-Za-z])[A-Za-z](?:_\w+)?'*(?![A-Za-z’])|[-+*/=<>^()!|≤≥≠≈≡%]"
)
_OPERATOR = re.compile(r"[-+*/=<>^≤≥≠≈≡]")
_RELATION = re.compile(r"[=<>≤≥≠≈≡]")
_LETTER = re.compile(rf"(?:{_FUNCTIONS})(?![A-Za-z])|[A-Z]{{2,3}}|[A-Za-z](?:_\w+)?")
_MOST_NESTED = 6


@lru_cache(maxsize=4096)
def flatten(text: str) -> str:
    r"""Return ``text`` with its formulas in plain signs: ``\(\frac{3}{4} \times 8\)`` becomes ``3/4 * 8``.

    For comparison, not for display; words stay as they are.
    """
    flat = _DEGREES.sub("", _SEPARATOR.sub("", text))
    flat = _DELIMITER.sub(" ", _SIZE.sub("", flat))
    for _ in range(_MOST_NESTED):
        before = flat
        flat = _WRAPPED.sub(r" \1", flat)
        flat = _SCRIPT.sub(lambda m: m[1] + _group(m[2]), flat)
        flat = _ROOT.sub(lambda m: f"sqrt({m[1] or m[2] or m[3] or ''})", flat)
        flat = _FRACTION.sub(lambda m: f"{_group(m[1] or m[2])}/{_group(m[3] or m[4])}", flat)
        if flat == before:
            break
    for name, sign in _NAMED_SIGNS:
        flat = re.sub(re.escape(name) + r"(?![A-Za-z])", sign, flat)
    return _COMMAND.sub(r" \1 ", flat).translate(_SIGNS)


def _group(inner: str | None) -> str:
    """Return what stood in braces, in brackets only where it is more than one token."""
    text = (inner or "").strip()
    return text if re.fullmatch(r"\w*", text) else f"({text})"


def find_formulas(text: str) -> tuple[str, ...]:
    """Return the formulas of ``text`` in order, without white space: runs of tokens that hold an operator.

    ``"So 2x + 3 = 7, hence x = 2."`` gives ``2x+3=7`` and ``x=2``.
    """
    flat = flatten(text)
    found: list[str] = []
    run: list[str] = []
    end = -1
    for match in _TOKEN.finditer(flat):
        if run and flat[end : match.start()].strip(" \t"):
            _close(run, found)
            run = []
        run.append(match.group())
        end = match.end()
    _close(run, found)
    return tuple(found)


def _close(run: list[str], found: list[str]) -> None:
    """Add a run of tokens to the formulas found, if it is one: not "a 5", a lone sign, or the dash of a list."""
    while run and (
        run[-1] in "-+*/=<>^(|≤≥≠≈≡" or (run[-1] in "aAI" and len(run) > 1 and run[-2][-1].isdigit())
    ):
        run.pop()
    while run and (run[0] in "+*/=<>^)!≤≥≠≈≡%" or (run[0] in "aAI" and len(run) > 1 and run[1][0].isdigit())):
        run.pop(0)
    for place in range(1, len(run) - 1):  # "3 x 4"
        if run[place] == "x" and run[place - 1][-1].isdigit() and run[place + 1][0].isdigit():
            run[place] = "*"
    if len(run) >= 3 and any(_OPERATOR.fullmatch(token) for token in run):
        formula = "".join(run)
        # A bracket around a remark, or one that the end of the run left open, belongs to the sentence.
        if formula.count("(") != formula.count(")"):
            formula = formula.lstrip("(") if formula.count("(") > formula.count(")") else formula.rstrip(")")
        found.append(formula)


def sides(formula: str) -> list[str]:
    """Return what stands left and right of the relation signs of a formula."""
    return [side for side in _RELATION.split(formula) if side]


def is_relation(formula: str) -> bool:
    """Return whether a formula states something (``x=2``) rather than naming a value (``x+2``)."""
    return bool(_RELATION.search(formula))


def letters(formula: str) -> set[str]:
    """Return the variables, points and functions of a formula."""
    return set(_LETTER.findall(formula))
