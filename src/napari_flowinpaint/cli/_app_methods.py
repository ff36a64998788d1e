"""``benchmark``, ``train``, ``adapt`` and ``demo``, with their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from . import _help
from ._options import (
    AllowExternal,
    AllowExternalMask,
    Channel,
    Dataset,
    Device,
    MaskDataset,
    NoData,
    Stack,
    Time,
    VoxelSize,
    opening_of,
)
from ._program import app


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
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the masks")] = 0,
    neighbours: Annotated[
        int,
        typer.Option(
            min=1, max=2, help="1: guided by the previous section only, as at the end of a stack"
        ),
    ] = 2,
    channel: Channel = None,
    time: Time = None,
    dataset: Dataset = None,
    allow_external: AllowExternal = False,
    voxel_size: VoxelSize = None,
    no_data: NoData = None,
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
        neighbours=neighbours,
        opening=opening_of(channel, time, dataset, allow_external, voxel_size, no_data),
    )


@app.command(help=_help.TRAIN, short_help="Train a network on your own stacks")
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
            help="Start from these weights (one-neighbour: also from joint ones); of a wider "
            "network the most important channels are taken",
        ),
    ] = None,
    network: Annotated[
        str,
        typer.Option(
            help="joint; missing (the same, for missing sections); one-neighbour; the stages of "
            "the paper: reference, then inpainting; for folds: fold-interpolation, then "
            "fold-unfolding, then fold-fusion; gap (gaps in isotropic volumes); or single "
            "(repairs a section from itself)"
        ),
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
            "adversary; of one-neighbour: larn, triplet or adversary; may be repeated"
        ),
    ] = None,
    interpolation: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="WEIGHTS.safetensors",
            help="Weights of fold-interpolation, for fold-unfolding and fold-fusion",
        ),
    ] = None,
    unfolding: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="WEIGHTS.safetensors", help="Weights of fold-unfolding, for fold-fusion"
        ),
    ] = None,
    vgg: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="VGG16's weights for the perceptual loss of the paper"),
    ] = None,
    size: Annotated[str, typer.Option(help="small or base; gap: also unet, msd")] = "small",
    batch: Annotated[int, typer.Option(min=1, help="Samples per step")] = 3,
    crop: Annotated[int, typer.Option(min=32, help="Side of the samples, pixels")] = 256,
    rate: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=1e-8, help="Highest learning rate; 5e-4, or the paper's 1e-4, by default"),
    ] = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Random seed")] = 0,
    no_data: NoData = None,
    allow_external: AllowExternal = False,
) -> int:
    """Train."""
    from ._networks import settings_of
    from ._train import train_weights

    chosen, settings = settings_of(
        network,
        ablation or [],
        start=start,
        refined=refined,
        fine_tune=fine_tune,
        vgg=vgg,
        interpolation=interpolation,
        unfolding=unfolding,
    )
    return train_weights(
        chosen,
        settings,
        stacks,
        validate or [],
        output,
        minutes=minutes,
        steps=steps,
        every=every,
        resume=resume,
        size=size,
        batch=batch,
        crop=crop,
        rate=rate,
        device=device,
        seed=seed,
        no_data=no_data,
        allow_external=allow_external,
    )


@app.command(help=_help.ADAPT, short_help="Adapt the released weights to one stack")
def adapt(
    stack: Stack,
    output: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="WEIGHTS.safetensors", help="Weights; beside STACK by default"),
    ] = None,
    mask: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="MASK", help="Damage to leave out, besides what was flagged"),
    ] = None,
    mask_dataset: MaskDataset = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="Time limit")] = 10,
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run, or start over")] = True,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Random seed")] = 0,
    channel: Channel = None,
    time: Time = None,
    dataset: Dataset = None,
    allow_external: AllowExternalMask = False,
    voxel_size: VoxelSize = None,
    no_data: NoData = None,
) -> int:
    """Adapt."""
    from ._adapt import AdaptCommand, adapt_weights

    command = AdaptCommand(
        stack=stack,
        output=output,
        mask=mask,
        mask_dataset=mask_dataset,
        minutes=minutes,
        resume=resume,
        device=device,
        seed=seed,
        opening=opening_of(channel, time, dataset, allow_external, voxel_size, no_data),
    )
    return adapt_weights(command)


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
