"""What a file of a stranger announces or shows of other files is not taken for granted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from make_stacks import volume, write_ngff

from napari_flowinpaint.cli._console import print_error, print_line
from napari_flowinpaint.core.errors import InputError, StoreError
from napari_flowinpaint.core.io import memory
from napari_flowinpaint.core.open import open_stack


@pytest.mark.parametrize("kind", ["link", "storage", "virtual"])
def test_other_files_are_read_where_that_is_asked_for(tmp_path: Path, kind: str) -> None:
    pixels, path, other = volume((3, 20, 30)), tmp_path / "a.h5", tmp_path / "other.h5"
    (tmp_path / "raw").write_bytes(pixels.tobytes())
    with h5py.File(other, "w") as file:
        file["raw"] = pixels
    with h5py.File(path, "w") as file:
        if kind == "link":
            file["raw"] = h5py.ExternalLink("other.h5", "/raw")
        elif kind == "storage":
            external = [(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
            file.create_dataset("raw", pixels.shape, "uint8", external=external)
        else:
            layout = h5py.VirtualLayout(pixels.shape, "uint8")
            layout[:] = h5py.VirtualSource(str(other), "raw", pixels.shape)
            file.create_virtual_dataset("raw", layout)
    with pytest.raises(InputError, match="--allow-external"):
        open_stack(f"{path}:/raw")
    stack = open_stack(f"{path}:/raw", allow_external=True)
    np.testing.assert_array_equal(stack.read(1), pixels[1])


def test_links_within_a_file_are_followed(tmp_path: Path) -> None:
    pixels, path = volume((3, 20, 30)), tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["volumes/raw"] = pixels
        file["volumes/same"] = h5py.SoftLink("raw")
        file["top"] = h5py.SoftLink("/volumes/same")
    np.testing.assert_array_equal(open_stack(f"{path}:/top").read(2), pixels[2])


def test_a_link_among_images(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for z in range(3):
        tifffile.imwrite((folder if z else tmp_path) / f"{z}.tif", volume((20, 30)))
    (folder / "0.tif").symlink_to(tmp_path / "0.tif")
    with pytest.raises(InputError, match="link to another folder"):
        open_stack(folder)
    assert open_stack(folder, allow_external=True).shape == (3, 20, 30)


@pytest.mark.parametrize("key", ["../other.zarr/0", "0/../../other.zarr/0"])
def test_a_level_outside_of_the_store(tmp_path: Path, key: str) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((3, 20, 30)))
    write_ngff(tmp_path / "other.zarr", volume((3, 20, 30)))
    metadata = json.loads((path / "zarr.json").read_text())
    metadata["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = key
    (path / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises((InputError, StoreError)):
        open_stack(path)


def test_a_codec_that_runs_code(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(str(path), shape=(3, 8, 8), chunks=(1, 8, 8), dtype="uint8", zarr_format=2)
    metadata = json.loads((path / ".zarray").read_text())
    metadata["filters"] = [{"id": "pickle"}]
    (path / ".zarray").write_text(json.dumps(metadata).replace("pickle", "p\\u0069ckle"))
    with pytest.raises(StoreError, match="run code"):
        open_stack(path)


def test_endless_metadata(tmp_path: Path) -> None:
    path = write_ngff(tmp_path / "a.zarr", volume((3, 20, 30)))
    os.truncate(path / "0" / "zarr.json", 1 << 30)
    with pytest.raises(StoreError, match="metadata"):
        open_stack(path)


def test_what_does_not_fit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_array(str(path), shape=(3, 20_000, 20_000), chunks=(1, 512, 512), dtype="uint8")
    stack = open_stack(path)
    monkeypatch.setattr(memory, "free_memory", lambda: 10**8)
    with pytest.raises(StoreError, match=r"needs 0\.4 GB of memory, but only 0\.1 GB is free"):
        stack.read(0)


@pytest.mark.parametrize("shape", [(10**9, 4, 4), (3, 10**9, 4)])
def test_shapes_that_no_microscope_makes(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    zarr.create_array(str(tmp_path / "a.zarr"), shape=shape, chunks=(1, 4, 4), dtype="uint8")
    with pytest.raises(InputError, match="metadata are damaged"):
        open_stack(tmp_path / "a.zarr")


def test_nothing_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for say in (print_line, print_error):
        say("a\x1b]0;owned\x07b \udce9 \u202e µm.")
    out, err = capsys.readouterr()
    assert out == "a\\x1b]0;owned\\x07b \\udce9 \\u202e µm.\n"
    assert err == f"flowinpaint: {out}"
