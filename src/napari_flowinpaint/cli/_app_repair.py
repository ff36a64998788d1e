"""``repair`` and its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from . import _help
from ._options import (
    AllowExternalMask,
    Channel,
    Dataset,
    Device,
    MaskDataset,
    NoData,
    Sections,
    Stack,
    Time,
    VoxelSize,
)
from ._program import app


@app.command(help=_help.REPAIR, short_help="Replace the damaged pixels of a stack")
def repair(
    stack: Stack,
    mask: Annotated[
        str,
        typer.Option(
            metavar="MASK",
            help="Mask of the stack's shape, non-zero where damaged; a folder of images; ImageJ "
            "ROIs; or, for one section named with --sections, a single image",
            show_default=False,
        ),
    ],
    sections: Sections = None,
    method: Annotated[str, typer.Option(help="Method, or auto")] = "auto",
    device: Device = "auto",
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="OUT.zarr", help="Write all sections to a new OME-Zarr"),
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Write the repairs into STACK, or beside a file")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT.zarr if it exists")
    ] = False,
    ro_crate: Annotated[
        bool,
        typer.Option("--ro-crate", help="Also write ro-crate-metadata.json into OUT.zarr"),
    ] = False,
    report: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="REPORT.json",
            help="Write scores, windows, neighbours and times as JSON; replaces an existing file",
        ),
    ] = None,
    max_gap: Annotated[
        int, typer.Option(min=1, help="Largest distance to a guiding section, in sections")
    ] = 5,
    texture: Annotated[
        str,
        typer.Option(
            help="Texture of repaired pixels: smooth (the prediction alone), noise (like the "
            "section's) or natural (also invents detail of up to 20 pixels)"
        ),
    ] = "noise",
    grain: Annotated[bool, typer.Option(hidden=True)] = True,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed; the same seed gives the same pixels")
    ] = 0,
    weights: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="WEIGHTS.safetensors", help="Trained weights for the method"),
    ] = None,
    kind: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Kind of damage under the mask; with --method auto, fold and crack are unfolded"
        ),
    ] = None,
    views: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, max=8, help="Number of rotated and mirrored copies to average; slower"),
    ] = None,
    gate: Annotated[
        str, typer.Option(help="If neighbours do not fit: refuse, flag (repair and say so) or off")
    ] = "refuse",
    quality: Annotated[
        bool, typer.Option(help="Predict scores by test repairs of intact tissue; slow")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be done; write nothing")
    ] = False,
    workers: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, help="Sections repaired at once; by default one per core, or per GPU"),
    ] = None,
    scheduler: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="ADDRESS", help="Use a running dask scheduler, e.g. tcp://host:8786"),
    ] = None,
    staging: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="DIR",
            help="Staging folder; without --in-place or --output, nothing else is written",
        ),
    ] = None,
    resume: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option(
            help="Continue with the staging folder (the default if there is one) or start over"
        ),
    ] = None,
    accept_above: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(metavar="DB", help="Write only repairs expected to reach this structure PSNR"),
    ] = None,
    channel: Channel = None,
    time: Time = None,
    dataset: Dataset = None,
    mask_dataset: MaskDataset = None,
    mask_class: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="VALUES", help="Mask values that mean damage, e.g. 2 or 2,3 or #ff0000"
        ),
    ] = None,
    invert_mask: Annotated[
        bool, typer.Option("--invert-mask", help="The mask shows what is intact")
    ] = False,
    allow_external: AllowExternalMask = False,
    voxel_size: VoxelSize = None,
    no_data: NoData = None,
) -> int:
    """Replace damaged pixels."""
    from ..core.errors import InputError
    from ..core.repair_options import RepairOptions
    from ._commands import repair_stack
    from ._parse import parse_numbers
    from ._request import BatchOptions, RepairCommand

    writes = int(in_place) + (output is not None)
    if writes > 1 or (writes == 0 and staging is None and not plan):
        raise InputError("say where to write: either --output OUT.zarr or --in-place.")
    if ro_crate and output is None:
        raise InputError(
            "--ro-crate describes a copy: add --output OUT.zarr, or describe the stack itself with "
            "flowinpaint describe STACK --ro-crate."
        )
    command = RepairCommand(
        stack=stack,
        mask=mask,
        sections=sections,
        method=method,
        device=device,
        options=RepairOptions(
            max_gap=max_gap,
            # scripts written for earlier versions say --no-grain
            texture=texture if grain else "smooth",
            seed=seed,
            weights=str(weights) if weights else None,
            views=views,
            gate=gate,
            quality=quality,
            kind=kind,
        ),
        in_place=in_place,
        output=output,
        overwrite=overwrite,
        ro_crate=ro_crate,
        report=report,
        channel=channel,
        time=time,
        dataset=dataset,
        mask_dataset=mask_dataset,
        mask_class=mask_class,
        invert_mask=invert_mask,
        allow_external=allow_external,
        voxel_size=parse_numbers(voxel_size, "--voxel-size") if voxel_size else None,
        no_data=no_data,
        batch=BatchOptions(workers, scheduler, staging, resume, plan, accept_above),
    )
    return repair_stack(command)
