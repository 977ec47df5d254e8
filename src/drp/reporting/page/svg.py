"""Drawing: elements of SVG as markup, axes with round numbers, and a frame that plots stand in.

Colours, strokes and fonts are the style sheet's, by class, so that a plot follows the page into the dark.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape


def tag(name: str, *children: str | Markup, **attributes: object) -> Markup:
    """Return an element; ``class_`` is the attribute ``class``, ``stroke_width`` is ``stroke-width``; numbers are rounded."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(children)
    return Markup(f"<{name}{said}>{inner}</{name}>") if inner else Markup(f"<{name}{said}/>")


def _value(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else escape(value)


@dataclass(frozen=True)
class Axis:
    """A stretch of numbers and the pixels it lies on."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return where a value lies."""
        return self.start + (value - self.low) / ((self.high - self.low) or 1) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round numbers on the axis: steps of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low or 1) / most
        power = 10 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [round(n * step, 10) for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Frame:
    """A panel: a title above, axes below and to the left, a plot between them."""

    title: str
    x: Axis
    y: Axis
    x_label: str = ""
    y_label: str = ""

    @classmethod
    def around(
        cls,
        title: str,
        x: tuple[float, float],
        y: tuple[float, float],
        labels: tuple[str, str],
        height: int = 210,
    ) -> "Frame":
        """Return a frame for values from ``x[0]`` to ``x[1]`` and ``y[0]`` to ``y[1]``, 360 units wide."""
        return cls(title, Axis(*x, 44, 348), Axis(*y, height - 40, 30), *labels)

    def drawn(self, description: str, *marks: Markup) -> Markup:
        """Return the panel with its marks, described in words for those who do not see it."""
        height = self.y.start + 40
        return tag(
            "svg",
            tag("title", escape(f"{self.title}. {description}")),
            tag("text", escape(self.title), x=0, y=14, class_="plot-title"),
            *self._grid(),
            *marks,
            class_="plot",
            role="img",
            viewBox=f"0 0 360 {height:g}",
        )

    def _grid(self) -> list[Markup]:
        left, right, bottom = self.x.start, self.x.end, self.y.start
        found: list[Markup] = []
        for value in self.y.ticks(4):
            y = self.y(value)
            found.append(tag("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
            found.append(tag("text", said(value), x=left - 6, y=y + 4, class_="tick end"))
        for value in self.x.ticks(5):
            x = self.x(value)
            found.append(tag("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis"))
            found.append(tag("text", said(value), x=x, y=bottom + 17, class_="tick middle"))
        found.append(tag("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"))
        found.append(tag("text", escape(self.x_label), x=right, y=bottom + 34, class_="label end"))
        found.append(tag("text", escape(self.y_label), x=right, y=14, class_="label end"))
        return found


def said(value: float) -> str:
    """Return a number as an axis says it: 12k for 12,000, no digits that say nothing."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:g}" if abs(value) < 1000 else f"{value:,.0f}"


def path(points: Sequence[tuple[float, float]]) -> str:
    """Return the data of a path through points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
