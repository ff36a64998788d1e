"""Where sections were imaged: padding, NaN, fill values, and tissue that only looks like it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from padding import outside
from textures import texture

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.io.no_data import imaged_pixels, mirror_tissue, padding_of
from napari_flowinpaint.core.io.polarity import contrast_polarity
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.types import Box

SHAPE = (240, 300)


def section(dtype: str = "uint8", offset: float = 0) -> np.ndarray:
    return (texture(SHAPE).clip(3, 252) + offset).astype(dtype)


def windows(shape: tuple[int, int], size: int = 90) -> list[Box]:
    return [
        Box(y, x, min(y + size, shape[0]), min(x + size, shape[1]))
        for y in range(0, shape[0], 50)
        for x in range(0, shape[1], 50)
    ]


@pytest.mark.parametrize(
    ("dtype", "offset", "value"),
    [
        ("uint8", 0, 0),
        ("uint8", 0, 255),
        ("uint8", 0, 128),
        ("uint16", 32768, 0),
        ("int16", 500, -32768),
        ("float32", 3e4, np.nan),
        ("float32", 3e4, np.inf),
    ],
)
@pytest.mark.parametrize("turned", [0.0, 4.0])
def test_padding_of_any_value_is_found_in_sections_and_in_windows(dtype, offset, value, turned):
    padded, void = section(dtype, offset), outside(SHAPE, turned, (6, -4), 14)
    padded[void] = value
    missed = void & imaged_pixels(padded)
    assert not missed.any()
    assert (~void & ~imaged_pixels(padded)).sum() < 50  # tissue of the same value beside it
    stack = Stack.from_array(padded[None])
    for box in windows(SHAPE):
        found = stack.imaged(0, box, stack.read(0, box))
        assert not (found & void[box.slices]).any()
        assert (~found & ~void[box.slices]).sum() < 50


@pytest.mark.parametrize("width", [1, 2, 3])
def test_narrow_rims_are_padding(width):
    padded = np.zeros(SHAPE, np.uint8)
    inner = (slice(width, -width),) * 2
    padded[inner] = section()[inner]
    void = np.ones(SHAPE, bool)
    void[inner] = False
    assert np.array_equal(~imaged_pixels(padded), void)


def test_sides_may_have_padding_of_different_values():
    padded = section()
    padded[:, :20], padded[:, -30:], padded[:15, 20:-30] = 0, 255, 77
    assert imaged_pixels(padded).sum() == (SHAPE[0] - 15) * (SHAPE[1] - 50)


def test_curved_padding():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    void = x < 40 + 25 * np.sin(y / 40)
    padded = section()
    padded[void] = 0
    assert np.array_equal(~imaged_pixels(padded), void)


@pytest.mark.parametrize("value", [0, 255])
def test_saturated_tissue_is_no_padding(value):
    pixels = section()
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    pixels[np.hypot(y - 120, x - 150) < 60] = value  # in the midst
    pixels[np.hypot(y - 60, x - 38) < 40] = value  # touches the border with a few pixels
    pixels[-3:, 200:210] = value
    assert imaged_pixels(pixels).all()
    stack = Stack.from_array(pixels[None])
    assert all(stack.imaged(0, box, stack.read(0, box)).all() for box in windows(SHAPE))


def test_smooth_tissue_that_is_constant_in_places_is_no_padding():
    smooth = np.rint(texture(SHAPE, sigma=14) / 6).astype(np.uint8)
    assert imaged_pixels(smooth).all()
    stack = Stack.from_array(smooth[None])
    assert all(stack.imaged(0, box, stack.read(0, box)).all() for box in windows(SHAPE))
    smooth[:, :30] = 0
    assert np.array_equal(imaged_pixels(smooth)[:, 35:], np.ones((SHAPE[0], SHAPE[1] - 35), bool))
    assert not imaged_pixels(smooth)[:, :30].any()


def test_a_section_that_is_constant_is_missing_and_not_padded():
    blank = np.full(SHAPE, 9, np.uint8)
    assert imaged_pixels(blank).all()
    box = Box(50, 60, 150, 160)
    assert Stack.from_array(blank[None]).imaged(0, box, blank[box.slices]).all()


def test_more_is_read_only_towards_where_a_constant_region_goes_on():
    wide = np.zeros((64, 4000), np.uint8)
    wide[:, 3000:] = texture((64, 1000))
    boxes: list[Box] = []

    class Watched(Stack):
        def read(self, z: int, box: Box | None = None) -> np.ndarray:
            assert box is not None
            boxes.append(box)
            return super().read(z, box)

    stack = Watched.from_array(wide[None])
    inside, beside = Box(8, 3500, 56, 3600), Box(8, 2900, 56, 3100)
    assert stack.imaged(0, inside, wide[inside.slices]).all()
    assert not boxes
    for _ in range(2):  # the second time it is remembered
        assert stack.imaged(0, beside, wide[beside.slices]).mean() == 0.5
        assert all(box.x1 <= 3100 for box in boxes if box.shape != (32, 32))
    assert len(boxes) < 8


def test_a_value_can_be_declared_and_is_kept_when_a_stack_is_opened_elsewhere(tmp_path):
    pixels = section()
    pixels[100:140, 100:150] = 200
    path = tmp_path / "s.zarr"
    zarr.save_array(path, np.stack([pixels] * 3))
    plain, declared = open_stack(path), open_stack(path, no_data=200)
    box = Box(90, 90, 160, 160)
    assert plain.imaged(0, box, plain.read(0, box)).all()
    for stack in (declared, pickle.loads(pickle.dumps(declared))):
        assert stack.no_data == 200
        assert np.array_equal(stack.imaged(0, box, stack.read(0, box)), pixels[box.slices] != 200)
    with pytest.raises(InputError, match="uint8"):
        open_stack(path, no_data=-1)


def test_a_fill_value_that_was_chosen_is_no_data_however_little_of_it_meets_the_border(tmp_path):
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    blob = np.hypot(y - 60, x - 38) < 40
    pixels = section()
    pixels[blob] = 7
    for fill, taken in ((0, False), (7, True)):
        array = zarr.create_array(
            tmp_path / f"{fill}.zarr", shape=(3, *SHAPE), dtype="uint8", fill_value=fill
        )
        array[...] = np.stack([pixels] * 3)
        stack = open_stack(tmp_path / f"{fill}.zarr")
        assert (not stack.imaged_level(pixels)[blob].any()) == taken


def test_small_holes_at_the_border_beside_large_ones_are_damage():
    """A part that ends with the mask is no padding, however small a share of the mask it is."""
    imaged, mask = np.ones((2, 60, 80), dtype=bool)
    mask[:] = False
    mask[10:50, 20:60] = True
    imaged[:6, 65:75] = imaged[40:48, :5] = False
    mask |= ~imaged
    assert not padding_of(imaged, mask).any()
    imaged[0:7, 62:65] = False  # saturated tissue of the same value beside it
    assert not padding_of(imaged, mask).any()
    imaged[:3] = False  # padding that goes on beyond the mask
    mask[:3, 60:78] = True
    assert padding_of(imaged, mask)[:3].all()


def test_what_a_mask_outlines_is_damage():
    pixels, corner = section(), np.zeros(SHAPE, bool)
    corner[:60, :70] = True
    pixels[corner] = 0
    imaged = imaged_pixels(pixels)
    assert not padding_of(imaged, corner).any()
    spilt = np.zeros(SHAPE, bool)
    spilt[30:120, 40:120] = True
    assert np.array_equal(padding_of(imaged, spilt), corner)


def test_mirrored_tissue_leaves_no_edge():
    pixels = section()
    void = outside(SHAPE, 3, (0, 0), 20)
    mirrored = mirror_tissue(np.where(void, 0, pixels), ~void)
    assert np.array_equal(mirrored[~void], pixels[~void])
    edge = void[:, 1:] != void[:, :-1]
    steps = np.abs(np.diff(mirrored.astype(float)))
    assert steps[edge].max() < 1.5 * steps[~void[:, 1:] & ~void[:, :-1]].max()


def test_polarity_is_that_of_tissue():
    lines = np.full((3, *SHAPE), 128, np.uint8)
    lines[:, ::17] = 90
    lines[:, 1::17] = 110
    lines = lines + np.random.default_rng(0).integers(0, 9, lines.shape, dtype=np.uint8)
    plain = contrast_polarity(Stack.from_array(lines))
    padded = lines.copy()
    padded[:, outside(SHAPE, 2, (0, 0), 20)] = 255
    assert contrast_polarity(Stack.from_array(padded)) == plain == "dark membranes"


@given(
    turned=st.floats(-8, 8),
    shift=st.tuples(st.integers(-12, 12), st.integers(-12, 12)),
    value=st.sampled_from([0, 1, 128, 255]),
    place=st.tuples(st.integers(0, 180), st.integers(0, 240)),
)
def test_any_padding_is_found_and_nothing_else(turned, shift, value, place):
    void = outside(SHAPE, turned, shift, 14)
    padded = section()
    padded[void] = value
    stack = Stack.from_array(padded[None])
    box = Box(place[0], place[1], place[0] + 60, place[1] + 60)
    found = stack.imaged(0, box, stack.read(0, box))
    wrong = found == void[box.slices]
    # a sliver of padding narrower than the window may be too short to be told
    assert wrong.sum() < 60


def test_padding_that_reaches_into_a_part_by_a_pixel_is_seen() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(100, 500, (1, 120, 130)).astype(np.int16)
    padding = np.zeros((120, 130), bool)
    for column in range(130):
        padding[80 - column // 20 :, column] = True
    pixels[0][padding] = -32768
    stack = Stack.from_array(pixels)
    for height in range(72, 82):  # ends within the steps of the padding
        box = Box(10, 10, height, 120)
        found, imaged = stack.read_imaged(0, box)
        np.testing.assert_array_equal(found, pixels[0][box.slices])
        np.testing.assert_array_equal(imaged, ~padding[box.slices])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_data_anyway_need_not_be_declared(value):
    stack = Stack.from_array(section("float32")[None])
    assert stack.with_no_data(7.0).with_no_data(value).no_data is None


@pytest.mark.parametrize(
    ("dtype", "value"), [("uint8", np.nan), ("uint8", np.inf), ("float32", 1e39)]
)
def test_a_value_that_no_pixel_can_have_is_refused(dtype, value):
    stack = Stack.from_array(section(dtype)[None])
    with pytest.raises(InputError, match="no pixel of array can be"):
        stack.with_no_data(value)


def test_the_least_float_may_be_written_with_fewer_digits():
    pixels = section("float32")
    pixels[50:60, 50:60] = np.finfo(np.float32).min
    declared = Stack.from_array(pixels[None]).with_no_data(-3.4028235e38)
    _, imaged = declared.read_imaged(0, Box(30, 30, 90, 90))
    assert np.array_equal(~imaged, pixels[30:90, 30:90] < -1e38)
