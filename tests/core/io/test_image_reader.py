"""Folders with one image per section."""

from __future__ import annotations

from pathlib import Path

import pytest
import tifffile
from make_stacks import assert_same, volume
from PIL import Image

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.open import open_stack


@pytest.mark.parametrize("suffix", [".tif", ".PNG"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_folder_in_natural_order(tmp_path: Path, suffix: str, dtype: str) -> None:
    pixels = volume((12, 20, 30), dtype)
    for z, section in enumerate(pixels):
        path = tmp_path / f"section {z}{suffix}"
        if suffix == ".tif":
            tifffile.imwrite(path, section, compression="zlib")
        else:
            Image.fromarray(section).save(path)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "._section 3.tif").write_bytes(b"left behind by a Mac")
    stack = open_stack(tmp_path)
    assert_same(stack, pixels)  # section 10 comes after section 9
    assert (stack.kind, stack.writable) == ("images", False)


def test_folders_that_are_no_stack(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a store"):
        open_stack(tmp_path)
    tifffile.imwrite(tmp_path / "a.tif", volume((20, 30)))
    tifffile.imwrite(tmp_path / "b.tif", volume((20, 31)))
    with pytest.raises(InputError, match=r"b\.tif is \(20, 31\)"):
        open_stack(tmp_path)
    tifffile.imwrite(tmp_path / "b.tif", volume((20, 30), "uint16"))
    with pytest.raises(InputError, match="one shape and type"):
        open_stack(tmp_path)
    (tmp_path / "b.tif").write_bytes(b"II*\0 no TIFF")
    with pytest.raises(InputError, match="not an image that can be read"):
        open_stack(tmp_path)
    (tmp_path / "b.tif").unlink()
    Image.fromarray(volume((20, 30))).save(tmp_path / "b.png")
    with pytest.raises(InputError, match="PNG and TIFF"):
        open_stack(tmp_path)
    (tmp_path / "a.tif").unlink()
    Image.fromarray(volume((20, 30, 3))).save(tmp_path / "b.png")
    with pytest.raises(InputError, match="colour"):
        open_stack(tmp_path)
