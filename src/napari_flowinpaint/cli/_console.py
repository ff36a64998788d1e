"""What the user sees: results on stdout, progress and errors on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..core.types import Progress, no_progress

DONE, NOT_ALL_DONE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def tell(text: str) -> None:
    """Print a result; tables and reports may be piped."""
    print(text, flush=True)


def complain(message: object) -> None:
    """Say on one line of stderr what was wrong."""
    line = " ".join(str(message).split())
    print(f"flowinpaint: {line}", file=sys.stderr, flush=True)


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """Show a bar on a terminal, nothing where stderr is piped.

    Yields
    ------
    Progress
        To be called with a fraction and a message.
    """
    if not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    # results go through the bar only where both are on the terminal, else they would leave a pipe
    both = sys.stdout.isatty()
    console = Console(stderr=True)
    with Bar(*columns, console=console, transient=True, redirect_stdout=both) as bar:
        task = bar.add_task(title, total=1.0)

        def show(fraction: float, message: str) -> None:
            bar.update(task, completed=fraction, description=message or title)

        yield show
