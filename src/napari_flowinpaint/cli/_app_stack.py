"""``detect``, ``revert``, ``recover`` and ``history``, with their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from . import _help
from ._options import (
    AllowExternal,
    Channel,
    Dataset,
    Force,
    NoData,
    Sections,
    Stack,
    Time,
    VoxelSize,
)
from ._program import app


@app.command(help=_help.DETECT, short_help="Find damaged sections, write their masks")
def detect(
    stack: Stack,
    output: Annotated[
        Path,
        typer.Option(metavar="MASK.zarr", help="New label image of masks", show_default=False),
    ],
    report: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FLAGGED.csv", help="Table of flagged sections (.csv or .json)"),
    ] = None,
    sections: Sections = None,
    kinds: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Kinds of damage, separated by commas; all by default"),
    ] = None,
    sensitivity: Annotated[
        float, typer.Option(help="From 0 (only certain damage) to 1 (also what may be tissue)")
    ] = 0.5,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Fit the thresholds to this stack first")
    ] = False,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Threads; one per core, at most 8, by default"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace MASK.zarr if it exists")
    ] = False,
    channel: Channel = None,
    time: Time = None,
    dataset: Dataset = None,
    allow_external: AllowExternal = False,
    voxel_size: VoxelSize = None,
    no_data: NoData = None,
) -> int:
    """Find damage."""
    from ._detect import DetectCommand, detect_damaged
    from ._parse import parse_names, parse_numbers

    command = DetectCommand(
        stack=stack,
        output=output,
        report=report,
        sections=sections,
        kinds=None if kinds is None else parse_names(kinds),
        sensitivity=sensitivity,
        estimate=estimate,
        workers=workers,
        overwrite=overwrite,
        opening={
            "channel": channel,
            "time": time,
            "dataset": dataset,
            "allow_external": allow_external,
            "voxel_size": parse_numbers(voxel_size, "--voxel-size") if voxel_size else None,
            "no_data": no_data,
        },
    )
    return detect_damaged(command)


@app.command(help=_help.REVERT, short_help="Restore the original pixels")
def revert(
    stack: Stack,
    sections: Sections = None,
    force: Force = False,
    channel: Channel = None,
    time: Time = None,
    dataset: Dataset = None,
    allow_external: AllowExternal = False,
) -> int:
    """Restore original pixels."""
    from ._commands import revert_stack

    opening = {
        "channel": channel,
        "time": time,
        "dataset": dataset,
        "allow_external": allow_external,
    }
    return revert_stack(stack, sections, force, opening)


@app.command(help=_help.RECOVER, short_help="Finish what was interrupted")
def recover(
    stack: Stack,
    force: Force = False,
    channel: Channel = None,
    time: Time = None,
    dataset: Dataset = None,
    allow_external: AllowExternal = False,
) -> int:
    """Finish interrupted writes."""
    from ._commands import recover_stack

    opening = {
        "channel": channel,
        "time": time,
        "dataset": dataset,
        "allow_external": allow_external,
    }
    return recover_stack(stack, force, opening)


@app.command(help=_help.HISTORY, short_help="List the repairs of a stack")
def history(
    stack: Stack,
    channel: Channel = None,
    time: Time = None,
    dataset: Dataset = None,
    allow_external: AllowExternal = False,
) -> int:
    """List repairs."""
    from ._commands import list_history

    opening = {
        "channel": channel,
        "time": time,
        "dataset": dataset,
        "allow_external": allow_external,
    }
    return list_history(stack, opening)
