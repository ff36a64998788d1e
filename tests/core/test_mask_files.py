"""Masks as people have them mean what they show, or are asked about."""

from __future__ import annotations

import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import tifffile
import zarr
from make_stacks import volume, write_ngff
from PIL import Image

from napari_flowinpaint.core.errors import ChoiceNeeded, InputError
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.mask_files import open_damage
from napari_flowinpaint.core.masks.mask_choice import MaskChoice, class_name, parse_class
from napari_flowinpaint.core.masks.stack_mask import StackMask
from napari_flowinpaint.core.open import open_stack

SHAPE = (6, 60, 81)
TRUTH = np.zeros(SHAPE[1:], bool)
TRUTH[20:37, 31:60] = True
TRUTH[25, 5] = True
WHITE = (TRUTH * 255).astype(np.uint8)


@pytest.fixture
def stack() -> Stack:
    return Stack.from_array(volume(SHAPE))


def palette(indices: np.ndarray, *colours: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8)).convert("P")
    flat = [part for colour in colours for part in colour]
    image.putpalette(flat + [0] * (768 - len(flat)))
    return image


def rgba(colour: tuple[int, ...], background: tuple[int, ...]) -> np.ndarray:
    return np.where(TRUTH[..., None], colour, background).astype(np.uint8)


PICTURES: dict[str, Any] = {
    "grey.png": Image.fromarray(WHITE),
    "one_bit.png": Image.fromarray(TRUTH),
    "sixteen.png": Image.fromarray(WHITE.astype(np.uint16) * 257),
    "palette.png": palette(TRUTH, (0, 0, 0), (255, 0, 0)),
    "by_frequency.png": palette(~TRUTH, (255, 0, 0), (0, 0, 0)),
    "quantized.png": Image.fromarray(WHITE).convert("RGB").quantize(2),
    "rgb.png": Image.fromarray(rgba((255, 255, 255), (0, 0, 0))),
    "dark_blue.png": Image.fromarray(rgba((0, 0, 64), (0, 0, 0))),
    "layer.png": Image.fromarray(rgba((255, 0, 0, 255), (0, 0, 0, 0))),
    "white_behind.png": Image.fromarray(rgba((255, 0, 0, 255), (255, 255, 255, 0))),
    "black_layer.png": Image.fromarray(rgba((0, 0, 0, 255), (0, 0, 0, 0))),
    "opaque.png": Image.fromarray(rgba((255, 255, 255, 255), (0, 0, 0, 255))),
    "grey_alpha.png": Image.fromarray(rgba((255, 255), (0, 255))),
    "a.jpg": Image.fromarray(np.kron(WHITE, np.ones((8, 8), np.uint8))),
    "a.bmp": Image.fromarray(WHITE),
    "a.gif": Image.fromarray(WHITE),
}


