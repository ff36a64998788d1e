"""What is no stack is refused in one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
import zarr.codecs
from make_stacks import volume, write_ngff

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.open import open_stack


def write_colour_tiff(path: Path) -> None:
    tifffile.imwrite(path, volume((4, 20, 30, 3)), photometric="rgb")


def write_ngff_of(axes: str, **options: Any) -> Any:
    shape = {"t": 2, "c": 2, "z": 3, "y": 20, "x": 30}

    def write(path: Path) -> None:
        write_ngff(path, volume(tuple(shape[a] for a in axes)), axes=axes, **options)

    return write


def break_metadata(**changes: Any) -> Any:
    def write(path: Path) -> None:
        write_ngff(path, volume((3, 20, 30)))
        group = zarr.open_group(str(path))
        ome = dict(group.attrs["ome"])
        ome["multiscales"][0].update(changes)
        group.attrs["ome"] = ome

    return write


REFUSED: dict[str, tuple[Any, str]] = {
    "missing.zarr": (lambda path: None, r"missing\.zarr does not exist"),
    "text.txt": (lambda path: path.write_text("hello"), "is a text file, which cannot be read"),
    "empty.tif": (lambda path: path.touch(), "is empty"),
    "single.tif": (lambda path: tifffile.imwrite(path, volume((20, 30))), "a single image"),
    "colour.tif": (write_colour_tiff, "colour"),
    "double.tif": (
        lambda path: tifffile.imwrite(path, np.zeros((5, 20, 30)), photometric="minisblack"),
        "float64, .* convert it to float32",
    ),
    "text.h5": (
        lambda path: path.write_text("hello"),
        "is not an HDF5 file, despite its name",
    ),
    "nothing.h5": (lambda path: h5py.File(path, "w").close(), "no dataset with three axes"),
    "yx.zarr": (write_ngff_of("yx"), "no z"),
    "cyx.zarr": (write_ngff_of("cyx"), "no z"),
    "old.zarr": (write_ngff_of("zyx", version="0.3"), "OME-Zarr 0.3"),
    "axes.zarr": (break_metadata(axes=[{"name": "z"}]), "not valid 0.5"),
    "levels.zarr": (
        break_metadata(
            datasets=[
                {
                    "path": "gone",
                    "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 1]}],
                }
            ]
        ),
        "gone cannot be opened as zarr",
    ),
    "scale.zarr": (write_ngff_of("zyx", scale=(0, 1, 1)), "the scale"),
    "group.zarr": (lambda path: zarr.open_group(str(path), mode="w"), "without an image"),
    "flat.zarr": (lambda path: zarr.save_array(str(path), volume((20, 30))), "a single image"),
    "labels.zarr": (
        lambda path: zarr.save_array(str(path), volume((3, 20, 30), "uint32")),
        "uint32, which is not supported",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(tmp_path: Path, name: str) -> None:
    write, message = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(InputError, match=message) as error:
        open_stack(tmp_path / name)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "pipe.tif", "pipe.h5"):
        if name != "pipe":
            (tmp_path / name).symlink_to(tmp_path / "pipe")
        with pytest.raises(InputError, match="neither a file nor a folder"):
            open_stack(tmp_path / name)


def test_damaged_group_metadata(tmp_path: Path) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((3, 20, 30)))
    (path / "zarr.json").write_text('{"zarr_format": 3, "node')
    with pytest.raises(InputError, match="cannot be opened as zarr"):
        open_stack(path)


def test_missing_array_says_how_far_the_path_leads(tmp_path: Path) -> None:
    write_ngff(tmp_path / "a.zarr", volume((3, 20, 30)))
    with pytest.raises(InputError, match=r"a\.zarr exists"):
        open_stack(tmp_path / "a.zarr" / "raw")
    tifffile.imwrite(tmp_path / "a.tif", volume((3, 20, 30)))
    with pytest.raises(InputError, match="leave the dataset out"):
        open_stack(tmp_path / "a.tif", dataset="raw")


def test_a_path_that_leads_nowhere_is_told_how_far_it_leads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("nowhere/s.tif", "../nowhere/s.tif"):
        with pytest.raises(InputError) as caught:
            open_stack(path)
        here = (tmp_path if path[0] == "n" else tmp_path.parent).resolve()
        assert str(caught.value) == f"{path} does not exist ({here} exists); check the path."
