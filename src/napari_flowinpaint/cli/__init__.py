"""``flowinpaint``: the command line.

A command line is run, and its errors become exit codes, here; its commands are in :mod:`._app`.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import typer

from ..core.errors import Cancelled, FlowInpaintError, RepairRefused, first_line
from ._app import app
from ._console import (
    BAD_INPUT,
    DONE,
    INTERRUPTED,
    NOT_ALL_DONE,
    print_error,
    progress_bar,
    stop_cleanly,
)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit code. Errors of the user become one line on stderr."""
    try:
        code = app(list(arguments) or ["--help"], prog_name="flowinpaint", standalone_mode=False)
    except Cancelled as error:
        print_error(error)
        return INTERRUPTED
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except RepairRefused as error:
        print_error(error)
        return NOT_ALL_DONE
    except FlowInpaintError as error:
        print_error(error)
        return BAD_INPUT
    except BrokenPipeError:
        # the reader of our output has gone (… | head): what it wanted was done
        sys.stderr.close()
        return NOT_ALL_DONE
    except MemoryError as error:
        print_error(
            f"this needs more memory than there is ({first_line(error)}); check the shape of "
            "the stack, or use a machine with more memory."
        )
        return BAD_INPUT
    except OSError as error:
        print_error(f"{error}; nothing more was written.")
        return BAD_INPUT
    except Exception as error:
        if not hasattr(error, "format_message"):  # not typer telling of a wrong option: a bug
            raise
        print_error(f"{error.format_message().rstrip('.')}. See flowinpaint --help.")
        return BAD_INPUT
    if code == INTERRUPTED:
        print_error("interrupted.")
    return code if isinstance(code, int) else DONE


def main() -> None:
    """Run ``flowinpaint`` (the console script)."""
    import logging
    import warnings

    from ._console import batch_threads

    if sys.argv[1:2] != ["demo"]:  # in a window Python would not get to see the signal
        stop_cleanly()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a path may be no text
            stream.reconfigure(errors="backslashreplace")
    if not sys.warnoptions:  # libraries' warnings are for developers: python -W default shows them
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
    code = run(sys.argv[1:])
    if batch_threads():
        # A section of a batch that was interrupted is still being computed. Ending Python below a
        # thread that is deep in a library aborts the process.
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


__all__ = ["app", "main", "progress_bar", "run"]
