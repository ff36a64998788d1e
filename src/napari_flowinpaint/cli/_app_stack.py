"""``detect``, ``revert``, ``recover``, ``history``, ``describe`` and ``originals``."""

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
    opening_of,
)
from ._program import app


@app.command(help=_help.DETECT, short_help="Find damaged sections, write their masks")
def detect(
    stack: Stack,
    output: Annotated[
        Path,
        typer.Option(metavar="MASK.zarr", help="New label image for the masks", show_default=False),
    ],
    report: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="FLAGGED.csv",
            help="Table of flagged sections (.csv or .json); replaces an existing file",
        ),
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
        typer.Option(min=1, help="Sections searched at once; by default one per core, at most 8"),
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
    from ._parse import parse_names

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
        opening=opening_of(channel, time, dataset, allow_external, voxel_size, no_data),
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

    opening = opening_of(channel, time, dataset, allow_external)
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

    opening = opening_of(channel, time, dataset, allow_external)
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

    opening = opening_of(channel, time, dataset, allow_external)
    return list_history(stack, opening)


@app.command(help=_help.DESCRIBE, short_help="Describe what was repaired, for a publication")
def describe(
    stack: Stack,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="TEXT.md", help="Text to write: .md or .tex"),
    ] = None,
    figure: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FIGURE.png", help="Figure to write: .png or .pdf"),
    ] = None,
    ro_crate: Annotated[
        bool, typer.Option("--ro-crate", help="Write ro-crate-metadata.json into the OME-Zarr")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace these files if they exist")
    ] = False,
    channel: Channel = None,
    time: Time = None,
    dataset: Dataset = None,
    allow_external: AllowExternal = False,
) -> int:
    """Describe repairs."""
    from ._describe import describe_repairs

    opening = opening_of(channel, time, dataset, allow_external)
    return describe_repairs(stack, output, figure, ro_crate, overwrite, opening)


@app.command(help=_help.ORIGINALS, short_help="Write the untouched data to a new OME-Zarr")
def originals(
    stack: Stack,
    output: Annotated[
        Path, typer.Option(metavar="OUT.zarr", help="New OME-Zarr", show_default=False)
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT.zarr if it exists")
    ] = False,
    channel: Channel = None,
    time: Time = None,
    dataset: Dataset = None,
    allow_external: AllowExternal = False,
    voxel_size: VoxelSize = None,
) -> int:
    """Write original pixels."""
    from ._describe import write_originals

    opening = opening_of(channel, time, dataset, allow_external, voxel_size)
    return write_originals(stack, output, overwrite, opening)
