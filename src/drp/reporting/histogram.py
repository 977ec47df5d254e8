"""Token histograms before and after, one panel a benchmark."""

# The library behind this file ships incomplete types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportPrivateImportUsage=false

from collections.abc import Mapping, Sequence

from drp.evaluation.metrics import completion_tokens
from drp.records import Trace

BEFORE, AFTER = "#8a8f98", "#1f6feb"
BINS = 40


def histogram_html(
    before: Mapping[str, Sequence[Trace]],
    after: Mapping[str, Sequence[Trace]],
    outcome: str,
    order: Sequence[str],
) -> str:
    """Return an HTML fragment with its script inline, or a sentence where plotly is not installed."""
    if not order:
        return ""
    try:
        from plotly import graph_objects as go
        from plotly.subplots import make_subplots
    except ImportError:
        return "<p>Install the extra <code>report</code> (plotly) to see token histograms here.</p>"
    figure = make_subplots(
        rows=len(order), cols=1, subplot_titles=list(order), vertical_spacing=0.3 / len(order)
    )
    for row, benchmark in enumerate(order, 1):
        series = (("base", before.get(benchmark, ()), BEFORE), (outcome, after.get(benchmark, ()), AFTER))
        longest = max((completion_tokens(t) for _, traces, _ in series for t in traces), default=1)
        for name, traces, colour in series:
            if not traces:
                continue
            figure.add_trace(
                go.Histogram(
                    x=[completion_tokens(t) for t in traces],
                    xbins={"start": 0, "end": longest + 1, "size": max(1, longest / BINS)},
                    histnorm="percent",
                    name=name,
                    marker_color=colour,
                    opacity=0.65,
                    legendgroup=name,
                    showlegend=row == 1,
                ),
                row=row,
                col=1,
            )
    figure.update_layout(
        barmode="overlay",
        height=230 * len(order) + 60,
        template="plotly_white",
        margin={"l": 60, "r": 20, "t": 40, "b": 40},
        font={"family": "system-ui, sans-serif"},
        legend={"orientation": "h", "y": 1.08, "x": 0},
    )
    figure.update_yaxes(title_text="% of completions")
    figure.update_xaxes(rangemode="tozero")
    figure.update_xaxes(title_text="tokens per completion", row=len(order), col=1)
    return str(figure.to_html(full_html=False, include_plotlyjs=True, config={"displaylogo": False}))
