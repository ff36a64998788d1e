"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

# typer reads these at run time, and Python 3.10's unions there need Optional
Stack = Annotated[
    str,
    typer.Argument(
        metavar="STACK",
        help="OME-Zarr, zarr array, TIFF, MRC, folder of images, N5, or file.h5:/dataset",
        show_default=False,
    ),
]
Sections = Annotated[
    Optional[str], typer.Option(help="Sections, counted from 0, for example 3,7-9")  # noqa: UP045
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Also overwrite pixels that other programs have changed since"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps")]
Channel = Annotated[Optional[int], typer.Option(help="Index on the channel axis")]  # noqa: UP045
Time = Annotated[Optional[int], typer.Option(help="Index on the time axis")]  # noqa: UP045
Dataset = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Name of the stack within a zarr group or HDF5 file"),
]
MaskDataset = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Name of the mask within a zarr group or HDF5 file"),
]
AllowExternal = Annotated[
    bool,
    typer.Option(
        "--allow-external",
        help="Also read what STACK takes from other files (links, HDF5 virtual datasets)",
    ),
]
AllowExternalMask = Annotated[
    bool,
    typer.Option(
        "--allow-external",
        help="Also read what STACK or MASK takes from other files (links, HDF5 virtual datasets)",
    ),
]
VoxelSize = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="Z,Y,X", help="Voxel size in nm, instead of the file's; e.g. 40,4,4"),
]
NoData = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        metavar="VALUE", help="Grey value where nothing was imaged; padding is found without it"
    ),
]


def opening_of(
    channel: Channel,
    time: Time,
    dataset: Dataset,
    allow_external: AllowExternal,
    voxel_size: VoxelSize = None,
    no_data: NoData = None,
) -> dict[str, Any]:
    """Return how a stack is opened, as :func:`~napari_flowinpaint.core.open.open_stack` takes it.

    Raises
    ------
    InputError
        If the voxel size is not numbers.
    """
    from ._parse import parse_numbers

    return {
        "channel": channel,
        "time": time,
        "dataset": dataset,
        "allow_external": allow_external,
        "voxel_size": parse_numbers(voxel_size, "--voxel-size") if voxel_size else None,
        "no_data": no_data,
    }
