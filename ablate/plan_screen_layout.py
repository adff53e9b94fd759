"""What the blocks of a plan's screen look like."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


def heading(out: Console, title: str, rest: str = "") -> None:
    out.print()
    out.print(Text.assemble((title, "bold"), f" ({rest})" if rest else ""), soft_wrap=True)


def table_of(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def show_table(out: Console, table: Table) -> None:
    out.print(Padding(table, (0, 0, 0, 2), expand=False))
