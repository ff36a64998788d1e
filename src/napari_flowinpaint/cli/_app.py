"""The commands with their options.

What they do is imported when one runs, so that ``flowinpaint --help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from .._version import __version__
from . import _help
from ._console import print_line
from ._options import (
    AllowExternal,
    Channel,
    Dataset,
    Device,
    Force,
    Sections,
    Stack,
    Time,
    VoxelSize,
)

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


@app.command(help=_help.REPAIR, short_help="Replace the damaged pixels of a stack")
def repair(
    stack: Stack,
    mask: Annotated[
        str,
        typer.Option(
            help="Mask of the stack's shape, nonzero where damaged; "
            "with a single section in --sections, a single image also works",
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
        bool, typer.Option("--in-place", help="Write the repairs into STACK")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace OUT.zarr if it exists")
    ] = False,
    report: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="REPORT.json", help="Write scores, windows, neighbours and times as JSON"
        ),
    ] = None,
    max_gap: Annotated[
        int, typer.Option(min=1, help="Largest distance to a guiding section, in sections")
    ] = 5,
    texture: Annotated[
        str,
        typer.Option(
            help="Look of repaired pixels: smooth (prediction alone), noise (as the section's) or "
            "natural (also invents scales up to 20 pixels)"
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
    views: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, max=8, help="Rotated and mirrored copies that are averaged; slower"),
    ] = None,
    gate: Annotated[
        str, typer.Option(help="If neighbours do not fit: refuse, flag (repair and say so) or off")
    ] = "refuse",
    quality: Annotated[
        bool, typer.Option(help="Predict scores by repairing intact places too; slow")
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
        typer.Option(metavar="DB", help="Write only repairs of at least this quality"),
    ] = None,
    channel: Channel = None,
    time: Time = None,
    dataset: Dataset = None,
    mask_dataset: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Name of the mask within a zarr group or HDF5 file"),
    ] = None,
    allow_external: AllowExternal = False,
    voxel_size: VoxelSize = None,
) -> int:
    """Replace damaged pixels."""
    from ..core.errors import InputError
    from ..core.types import RepairOptions
    from ._commands import repair_stack
    from ._parse import parse_numbers
    from ._request import BatchOptions, RepairCommand

    writes = int(in_place) + (output is not None)
    if writes > 1 or (writes == 0 and staging is None and not plan):
        raise InputError("say where to write: either --output OUT.zarr or --in-place.")
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
        ),
        in_place=in_place,
        output=output,
        overwrite=overwrite,
        report=report,
        channel=channel,
        time=time,
        dataset=dataset,
        mask_dataset=mask_dataset,
        allow_external=allow_external,
        voxel_size=parse_numbers(voxel_size, "--voxel-size") if voxel_size else None,
        batch=BatchOptions(workers, scheduler, staging, resume, plan, accept_above),
    )
    return repair_stack(command)


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
) -> int:
    """Finish interrupted writes."""
    from ._commands import recover_stack

    return recover_stack(stack, force, {"channel": channel, "time": time, "dataset": dataset})


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


@app.command(help=_help.BENCHMARK, short_help="Compare methods on intact sections")
def benchmark(
    stack: Stack,
    spacing: Annotated[
        int, typer.Option(min=1, help="Distance to the guiding sections, in sections")
    ] = 1,
    fractions: Annotated[str, typer.Option(help="Masked fractions of a section")] = "0.1,0.3,0.5",
    methods: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Methods and peers, separated by commas; all by default"),
    ] = None,
    shapes: Annotated[
        str, typer.Option(help="Kinds of masks: irregular, rectangular")
    ] = "irregular,rectangular",
    sections: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Intact sections, neighbours included, e.g. 0-15; all by default"),
    ] = None,
    device: Device = "auto",
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="TABLE.md", help="Write the tables as Markdown"),
    ] = None,
    figure: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FIG.png", help="Draw the stages of the first method on one section"),
    ] = None,
    ablation: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="LABEL=WEIGHTS.safetensors",
            help="Add rows for other weights of the paper's networks; may be repeated",
        ),
    ] = None,
    inception: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="InceptionV3's weights; FID is measured with them"),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Masks drawn per section")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the masks")] = 0,
    channel: Channel = None,
    time: Time = None,
    dataset: Dataset = None,
    allow_external: AllowExternal = False,
    voxel_size: VoxelSize = None,
) -> int:
    """Compare methods."""
    from ._benchmark import benchmark_stack
    from ._parse import parse_names, parse_numbers

    return benchmark_stack(
        stack,
        spacing=spacing,
        fractions=parse_numbers(fractions, "--fractions"),
        methods=None if methods is None else parse_names(methods),
        shapes=parse_names(shapes),
        sections=sections,
        device=device,
        output=output,
        figure=figure,
        ablations=ablation or (),
        inception=inception,
        repeats=repeats,
        seed=seed,
        opening={
            "channel": channel,
            "time": time,
            "dataset": dataset,
            "allow_external": allow_external,
            "voxel_size": parse_numbers(voxel_size, "--voxel-size") if voxel_size else None,
        },
    )


@app.command(help=_help.TRAIN, short_help="Train the learned method on your own stacks")
def train(
    stacks: Annotated[
        list[str],
        typer.Argument(
            metavar="STACK[@SECTIONS[@SPACINGS]]...",
            help="Stacks to train on, for example a.tif@0-15 or isotropic.tif@@2-7",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option(metavar="WEIGHTS.safetensors", help="Weights", show_default=False)
    ],
    validate: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Held-out stack or sections, written as STACK; may be repeated"),
    ] = None,
    minutes: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=0, help="Time limit; the schedule is shortened to fit"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Length of the schedule")] = 20_000,
    every: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0,
            help="Minutes (steps without --minutes) between validations; 5 (500) by default",
        ),
    ] = None,
    resume: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="WEIGHTS.state.safetensors", help="Continue from this checkpoint"),
    ] = None,
    start: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="WEIGHTS.safetensors",
            help="Start from these weights, or from the most important channels of a wider network",
        ),
    ] = None,
    network: Annotated[
        str,
        typer.Option(help="joint, or a stage of the paper's: reference, then inpainting"),
    ] = "joint",
    refined: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="WEIGHTS.safetensors",
            help="Weights of the reference stage, for the inpainting stage",
        ),
    ] = None,
    fine_tune: Annotated[
        bool,
        typer.Option(
            "--fine-tune", help="Also train the reference network in the inpainting stage"
        ),
    ] = False,
    ablation: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help="Leave out in the inpainting stage: references, refinement, aggregation or "
            "adversary; may be repeated"
        ),
    ] = None,
    vgg: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="VGG16's weights for the perceptual loss of the paper"),
    ] = None,
    size: Annotated[str, typer.Option(help="small or base")] = "small",
    batch: Annotated[int, typer.Option(min=1, help="Samples per step")] = 3,
    crop: Annotated[int, typer.Option(min=32, help="Side of the samples, pixels")] = 256,
    rate: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=1e-8, help="Highest learning rate; 5e-4, or the paper's 1e-4, by default"),
    ] = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights and data")] = 0,
) -> int:
    """Train."""
    from ._train import paper_options, train_weights

    return train_weights(
        stacks,
        validate or [],
        output,
        minutes=minutes,
        steps=steps,
        every=every,
        resume=resume,
        start=start,
        size=size,
        batch=batch,
        crop=crop,
        rate=rate,
        device=device,
        seed=seed,
        paper=paper_options(network, refined, fine_tune, ablation or [], vgg),
    )


@app.command(help=_help.DEMO, short_help="Repair a synthetic stack and show it")
def demo(
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Where to put the sample; a temporary folder by default"),
    ] = None,
    window: Annotated[bool, typer.Option(help="Open napari (offscreen without a display)")] = True,
) -> int:
    """Repair a synthetic stack."""
    from ..demo import run_demo

    return run_demo(folder, window=window)
