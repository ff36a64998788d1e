"""Small stores, made-up repairs, and what every pixel should be afterwards; for several tests.

The expectation is computed on whole arrays, from the originals and the list of repairs alone,
and shares nothing with the code under test but the rule a block is reduced by.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from napari_flowinpaint.core.io import pyramid
from napari_flowinpaint.core.section_repair import Patch, Provenance, SectionRepair, pixel_digest
from napari_flowinpaint.core.types import Box

Factors = tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """How a store is written.

    Every chunk costs a fraction of a millisecond each time that it is read or written, one that is
    compressed half as much again: the default has several chunks a section, and no compression.
    """

    zarr_format: int = 3
    chunks: tuple[int, int, int] = (1, 20, 12)
    shards: tuple[int, int, int] | None = None
    factors: tuple[Factors, ...] = ((1, 2, 2), (1, 2, 2))
    rule: pyramid.DownsamplingRule = field(default_factory=pyramid.DownsamplingRule)
    bare: bool = False
    floor: bool = False  # whole blocks only
    compressed: bool = False


def create_array(group: zarr.Group, name: str, pixels: np.ndarray, layout: Layout) -> None:
    options: dict[str, Any] = {}
    if layout.zarr_format == 2:
        options["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    if layout.shards is not None:
        options["shards"] = layout.shards
    array = group.create_array(
        name,
        shape=pixels.shape,
        dtype=pixels.dtype,
        chunks=layout.chunks,
        compressors="auto" if layout.compressed else None,
        config={"write_empty_chunks": True},
        **options,
    )
    array[...] = pixels


def reduced_shape(shape: tuple[int, ...], factors: Factors, layout: Layout) -> tuple[int, ...]:
    if layout.floor:
        return tuple(max(n // f, 1) for n, f in zip(shape, factors, strict=True))
    return tuple(-(-n // f) for n, f in zip(shape, factors, strict=True))


def write_store(path: Path, pixels: np.ndarray, layout: Layout) -> Path:
    """Write a stack with its pyramid; returns what to open."""
    group = zarr.open_group(str(path), mode="w", zarr_format=layout.zarr_format)
    if layout.bare:
        create_array(group, "raw", pixels, layout)
        return path / "raw"
    scale = np.array([40.0, 4.0, 4.0])
    datasets = []
    for number, factors in enumerate(((1, 1, 1), *layout.factors)):
        if number:
            shape = reduced_shape(pixels.shape, factors, layout)
            pixels = pyramid.downsample(pixels, factors, layout.rule, shape)
        scale = scale * factors
        create_array(group, f"s{number}", pixels, layout)
        transforms = [{"type": "scale", "scale": scale.tolist()}]
        datasets.append({"path": f"s{number}", "coordinateTransformations": transforms})
    axes = [{"name": a, "type": "space", "unit": "nanometer"} for a in "zyx"]
    image = {"axes": axes, "datasets": datasets}
    if layout.zarr_format == 2:
        group.attrs["multiscales"] = [{"version": "0.4", **image}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    return path


def level_arrays(store: Path) -> list[np.ndarray]:
    """Every level of the image, as it is on disk now."""
    node = zarr.open(str(store), mode="r")
    if isinstance(node, zarr.Array):
        return [node[...]]
    return [node[name][...] for name in sorted(node.array_keys())]


def label_arrays(store: Path) -> list[np.ndarray]:
    """Every level of the label image; empty where there is none."""
    home = store if (store / "labels").exists() else store / ".flowinpaint"
    folder = home / "labels" / "synthetic"
    if not folder.exists():
        return []
    group = zarr.open_group(str(folder), mode="r")
    return [group[name][...] for name in sorted(group.array_keys())]


def journal_folder(store: Path) -> Path:
    """Where the journal of a store lies."""
    return next(p for p in (store / "s0", store) if p.exists()) / ".flowinpaint"


def journal_states(store: Path) -> dict[int, str]:
    """Number and state of every entry, from the names of their folders."""
    folder = journal_folder(store) / "entries"
    names = [p.name for p in folder.iterdir()] if folder.exists() else []
    return {int(name[:8]): name.rpartition(".")[2] for name in names}


def make_repair(
    stack: Any, z: int, mask: np.ndarray, *, seed: int = 0, halo: int = 3, split: bool = False
) -> SectionRepair:
    """A repair as the engine would make it, with random pixels.

    With ``split`` every row band of 8 pixels is a window of its own; windows overlap.
    """
    rng = np.random.default_rng(seed)
    bands = [mask]
    if split:
        bands = []
        for top in range(0, mask.shape[0], 8):
            band = np.zeros_like(mask)
            band[top : top + 8] = mask[top : top + 8]
            bands.append(band)
    patches: list[Patch] = []
    for band in bands:
        inner = Box.of_mask(band)
        if inner is None:
            continue
        box = inner.expand(halo, mask.shape)
        section = stack.read(z, box)
        hole = band[box.slices]
        result = section.copy()
        result[hole] = random_pixels(rng, int(hole.sum()), section.dtype)
        patches.append(
            Patch(
                box=box,
                components=hole.astype(np.int32) * (len(patches) + 1),
                initial_reference=result,
                refined_reference=result,
                result=result,
                confidence=np.ones(hole.shape, np.float32),
                neighbours=(z - 1, z + 1),
                alpha=0.5,
                method="random",
                source_digest=pixel_digest(section),
            )
        )
    provenance = Provenance(
        method="random",
        weights_sha256=None,
        neighbours=(z - 1, z + 1),
        alpha=(0.5,),
        mask_pixels=int(mask.sum()),
        time="2026-11-21T00:00:00+00:00",
        version="0",
        scores={"psnr": 20.5},
    )
    return SectionRepair(z, mask.shape, np.dtype(section.dtype), tuple(patches), provenance)


def random_pixels(rng: np.random.Generator, shape: Any, dtype: Any) -> np.ndarray:
    """Pixels over the whole range of a dtype; floats that add up exactly."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return (rng.integers(-4096, 4096, shape) / 8).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)


