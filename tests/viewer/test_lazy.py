"""What napari reads of a pyramid: one section of what is in sight."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.viewer.layers import stack_layer
from napari_flowinpaint.viewer.lazy import LazyArray, shown_levels
from napari_flowinpaint.viewer.tasks.loading import load


class Recording:
    """An array that remembers how many pixels were read of it."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.shape, self.dtype, self.ndim = pixels, pixels.shape, pixels.dtype, 3
        self.read: list[int] = []

    def __getitem__(self, key):
        found = self.pixels[key]
        self.read.append(found.size)
        return found


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (7, 40, 60), dtype=np.uint8)


KEYS = [
    3,
    -1,
    (2, slice(None), slice(None)),
    (slice(1, 4), slice(5, 20), 7),
    (..., 3),
    (slice(None), slice(4, 30, 2), slice(10, None)),
    (slice(2, 2),),
    (1, 2, 3),
    ...,
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_gives_what_the_array_gives(pixels, key):
    found = LazyArray(pixels)[key]
    assert np.array_equal(np.asarray(found), pixels[key])
    assert found.shape == pixels[key].shape
    assert found.dtype == pixels.dtype


def test_slices_of_slices(pixels):
    part = LazyArray(pixels)[:, 4:30:2, 10:][1:, 3:, 2:9]
    assert isinstance(part, LazyArray)
    assert np.array_equal(part[2], pixels[1:][:, 4:30:2, 10:][:, 3:, 2:9][2])


def test_nothing_is_read_by_slices(pixels):
    source = Recording(pixels)
    part = LazyArray(source)[:, 4:30, 10:50]
    assert (part.shape, part.ndim, len(part)) == ((7, 26, 40), 3, 7)
    assert (part.size, part.nbytes) == (7 * 26 * 40,) * 2
    assert source.read == []
    assert part[3].shape == (26, 40)
    assert source.read == [26 * 40]


def test_a_stack_can_be_made_of_it(pixels):
    stack = Stack.from_array(LazyArray(pixels))
    assert np.array_equal(stack.read(4), pixels[4])
    assert np.array_equal(stack.levels[0].read(slice(2, 5)), pixels[2:5])


@pytest.mark.parametrize("key", [9, (0, 0, 0, 0)], ids=str)
def test_what_is_not_there(pixels, key):
    with pytest.raises(IndexError):
        LazyArray(pixels)[key]


def test_steps_backwards_are_refused(pixels):
    with pytest.raises(IndexError, match="negative steps"):
        np.asarray(LazyArray(pixels)[::-1])


def test_what_need_not_be_deferred_is_left(pixels):
    source = Recording(pixels)
    assert shown_levels([source]) == [source]
    assert shown_levels([pixels, pixels[:, ::2, ::2]])[0] is pixels
    assert shown_levels([]) == []


def test_napari_reads_one_section(pixels):
    levels = [Recording(pixels), Recording(np.ascontiguousarray(pixels[:, ::2, ::2]))]
    viewer = ViewerModel()
    layer = viewer.add_layer(Image(shown_levels(levels), multiscale=True, contrast_limits=(0, 255)))
    for z in (5, 2):
        viewer.dims.set_current_step(0, z)
        assert np.array_equal(np.asarray(layer._slice.thumbnail.view), levels[1].pixels[z])
    read = [n for level in levels for n in level.read]
    assert read
    assert max(read) <= 40 * 60, "no more than a section"


def test_a_stack_with_a_pyramid_is_deferred(tmp_path):
    volume = np.random.default_rng(0).integers(0, 255, (3, 600, 1100), dtype=np.uint8)
    path = save_ome_zarr(Stack.from_array(volume), tmp_path / "stack.zarr")
    assert len(open_stack(path).levels) > 1
    layer = stack_layer(load(str(path), progress=lambda *_: None))
    assert all(isinstance(level, LazyArray) for level in layer.data)
    assert np.array_equal(layer.data[0][1], volume[1])
