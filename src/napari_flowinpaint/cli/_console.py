"""What the user sees: results on stdout, progress and errors on stderr."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..core.errors import ChoiceNeeded, ended
from ..core.names import printable
from ..core.types import Progress, no_progress

#: Characters of a message; what is quoted from a file may be of any length.
_LONGEST = 2000
DONE, NOT_ALL_DONE, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def print_line(text: str) -> None:
    """Print a line of a result; what came from files cannot steer the terminal.

    A reader that has gone (``… | head``) or a full disk is no reason to stop the work.
    """
    try:
        print(printable(text), flush=True)
    except OSError as error:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        if not isinstance(error, BrokenPipeError):
            print_error(f"the output could not be printed ({error.strerror}); the work continues.")


def print_note(text: str) -> None:
    """Say on one line of stderr what was taken for granted, or done otherwise than expected."""
    line = ended(printable(" ".join(text.split())))
    if len(line) > _LONGEST:
        line = line[:_LONGEST] + "…"
    with suppress(OSError):  # nobody listens
        print(f"note: {line}", file=sys.stderr, flush=True)


def print_error(message: object) -> None:
    """Say on one line of stderr what was wrong.

    Where something must be chosen, an option to be pasted comes last: no full stop goes with it.
    """
    line = printable(" ".join(str(message).split()))
    if not isinstance(message, ChoiceNeeded):
        line = ended(line)
    if len(line) > _LONGEST:
        line = line[:_LONGEST] + "…"
    with suppress(OSError):  # nobody listens
        print(f"flowinpaint: {line}", file=sys.stderr, flush=True)


def stop_cleanly() -> None:
    """Treat the end of a batch system's time limit, or of the terminal, like Ctrl-C."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until what must not be cut in two is done; a second one does not wait."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def note(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    numbers = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    held = [n for n in numbers if n and signal.getsignal(n) is signal.default_int_handler]
    for number in held:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number in held:
            signal.signal(number, signal.default_int_handler)
    if asked:
        raise KeyboardInterrupt


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
        TextColumn("{task.description}", markup=False),
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
            bar.update(task, completed=fraction, description=printable(message or title))

        yield show


def batch_threads() -> bool:
    """Return whether a batch that was interrupted still computes in this process."""
    return any(thread.name == "flowinpaint batch" for thread in threading.enumerate())