@pytest.mark.parametrize("name", PICTURES)
def test_what_a_picture_shows_counts(tmp_path: Path, name: str) -> None:
    image = PICTURES[name]
    image.save(tmp_path / name)
    side = image.size[1] // SHAPE[1]
    stack = Stack.from_array(np.zeros((6, SHAPE[1] * side, SHAPE[2] * side), np.uint8))
    mask = open_damage(tmp_path / name, stack, [3])
    found = mask.read(3)
    np.testing.assert_array_equal(found[side // 2 :: side, side // 2 :: side], TRUTH)
    assert not mask.read(2).any()
    assert bool(mask.notes) == name.endswith(".jpg")
    assert list(mask.find()) == [3]


@pytest.mark.parametrize("kind", ["rgb", "planar", "palette", "colours", "1-bit"])
def test_what_a_tiff_shows_counts(tmp_path: Path, stack: Stack, kind: str) -> None:
    pages = np.zeros(SHAPE, np.uint8)
    pages[2], pages[4] = TRUTH, TRUTH
    colours = np.stack([pages * 255, pages * 0, pages * 0], -1)
    path = tmp_path / "a.tif"
    if kind == "rgb":
        tifffile.imwrite(path, colours, photometric="rgb")
    elif kind == "planar":
        tifffile.imwrite(
            path, np.moveaxis(colours, -1, 1), photometric="rgb", planarconfig="separate"
        )
    elif kind == "palette":
        table = np.zeros((3, 256), np.uint16)
        table[0, 0] = 65535  # damage is stored as 0, background as 1
        tifffile.imwrite(path, 1 - pages, photometric="palette", colormap=table)
    elif kind == "colours":
        tifffile.imwrite(path, colours, imagej=True)
    else:
        tifffile.imwrite(path, pages > 0, photometric="minisblack")
    mask = open_damage(path, stack)
    assert list(mask.find()) == [2, 4]
    np.testing.assert_array_equal(mask.read(4), TRUTH)


def test_a_tiff_with_white_as_zero_is_told(tmp_path: Path, stack: Stack) -> None:
    pages = np.zeros(SHAPE, np.uint8)
    pages[2] = WHITE
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="miniswhite")
    mask = open_damage(tmp_path / "a.tif", stack)
    assert list(mask.find()) == [2]
    assert "white as 0" in mask.notes[0]


def test_a_numpy_file(tmp_path: Path, stack: Stack) -> None:
    pages = np.zeros(SHAPE, bool)
    pages[2] = TRUTH
    np.save(tmp_path / "a.npy", pages)
    np.testing.assert_array_equal(open_damage(tmp_path / "a.npy", stack).read(2), TRUTH)
    np.save(tmp_path / "b.npy", np.array([{}], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        open_damage(tmp_path / "b.npy", stack)


def test_numpy_files_opened_in_threads(
    tmp_path: Path, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their headers are parsed one at a time."""
    pages = np.zeros(SHAPE, bool)
    pages[2] = TRUTH
    np.save(tmp_path / "a.npy", pages)
    real, inside, most = np.lib.format.read_array_header_1_0, [], []

    def slow(file: Any, *arguments: Any, **options: Any) -> Any:
        inside.append(file)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()
        return real(file, *arguments, **options)

    monkeypatch.setattr(np.lib.format, "read_array_header_1_0", slow)
    with ThreadPoolExecutor(3) as pool:
        masks = list(pool.map(lambda _: open_damage(tmp_path / "a.npy", stack), range(3)))
    assert most == [1, 1, 1]
    for mask in masks:
        np.testing.assert_array_equal(mask.read(2), TRUTH)


# ---- classes, and what covers everything


@pytest.mark.parametrize("where", ["image", "volume", "section of a volume"])
def test_classes_without_zero_are_asked_about(tmp_path: Path, stack: Stack, where: str) -> None:
    classes = np.where(TRUTH, 2, 1).astype(np.uint8)
    pages = np.ones(SHAPE, np.uint8)
    pages[3] = classes
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, classes if where == "image" else pages, photometric="minisblack")
    sections = None if where == "volume" else [3]
    with pytest.raises(ChoiceNeeded, match="--mask-class 2") as asked:
        open_damage(path, stack, sections)
    if where != "volume":
        assert asked.value.choices == ("1", "2")
    mask = open_damage(path, stack, sections, choice=MaskChoice.parse("2"))
    np.testing.assert_array_equal(mask.read(3), TRUTH)
    assert list(mask.find()) == [3]


def test_colours_without_black_are_asked_about(tmp_path: Path, stack: Stack) -> None:
    Image.fromarray(rgba((255, 0, 0), (255, 255, 255))).save(tmp_path / "a.png")
    with pytest.raises(ChoiceNeeded, match="#ff0000"):
        open_damage(tmp_path / "a.png", stack, [3])
    mask = open_damage(tmp_path / "a.png", stack, [3], choice=MaskChoice.parse("#ff0000"))
    np.testing.assert_array_equal(mask.read(3), TRUTH)


def test_an_inverted_mask_is_named(tmp_path: Path, stack: Stack) -> None:
    pages = np.full(SHAPE, 255, np.uint8)
    pages[3][TRUTH] = 0
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    zarr.create_array(str(tmp_path / "a.zarr"), data=pages, chunks=(1, 30, 30))
    for name in ("a.tif", "a.zarr"):
        for sections in (None, [3], [0, 3]):
            with pytest.raises(ChoiceNeeded, match="--invert-mask"):
                open_damage(tmp_path / name, stack, sections)
        mask = open_damage(tmp_path / name, stack, choice=MaskChoice(invert=True))
        assert list(mask.find()) == [3]
        np.testing.assert_array_equal(mask.read(3), TRUTH)


def test_a_missing_section_is_named_and_taken(tmp_path: Path, stack: Stack) -> None:
    pages = np.zeros(SHAPE, np.uint8)
    pages[3] = 255
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    Image.fromarray(np.full(SHAPE[1:], 255, np.uint8)).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        mask = open_damage(tmp_path / name, stack, [3])
        assert any("all of section 3" in note for note in mask.notes)
        assert mask.read(3).all()
    mostly = np.where(TRUTH, 0, 255).astype(np.uint8)
    Image.fromarray(mostly).save(tmp_path / "b.png")
    assert any("--invert-mask" in n for n in open_damage(tmp_path / "b.png", stack, [3]).notes)


def test_many_missing_sections_are_one_note(stack: Stack, tmp_path: Path) -> None:
    white = Image.fromarray(np.full(SHAPE[1:], 255, np.uint8))
    mask = open_damage(put(tmp_path / "a", {f"{z}.png": white for z in (1, 3, 4)}), stack)
    found = [note for note in mask.notes if "covers" in note]
    assert found == ["the mask covers all of sections 1, 3, 4: missing sections?"]


def test_a_picture_of_the_section_is_no_mask(tmp_path: Path, stack: Stack) -> None:
    section = np.clip(volume(SHAPE[1:]), 60, 200)
    for name in ("a.png", "a.jpg"):
        Image.fromarray(section).save(tmp_path / name)
        with pytest.raises(InputError, match="picture of the section"):
            open_damage(tmp_path / name, stack, [3])


@pytest.mark.parametrize(("text", "value"), [("2", 2), ("#ff0000", 0xFF0000), ("00ff00", 0xFF00)])
def test_classes_are_numbers_or_colours(text: str, value: int) -> None:
    assert parse_class(text) == value
    assert parse_class(class_name(value)) == value
    with pytest.raises(InputError, match="not a class of a mask"):
        parse_class("red")


# ---- folders


def put(folder: Path, names: dict[str, Any]) -> Path:
    folder.mkdir()
    for name, image in names.items():
        image.save(folder / name)
    return folder


def test_a_folder_with_the_damaged_sections_only(tmp_path: Path, stack: Stack) -> None:
    image = Image.fromarray(WHITE)
    folder = put(tmp_path / "a", {"cell1_0002.png": image, "cell1_0004.png": image})
    mask = open_damage(folder, stack)
    assert list(mask.find()) == [2, 4]
    np.testing.assert_array_equal(mask.read(2), TRUTH)
    assert "section 2, counted from 0" in mask.notes[0]
    assert list(open_damage(folder, stack, [4]).find([4])) == [4]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["s1_3.png", "s2_4.png"], "several numbers"),
        (["a.png", "b.png"], "no number"),
        (["s3.png", "s6.png"], "counted from 1"),
        (["s3.png", "s90.png"], "belongs to no section"),
        (["s03.png", "s3.png"], "same number"),
    ],
)
def test_ambiguous_numbers_are_refused(
    tmp_path: Path, stack: Stack, names: list[str], told: str
) -> None:
    folder = put(tmp_path / "a", dict.fromkeys(names, Image.fromarray(WHITE)))
    with pytest.raises(InputError, match=told):
        open_damage(folder, stack)


def test_the_numbers_of_the_stack_s_own_files_count(tmp_path: Path) -> None:
    sections = {f"em_{100 + z}.png": Image.fromarray(s) for z, s in enumerate(volume(SHAPE))}
    stack = open_stack(put(tmp_path / "stack", sections))
    folder = put(tmp_path / "a", {"em_103_mask.png": Image.fromarray(WHITE)})
    mask = open_damage(folder, stack)
    assert list(mask.find()) == [3]
    assert "named 100 to 105" in mask.notes[0]


def test_a_folder_of_all_sections(tmp_path: Path, stack: Stack) -> None:
    empty = Image.fromarray(WHITE * 0)
    images = {f"s{z}.png": empty for z in range(6)} | {"s3.png": PICTURES["by_frequency.png"]}
    mask = open_damage(put(tmp_path / "a", images), stack)
    assert list(mask.find()) == [3]
    np.testing.assert_array_equal(mask.read(3), TRUTH)


# ---- reduced resolution


@pytest.mark.parametrize("rounded", [np.floor, np.ceil])
@pytest.mark.parametrize("factor", [2, 4])
def test_a_mask_of_reduced_sections_is_enlarged(
    tmp_path: Path, stack: Stack, factor: int, rounded: Any
) -> None:
    height, width = (int(rounded(n / factor)) for n in SHAPE[1:])
    small = np.zeros((6, height, width), np.uint8)
    small[2, 3:6, 4:] = 1
    expected = np.zeros(SHAPE[1:], bool)
    expected[3 * factor : 6 * factor, 4 * factor :] = True
    zarr.create_array(str(tmp_path / "a.zarr"), data=small, chunks=(1, 8, 8))
    mask = open_damage(tmp_path / "a.zarr", stack)
    np.testing.assert_array_equal(mask.read(2), expected)
    boxes = mask.find()
    assert list(boxes) == [2]
    np.testing.assert_array_equal(mask.section(2, boxes[2]), expected)
    assert any("reduced resolution" in note for note in mask.notes)


def test_a_mask_of_a_level_of_the_stack_is_enlarged(tmp_path: Path) -> None:
    path = write_ngff(tmp_path / "s.zarr", volume((6, 64, 96)), levels=2)
    small = np.zeros((6, 32, 48), np.uint8)
    small[1, 4, 5] = 1
    tifffile.imwrite(tmp_path / "a.tif", small, photometric="minisblack")
    mask = open_damage(tmp_path / "a.tif", open_stack(path))
    assert mask.read(1).sum() == 4


@pytest.mark.parametrize("shape", [(5, 60, 81), (6, 60, 40), (6, 45, 61), (3, 60, 81), (6, 59, 81)])
def test_other_shapes_are_refused(stack: Stack, shape: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="has the shape"):
        StackMask(np.zeros(shape, bool), stack.shape)


# ---- ImageJ


def square(position: int = 0, name: str = "") -> roifile.ImagejRoi:
    roi = roifile.ImagejRoi.frompoints([[31, 20], [60, 20], [60, 37], [31, 37]])
    roi.position, roi.name = position, name
    return roi


def test_rois_fill_what_imagej_fills(tmp_path: Path, stack: Stack) -> None:
    expected = TRUTH.copy()
    expected[25, 5] = False
    square(4).tofile(tmp_path / "a.roi")
    named = square(name="0004-0028-0045")
    roifile.roiwrite(tmp_path / "RoiSet.zip", [square(2), named], mode="w")
    mask = open_damage(tmp_path / "a.roi", stack)
    assert list(mask.find()) == [3], "ImageJ counts slices from 1"
    np.testing.assert_array_equal(mask.read(3), expected)
    assert list(open_damage(tmp_path / "RoiSet.zip", stack).find()) == [1, 3]
    square().tofile(tmp_path / "b.roi")
    with pytest.raises(InputError, match="has no slice"):
        open_damage(tmp_path / "b.roi", stack)
    assert list(open_damage(tmp_path / "b.roi", stack, [5]).find()) == [5]
    square(7).tofile(tmp_path / "c.roi")
    with pytest.raises(InputError, match="slice 7"):
        open_damage(tmp_path / "c.roi", stack)


def test_kinds_of_rois(tmp_path: Path, stack: Stack) -> None:
    def boxed(kind: roifile.ROI_TYPE) -> roifile.ImagejRoi:
        roi = roifile.ImagejRoi()
        roi.roitype, roi.position = kind, 1
        roi.left, roi.top, roi.right, roi.bottom = 10, 20, 50, 40
        return roi

    def pixels(roi: roifile.ImagejRoi) -> np.ndarray:
        roi.tofile(tmp_path / "a.roi")
        return open_damage(tmp_path / "a.roi", stack).read(0)

    rectangle = pixels(boxed(roifile.ROI_TYPE.RECT))
    assert rectangle[20:40, 10:50].all()
    assert rectangle.sum() == 800
    oval = pixels(boxed(roifile.ROI_TYPE.OVAL))
    assert abs(oval.sum() - np.pi * 200) < 10
    assert not oval[20, 10]
    line = roifile.ImagejRoi.frompoints([[10, 30], [60, 30]])
    line.roitype, line.position, line.stroke_width = roifile.ROI_TYPE.POLYLINE, 1, 5
    found = pixels(line)
    assert (found[:, 40].sum(), np.flatnonzero(found[:, 40]).mean()) == (5, 30)
    composite = boxed(roifile.ROI_TYPE.RECT)
    rings = ((10, 10, 60, 50), (20, 20, 30, 30), (70, 20, 80, 40))  # the second is a hole
    path = [[0, a, b, 1, c, b, 1, c, d, 1, a, d, 4] for a, b, c, d in rings]
    composite.multi_coordinates = np.ravel(path).astype(np.float32)
    composite.shape_roi_size = composite.multi_coordinates.size
    found = pixels(composite)
    assert (found.sum(), found[25, 25], found[30, 75]) == (2000 - 100 + 200, False, True)
    point = roifile.ImagejRoi.frompoints([[10, 30]])
    point.roitype, point.position = roifile.ROI_TYPE.POINT, 1
    with pytest.raises(InputError, match="no region"):
        pixels(point)


def test_damaged_roi_files_are_refused(tmp_path: Path, stack: Stack) -> None:
    (tmp_path / "a.roi").write_bytes(b"Iout" + bytes(range(60)))
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.roi", bytes(1 << 25))
    for name in ("a.roi", "b.zip"):
        with pytest.raises(InputError):
            open_damage(tmp_path / name, stack)


@pytest.mark.parametrize("depth", [3, 4])
def test_sections_that_tifffile_calls_colours_are_sections(tmp_path: Path, depth: int) -> None:
    masks = np.zeros((depth, *SHAPE[1:]), np.uint8)
    masks[1] = WHITE
    tifffile.imwrite(tmp_path / "m.tif", masks)
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        assert len(file.pages) == 1, "else there is nothing to tell apart"
    mask = open_damage(tmp_path / "m.tif", Stack.from_array(volume((depth, *SHAPE[1:]))))
    assert [bool(mask.read(z).any()) for z in range(depth)] == [z == 1 for z in range(depth)]
    assert np.array_equal(mask.read(1), TRUTH)
    assert "m.tif calls its sections colours" in mask.notes[0]
    with pytest.raises(InputError, match="the mask of a single section"):
        open_damage(tmp_path / "m.tif", Stack.from_array(volume(SHAPE)))
