"""The program, which the commands are added to, and its only option of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from .._version import __version__
from . import _help
from ._console import print_line

app = typer.Typer(
    name="flowinpaint",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(show: bool) -> None:
    if show:
        print_line(f"flowinpaint {__version__}")
        raise typer.Exit()


@app.callback(help=_help.ALL)
def _flowinpaint(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version"),
    ] = False,
) -> None:
    """Show the version, or the commands."""
