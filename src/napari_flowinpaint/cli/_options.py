"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated, Optional

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
    bool, typer.Option("--force", help="Overwrite what other programs have changed there since")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps")]
Channel = Annotated[Optional[int], typer.Option(help="Index on the channel axis")]  # noqa: UP045
Time = Annotated[Optional[int], typer.Option(help="Index on the time axis")]  # noqa: UP045
Dataset = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Name of the stack within a zarr group or HDF5 file"),
]
AllowExternal = Annotated[
    bool,
    typer.Option(
        "--allow-external",
        help="Also read what STACK or MASK shows of other files (HDF5 links, virtual datasets)",
    ),
]
VoxelSize = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="Z,Y,X", help="Voxel size in nm; overrules the file, e.g. 40,4,4"),
]
NoData = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        metavar="VALUE", help="Grey value where nothing was imaged; padding is found without it"
    ),
]
