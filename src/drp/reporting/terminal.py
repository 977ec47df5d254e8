"""Tables on a terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from drp.reporting.text import Table


def print_table(console: Console, table: Table) -> None:
    """Print one table; numbers to the right."""
    shown = RichTable(
        title=Text(table.title),
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1),
        collapse_padding=True,
        pad_edge=False,
    )
    for number, name in enumerate(table.head):
        left = number == 0 or name == "run" or table.head == ("figure", "value")
        wraps = table.head == ("figure", "value") or (number == 0 and name == "file")
        shown.add_column(
            Text(name),
            justify="left" if left else "right",
            no_wrap=not wraps,
            overflow="fold",
            min_width=12 if wraps else max(len(name), *(len(row[number]) for row in table.rows), 0),
        )
    for row in table.rows:
        shown.add_row(*map(Text, row))  # never markup: a template or a failure may hold "[/INST]"
    # A narrow terminal may break lines, but no figure may lose a digit.
    needed = console.measure(shown, options=console.options.update(max_width=1000)).minimum
    wide = console if needed <= console.width else Console(width=needed, file=console.file)
    wide.print(shown)
    if table.note:
        console.print(Text(table.note), style="dim")