class Expectation:
    """What a store should hold, from the originals and the repairs that are in force."""

    def __init__(self, store: Path, layout: Layout) -> None:
        self.originals = level_arrays(store)
        self.layout = layout
        self.repairs: dict[int, tuple[int, np.ndarray, np.ndarray]] = {}

    def add(self, number: int, repair: SectionRepair) -> None:
        mask = np.zeros(repair.shape, bool)
        new = np.zeros(repair.shape, repair.dtype)
        for patch in repair.patches:
            mask[patch.box.slices] |= patch.mask
            new[patch.box.slices][patch.mask] = patch.result[patch.mask]
        self.repairs[number] = (repair.z, mask, new)

    def _marked(self, mask: np.ndarray, index: int, rule: pyramid.DownsamplingRule) -> np.ndarray:
        """Which pixels of a level depend on marked pixels of the one before, (Z, Y, X)."""
        factors, shape = self.layout.factors[index - 1], self.originals[index].shape
        if rule.kind == "nearest":
            return pyramid.downsample(mask, factors, rule, shape)
        out = np.zeros(shape, bool)
        blocks = np.argwhere(mask) // factors
        out[tuple(blocks[(blocks < shape).all(axis=1)].T)] = True
        return out

    def arrays(
        self, rules: list[pyramid.DownsamplingRule]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """All levels of the image and of the label image."""
        levels = [self.originals[0].copy()]
        labels = [np.zeros(a.shape, np.uint32) for a in self.originals]
        masks = {}
        for number, (z, mask, new) in sorted(self.repairs.items()):
            levels[0][z][mask] = new[mask]
            labels[0][z][mask] = number
            masks[number] = np.zeros(levels[0].shape, bool)
            masks[number][z] = mask
        for index in range(1, len(self.originals)):
            rule, level = rules[index - 1], self.originals[index].copy()
            made = pyramid.downsample(levels[-1], self.layout.factors[index - 1], rule, level.shape)
            for number in masks:
                masks[number] = self._marked(masks[number], index, rule)
                level[masks[number]] = made[masks[number]]
                labels[index][masks[number]] = number
            levels.append(level)
        return levels, labels

    def check(self, store: Path) -> list[np.ndarray]:
        """Fail unless the store is, bit by bit, what it should be; return its levels."""
        levels, labels = self.arrays(journal_rules(store))
        found = level_arrays(store)
        assert len(found) == len(levels)
        for index, (a, b) in enumerate(zip(found, levels, strict=True)):
            assert a.dtype == b.dtype
            assert a.tobytes() == b.tobytes(), f"level {index} differs at {differing(a, b)}"
        marks = label_arrays(store)
        if not marks:
            assert not self.repairs, "the marks are missing"
            return found
        assert len(marks) == len(labels)
        for index, (a, b) in enumerate(zip(marks, labels, strict=True)):
            assert np.array_equal(a, b), f"label level {index} differs at {differing(a, b)}"
        return found


def differing(first: np.ndarray, second: np.ndarray) -> list[list[int]]:
    return np.argwhere(first != second)[:5].tolist()


def journal_rules(store: Path) -> list[pyramid.DownsamplingRule]:
    """The rules the journal has found for the pyramid."""
    for path in sorted((journal_folder(store) / "entries").glob("*/entry.json")):
        record = json.loads(path.read_text())
        return [pyramid.DownsamplingRule.parse(level["rule"]) for level in record["levels"][1:]]
    return [pyramid.DownsamplingRule()] * 8
