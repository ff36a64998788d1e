"""Write small stacks in every format; imported by the tests, knows nothing about repairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.types import Box

#: The types of stacks that tests of formats go through.
DTYPES = ("uint8", "uint16", "int16", "float32")


def volume(shape: tuple[int, ...], dtype: Any = "uint8", seed: int = 0) -> np.ndarray:
    """Random pixels over the whole range of a dtype (normal for floats)."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return rng.normal(size=shape).astype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    info = np.iinfo(dtype)
    native = dtype.newbyteorder("=")
    return rng.integers(info.min, info.max, shape, dtype=native, endpoint=True).astype(dtype)


def halved(pixels: np.ndarray, axes: int = 2) -> np.ndarray:
    """Mean of 2 x 2 over the last ``axes`` axes, whole blocks only, rounded half to even."""
    for axis in range(pixels.ndim - axes, pixels.ndim):
        n = pixels.shape[axis] // 2 * 2
        pixels = np.take(pixels, range(n), axis=axis).astype(float)
        pixels = pixels.reshape(*pixels.shape[:axis], n // 2, 2, *pixels.shape[axis + 1 :])
        pixels = pixels.mean(axis=axis + 1)
    return pixels


def write_ngff(
    path: Path,
    pixels: np.ndarray,
    *,
    version: str = "0.5",
    axes: str = "zyx",
    scale: tuple[float, ...] | None = None,
    unit: str | None = "nanometer",
    levels: int = 1,
    chunks: tuple[int, ...] | None = None,
    shards: tuple[int, ...] | None = None,
    compressors: Any = "auto",
) -> Path:
    """Write an OME-Zarr by hand, so that the readers are not tested against our own writer."""
    zarr_format = 2 if version == "0.4" else 3
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    types = {"t": "time", "c": "channel"}
    scale = scale or (1.0,) * pixels.ndim
    datasets = []
    level = pixels
    for number in range(levels):
        options: dict[str, Any] = {"compressors": compressors}
        if shards is not None:
            options["shards"] = shards
        if zarr_format == 2:
            options["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
        array = group.create_array(
            str(number),
            shape=level.shape,
            dtype=level.dtype,
            chunks=chunks or tuple(min(n, 32) for n in level.shape),
            **options,
        )
        array[...] = level
        size = [s * (2**number if a in "yx" else 1) for a, s in zip(axes, scale, strict=True)]
        transforms = [{"type": "scale", "scale": size}]
        datasets.append({"path": str(number), "coordinateTransformations": transforms})
        level = np.rint(halved(level)).astype(pixels.dtype)
    described = [
        {
            "name": a,
            "type": types.get(a, "space"),
            **({"unit": unit} if a in "zyx" and unit else {}),
        }
        for a in axes
    ]
    multiscale: dict[str, Any] = {"axes": described, "datasets": datasets}
    if version == "0.4":
        group.attrs["multiscales"] = [{"version": "0.4", **multiscale}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [multiscale]}
    return path


def assert_same(stack: Stack, pixels: np.ndarray) -> None:
    """Compare a stack with the truth: all sections, a box, one pixel, the array for viewers."""
    assert stack.shape == pixels.shape
    assert stack.dtype == pixels.dtype
    depth, height, width = pixels.shape
    box = Box(height // 3, width // 4, height // 3 + max(height // 2, 1), width // 4 + 1)
    for z in range(depth):
        section = stack.read(z)
        assert section.dtype == pixels.dtype
        assert section.dtype.isnative
        np.testing.assert_array_equal(section, pixels[z])
        np.testing.assert_array_equal(stack.read(z, box), pixels[z][box.slices])
    np.testing.assert_array_equal(np.asarray(stack.array[0]), pixels[0])
    np.testing.assert_array_equal(
        np.asarray(stack.array[-1, height // 2 :, : width // 2]),
        pixels[-1, height // 2 :, : width // 2],
    )
