"""TIFF files whose pages are no one series: all of them are the stack, or it is refused."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from make_stacks import volume

from napari_flowinpaint.core.errors import ChoiceNeeded, InputError
from napari_flowinpaint.core.open import open_stack

PIXELS = volume((9, 60, 50))


def write_pages(path: Path, *options: dict[str, Any], pixels: np.ndarray = PIXELS) -> Path:
    """Write pages one by one; the options are those of the first pages, the last of the rest."""
    with tifffile.TiffWriter(path) as writer:
        for number, section in enumerate(pixels):
            given = {"photometric": "minisblack", "metadata": None, "contiguous": False}
            writer.write(section, **given | options[min(number, len(options) - 1)])
    return path


@pytest.mark.parametrize(
    "options",
    [
        ({}, {"compression": "zlib"}),
        ({"compression": "zlib"}, {}),
        ({"compression": "zlib", "rowsperstrip": 60}, {"compression": "zlib", "rowsperstrip": 16}),
        ({"tile": (16, 16)}, {"compression": "zlib", "predictor": True}),
        ({}, {}, {}, {"compression": "lzma"}, {}),
    ],
)
def test_pages_that_are_written_differently_are_one_stack(tmp_path: Path, options: Any) -> None:
    stack = open_stack(write_pages(tmp_path / "a.tif", *options))
    assert stack.shape == PIXELS.shape
    np.testing.assert_array_equal(np.asarray(stack.array), PIXELS)
    np.testing.assert_array_equal(stack.array[8, 5:20, 7:40], PIXELS[8, 5:20, 7:40])


def test_pages_that_are_series_of_their_own_are_one_stack(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for section in PIXELS:
            writer.write(section)
    np.testing.assert_array_equal(np.asarray(open_stack(tmp_path / "a.tif").array), PIXELS)


@pytest.mark.parametrize("odd", [0, 3, 8])
@pytest.mark.parametrize("kind", ["size", "type", "white", "colour"])
def test_a_page_of_another_kind_is_told_not_left_out(tmp_path: Path, odd: int, kind: str) -> None:
    section = {
        "size": volume((40, 50)),
        "type": volume((60, 50), "uint16"),
        "white": PIXELS[odd],
        "colour": volume((60, 50, 3)),
    }[kind]
    photometric = {"white": "miniswhite", "colour": "rgb"}.get(kind, "minisblack")
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for number, page in enumerate(PIXELS):
            given = {"metadata": None, "contiguous": False, "compression": "zlib"}
            if number == odd:
                writer.write(section, photometric=photometric, **given)
            else:
                writer.write(page, photometric="minisblack", **given)
    with pytest.raises(ChoiceNeeded, match=f"page {odd}\\)") as error:
        open_stack(tmp_path / "a.tif")
    message = str(error.value)
    assert "8 of 60 x 50 uint8" in message
    assert "\n" not in message
    (choice,) = error.value.choices
    assert shlex.split(f"--dataset {choice}")[1] in message
    stack = open_stack(tmp_path / "a.tif", dataset=choice)
    rest = np.delete(PIXELS, odd, axis=0)
    np.testing.assert_array_equal(np.asarray(stack.array), rest)
    assert any("left out" in told for told in stack.messages)
    with pytest.raises(InputError, match="choose dataset 0 to 1"):
        open_stack(tmp_path / "a.tif", dataset="2")


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_pages_that_are_written_differently_behind_metadata(tmp_path: Path, kind: str) -> None:
    """What a program makes that replaces a page of a file of ImageJ or Bio-Formats."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, **{kind: True}, metadata={"axes": "ZYX"}, compression="zlib")
    with tifffile.TiffFile(path) as file:
        description = file.pages[0].description
    first = {"compression": None, "description": description.encode()}
    write_pages(path, first, {"compression": "zlib", "rowsperstrip": 20})
    stack = open_stack(path)
    np.testing.assert_array_equal(np.asarray(stack.array), PIXELS)


def test_thumbnails_are_left_out_and_told(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for number, page in enumerate(PIXELS):
            writer.write(page, metadata=None, contiguous=False)
            if number == 0:
                writer.write(page[::4, ::4], metadata=None, contiguous=False, subfiletype=1)
    stack = open_stack(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.asarray(stack.array), PIXELS)
    assert "1 reduced" in stack.messages[0]


def test_several_images_of_an_ome_tiff_are_to_be_chosen_from(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        writer.write(PIXELS, metadata={"axes": "ZYX"})
        writer.write(PIXELS[:4, ::2], metadata={"axes": "ZYX"})
    with pytest.raises(ChoiceNeeded, match="2 images") as error:
        open_stack(tmp_path / "a.ome.tif")
    assert error.value.choices == ("0", "1")
    for choice, expected in zip("01", (PIXELS, PIXELS[:4, ::2]), strict=True):
        stack = open_stack(tmp_path / "a.ome.tif", dataset=choice)
        np.testing.assert_array_equal(np.asarray(stack.array), expected)


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_metadata_that_say_more_than_the_pages_hold(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, **{kind: True}, metadata={"axes": "ZYX"}, compression="zlib")
    with tifffile.TiffFile(path) as file:
        at = file.pages[3].aspage().tags["ImageWidth"].valueoffset
    with path.open("r+b") as opened:
        opened.seek(at)
        opened.write((30).to_bytes(2, "little"))
    with pytest.raises(InputError, match=r"60 x 30 uint8.*page 3|page 3 is 60 x 30 uint8"):
        open_stack(path)


def test_different_images_without_a_stack_are_listed(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for size in (20, 30):
            writer.write(volume((size, size)), metadata=None)
    with pytest.raises(InputError, match=r"1 of 20 x 20 uint8 .* 1 of 30 x 30 uint8"):
        open_stack(tmp_path / "a.tif")


def test_a_mixed_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "a.tif", {}, {"compression": "zlib"})
    with tifffile.TiffFile(path) as file:
        last = file.pages[8].offset
    with path.open("r+b") as opened:
        opened.truncate(last + 4)
    with pytest.raises(InputError, match="cut short"):
        open_stack(path)
