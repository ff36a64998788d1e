"""A level is recognised by how it was made, and can be updated where it was touched."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_stacks import volume, write_ngff
from skimage.measure import block_reduce
from skimage.transform import downscale_local_mean, resize

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.io.pyramid import (
    DownsamplingRule,
    block_factors,
    detect_rule,
    detect_rules,
    downsample,
    factors_between,
    needed,
    reduce,
    touched,
)
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.types import Box

DTYPES = ("uint8", "uint16", "int16", "float32")
HALVES = (1, 2, 2)


def smooth(shape: tuple[int, int, int], dtype: str = "uint8") -> np.ndarray:
    """Pixels that resemble an image: neighbours are alike, so that rules are hard to tell apart."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(0).normal(size=shape), (0, 2, 2))
    grey = 128 + 60 * noise / noise.std()
    if dtype == "int16":
        grey = (grey - 128) * 40
    return grey.clip(0, 255).astype(dtype) if dtype == "uint8" else grey.astype(dtype)


def opencv_area(pixels: np.ndarray) -> np.ndarray:
    size = (pixels.shape[2] // 2, pixels.shape[1] // 2)
    return np.stack([cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pixels])


def local_mean(pixels: np.ndarray) -> np.ndarray:
    return downscale_local_mean(pixels, HALVES).astype(pixels.dtype)


def median(pixels: np.ndarray) -> np.ndarray:
    return block_reduce(pixels, HALVES, np.median).astype(pixels.dtype)


# --- reducing -------------------------------------------------------------------------------


def test_roundings_of_the_mean() -> None:
    # Means of 2 x 2: 0.25, 0.5, 1.5, 2.75 and their negatives.
    quads = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 2, 2], [2, 3, 3, 3]])
    pixels = np.concatenate([quads, -quads]).reshape(8, 2, 2).astype("int16")
    made = {
        rounding: downsample(pixels, HALVES, DownsamplingRule("mean", rounding))[:, 0, 0].tolist()
        for rounding in ("half-even", "half-up", "floor", "trunc")
    }
    assert made == {
        "half-even": [0, 0, 2, 3, 0, 0, -2, -3],
        "half-up": [0, 1, 2, 3, 0, 0, -1, -3],
        "floor": [0, 0, 1, 2, -1, -1, -2, -3],
        "trunc": [0, 0, 1, 2, 0, 0, -1, -2],
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factors", [(1, 2, 2), (2, 2, 2), (1, 3, 4), (3, 1, 5), (1, 1, 1)])
def test_mean_and_median_of_whole_blocks(factors: Any, dtype: str) -> None:
    pixels = volume(tuple(4 * f for f in factors), dtype)
    blocks = pixels.reshape(4, factors[0], 4, factors[1], 4, factors[2]).astype(float)
    for kind, function in (("mean", np.mean), ("median", np.median)):
        expected = function(blocks, axis=(1, 3, 5))
        made = downsample(pixels, factors, DownsamplingRule(kind))  # type: ignore[arg-type]
        assert made.dtype == pixels.dtype
        if dtype == "float32":
            np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(made, np.rint(expected))


def test_blocks_that_stick_out_count_the_pixels_they_have() -> None:
    pixels = np.arange(15, dtype="uint8").reshape(1, 3, 5)
    np.testing.assert_array_equal(
        downsample(pixels, HALVES)[0],
        [[3, 5, 6], [10, 12, 14]],  # 6.5 to even; the last is alone
    )
    np.testing.assert_array_equal(downsample(pixels, HALVES, shape=(1, 1, 2))[0], [[3, 5]])
    last = downsample(pixels, HALVES, DownsamplingRule("nearest", offset=(0, 1, 1)))
    np.testing.assert_array_equal(last[0], [[6, 8, 9], [11, 13, 14]])


def test_constant_stays_constant() -> None:
    for dtype, value in (("uint8", 255), ("uint16", 65535), ("int16", -32768), ("float32", 0.1)):
        pixels = np.full((3, 7, 5), value, dtype)
        for kind in ("mean", "median", "nearest"):
            made = downsample(pixels, (2, 3, 2), DownsamplingRule(kind))  # type: ignore[arg-type]
            assert made.shape == (2, 3, 3)
            assert (made == pixels[0, 0, 0]).all()


@st.composite
def touched_levels(draw: st.DrawFn) -> Any:
    factors = tuple(draw(st.integers(1, 4)) for _ in range(3))
    shape = tuple(draw(st.integers(1, n)) for n in (5, 17, 17))
    ceil = [-(-n // f) for n, f in zip(shape, factors, strict=True)]
    floor = [max(n // f, 1) for n, f in zip(shape, factors, strict=True)]
    coarse = tuple(draw(st.sampled_from(pair)) for pair in zip(ceil, floor, strict=True))
    region = []
    for n in shape:
        start = draw(st.integers(0, n - 1))
        region.append(slice(start, draw(st.integers(start + 1, n))))
    kind = draw(st.sampled_from(["mean", "median", "nearest"]))
    rounding = draw(st.sampled_from(["half-even", "half-up", "floor", "trunc"]))
    offset = tuple(draw(st.integers(0, f - 1)) for f in factors)
    rule = DownsamplingRule(kind, rounding, offset if kind == "nearest" else (0, 0, 0))
    return factors, shape, coarse, tuple(region), rule, draw(st.sampled_from(DTYPES))


@settings(deadline=None, max_examples=300)
@given(touched_levels())
def test_updating_what_was_touched_is_as_good_as_making_the_level_anew(case: Any) -> None:
    factors, shape, coarse, region, rule, dtype = case
    before, after = volume(shape, dtype), volume(shape, dtype)
    after[region] = volume(after[region].shape, dtype, seed=1)
    level = downsample(before, factors, rule, coarse)
    assert level.shape == coarse
    part = touched(region, factors, coarse)
    source = after[needed(part, factors, shape)]
    level[part] = downsample(source, factors, rule, level[part].shape)
    anew = downsample(after, factors, rule, coarse)
    assert level.tobytes() == anew.tobytes()
    # No more than that: every touched block has a pixel in the region.
    for axis, (mine, theirs) in enumerate(zip(part, region, strict=True)):
        for i in (mine.start, mine.stop - 1) if mine.stop > mine.start else ():
            block = range(i * factors[axis], (i + 1) * factors[axis])
            assert set(block) & set(range(theirs.start, theirs.stop))


@pytest.mark.parametrize("zfactor", [1, 2])
def test_reduce_a_box_of_a_section(zfactor: int) -> None:
    pixels = volume((5, 41, 63), "uint16")
    factors = (zfactor, 2, 2)
    stack = Stack.from_array(
        [pixels, downsample(pixels, factors, DownsamplingRule("mean", "floor"))]
    )
    fine, coarse = stack.levels
    assert factors_between(fine, coarse) == factors
    for z, box in product(range(coarse.shape[0]), (Box(0, 0, 21, 32), Box(3, 5, 9, 32))):
        made = reduce(fine, coarse, DownsamplingRule("mean", "floor"), z, box)
        np.testing.assert_array_equal(made, coarse.read(z, box))


# --- factors --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fine", "coarse", "ratio", "expected"),
    [
        ((20, 100, 101), (20, 50, 51), None, (1, 2, 2)),
        ((20, 100, 101), (20, 50, 50), None, (1, 2, 2)),
        ((21, 100, 101), (11, 25, 34), None, (2, 4, 3)),
        ((3, 3, 3), (1, 1, 1), (2, 2, 2), (2, 2, 2)),  # the metadata decide
        ((3, 3, 3), (1, 1, 1), None, (3, 3, 3)),
        ((1, 1, 1), (1, 1, 1), (2, 2, 2), (2, 2, 2)),
        ((5, 75, 75), (5, 37, 37), (1, 2.027, 2.027), (1, 2, 2)),
    ],
)
def test_block_factors(fine: Any, coarse: Any, ratio: Any, expected: Any) -> None:
    assert block_factors(fine, coarse, ratio) == expected


def test_a_factor_that_is_no_whole_number_is_refused() -> None:
    with pytest.raises(InputError, match="from 100 to 67 pixels on axis y"):
        block_factors((5, 100, 100), (5, 67, 67), (1, 1.5, 1.5))
    with pytest.raises(InputError, match="whole-number"):
        block_factors((5, 100, 100), (5, 200, 200))


# --- recognising ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 80, 90), (3, 41, 67), (1, 7, 9)])
@pytest.mark.parametrize(
    "rule",
    [
        DownsamplingRule(),
        DownsamplingRule("mean", "floor"),
        DownsamplingRule("mean", "half-up"),
        DownsamplingRule("median", "floor"),
        DownsamplingRule("nearest"),
        DownsamplingRule("nearest", offset=(0, 1, 1)),
        DownsamplingRule("nearest", offset=(0, 0, 1)),
    ],
    ids=str,
)
def test_every_rule_is_recognised(rule: DownsamplingRule, shape: Any, dtype: str) -> None:
    pixels = smooth(shape, dtype) if shape[1] > 10 else volume(shape, dtype)
    level = downsample(pixels, HALVES, rule)
    found = detect_rule(pixels, level, HALVES)
    assert found.exact
    np.testing.assert_allclose(downsample(pixels, HALVES, found), level, rtol=1e-6)
    if dtype != "float32":
        assert str(found) == str(rule)


def test_pyramids_of_other_programs() -> None:
    pixels = smooth((4, 120, 140))
    assert str(detect_rule(pixels, opencv_area(pixels), HALVES)) == "mean half-up"
    assert str(detect_rule(pixels, local_mean(pixels), HALVES)) == "mean floor"
    assert str(detect_rule(pixels, median(pixels), HALVES)) == "median floor"
    assert str(detect_rule(pixels, pixels[:, ::2, ::2], HALVES)) == "nearest 0,0,0"
    assert str(detect_rule(pixels, pixels[1::2, 1::2, 1::2], (2, 2, 2))) == "nearest 1,1,1"
    signed = smooth((4, 120, 140), "int16")
    truncated = signed.reshape(4, 60, 2, 70, 2).mean(axis=(2, 4)).astype("int16")
    assert str(detect_rule(signed, truncated, HALVES)) == "mean trunc"


def test_an_unknown_rule_is_reported() -> None:
    pixels = smooth((4, 120, 140))
    blurred = resize(pixels, (4, 60, 70), anti_aliasing=True, preserve_range=True).astype("uint8")
    for level in (blurred, 255 - pixels[:, ::2, ::2]):
        found = detect_rule(pixels, level, HALVES)
        assert not found.exact
        assert (found.kind, str(found)) == ("mean", "mean half-even (approximate)")


def test_a_few_foreign_pixels_do_not_hide_the_rule() -> None:
    pixels = smooth((4, 120, 140))
    level = downsample(pixels, HALVES, DownsamplingRule("mean", "floor"))
    level[1, 20:40, 20:25] = 0
    assert str(detect_rule(pixels, level, HALVES)) == "mean floor"


def test_an_empty_pyramid_follows_our_rule() -> None:
    assert (
        detect_rule(np.zeros((2, 8, 8), "u1"), np.zeros((2, 4, 4), "u1"), HALVES)
        == DownsamplingRule()
    )


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_rules_of_a_store(tmp_path: Path, version: str) -> None:
    pixels = smooth((3, 96, 101))
    stack = open_stack(write_ngff(tmp_path / "a.zarr", pixels, version=version, levels=3))
    assert [str(rule) for rule in detect_rules(stack.levels)] == ["mean half-even"] * 2
    assert detect_rules(stack.levels[:1]) == ()


def test_detection_reads_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_flowinpaint.core.io.folder_store import FolderStore

    path = write_ngff(tmp_path / "a.zarr", volume((2, 1024, 1024)), levels=2, chunks=(1, 64, 64))
    keys: list[str] = []
    real = FolderStore.get_sync

    def get_sync(self: Any, key: str, **kwargs: Any) -> Any:
        keys.append(key)
        return real(self, key, **kwargs)

    stack = open_stack(path)
    monkeypatch.setattr(FolderStore, "get_sync", get_sync)
    detect_rules(stack.levels)
    assert 0 < len(keys) < 80  # of 640


def test_rules_are_written_and_read_back() -> None:
    rules = [
        DownsamplingRule(),
        DownsamplingRule("median", "trunc"),
        DownsamplingRule("nearest", offset=(1, 0, 3)),
        DownsamplingRule(exact=False),
    ]
    assert [DownsamplingRule.parse(str(rule)) for rule in rules] == rules
    for text in ("", "mean", "mode floor", "nearest 1,2", "mean up", "nearest a,b,c"):
        with pytest.raises(ValueError):
            DownsamplingRule.parse(text)


@pytest.mark.parametrize("kind", ["mean", "median", "nearest"])
@pytest.mark.filterwarnings("error")
def test_pixels_that_are_no_numbers(kind: Any) -> None:
    """Damaged pixels may be NaN or infinite; nobody wants to be warned, and the rule is found."""
    fine = volume((4, 40, 40), "float32")
    fine[1, 10:20, 10:20] = np.nan
    fine[2, 4:8, 4:8] = [np.inf, -np.inf, np.inf, -np.inf]
    coarse = downsample(fine, (1, 2, 2), DownsamplingRule(kind))
    assert np.isnan(coarse[1, 6, 6])
    assert detect_rule(fine, coarse, (1, 2, 2)) == DownsamplingRule(kind)
