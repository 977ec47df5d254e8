"""A diagnosis on one page of a terminal."""

from rich.console import Console
from rich.text import Text

from drp.diagnosis.records import Diagnosis
from drp.diagnosis.tables import tables
from drp.reporting.terminal import print_table


def print_diagnosis(console: Console, found: Diagnosis) -> None:
    """Print the tables, then what they say and what to do next."""
    for table in tables(found):
        print_table(console, table)
    for note in found.notes:
        console.print(Text(f"note: {note}"), style="yellow")
    console.print(Text("What this says"), style="bold")
    for line in found.advice:
        console.print(Text(f"• {line}"))
    if found.next_command:
        console.print(Text(f"next: {found.next_command}"), soft_wrap=True)
