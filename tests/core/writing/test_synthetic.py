"""The label image of synthetic pixels, as other readers find it."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from repaired_stores import (
    Layout,
    level_arrays,
)
from scenes import Scene

from napari_flowinpaint.core.errors import StoreError
from napari_flowinpaint.core.writing.writeback import write_back

pytestmark = pytest.mark.usefixtures("quick_disk")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_label_image_is_valid_ngff(tmp_path: Path, zarr_format: int) -> None:
    from yaozarrs import validate_ome_uri

    scene = Scene(tmp_path, Layout(zarr_format, (1, 20, 20)))
    group = zarr.open_group(str(scene.path), mode="r+")
    group.create_group("labels/nuclei")
    listed = {"labels": ["nuclei"]}
    group["labels"].attrs.update(
        listed if zarr_format == 2 else {"ome": {"version": "0.5", **listed}}
    )
    scene.write(scene.repair())
    attributes = dict(group["labels"].attrs)
    assert attributes.get("ome", attributes)["labels"] == ["nuclei", "synthetic"]
    validate_ome_uri(str(scene.path / "labels" / "synthetic"))
    label = zarr.open_group(str(scene.path / "labels" / "synthetic"), mode="r")
    found = dict(label.attrs)
    found = found.get("ome", found)
    assert found["image-label"]["source"] == {"image": "../../"}
    source = dict(group.attrs)
    source = source.get("ome", source)["multiscales"][0]
    described = found["multiscales"][0]
    assert described["axes"] == source["axes"]
    for own, images in zip(described["datasets"], source["datasets"], strict=True):
        assert own["coordinateTransformations"] == images["coordinateTransformations"]
    stored = [p for p in (scene.path / "labels" / "synthetic" / "0").rglob("*") if p.is_file()]
    assert len([p for p in stored if p.suffix != ".json" and not p.name.startswith(".")]) == 1


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_consolidated_metadata_show_the_label_image(tmp_path: Path, zarr_format: int) -> None:
    scene = Scene(tmp_path, Layout(zarr_format, (1, 20, 20)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(scene.path))
    scene.write(scene.repair())
    group = zarr.open_group(str(scene.path), mode="r")
    assert group.metadata.consolidated_metadata is not None
    assert (group["labels/synthetic/0"][1] == 1).sum() == 120


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_consolidated_labels_show_the_label_image(tmp_path: Path, zarr_format: Any) -> None:
    """A list that names a label which cannot be opened would stop other readers."""
    scene = Scene(tmp_path, Layout(zarr_format, (1, 20, 20)))
    labels = scene.path / "labels"
    group = zarr.open_group(str(labels), mode="w", zarr_format=zarr_format)
    ome = {"version": "0.5", "labels": ["mine"]}
    group.attrs.update({"labels": ["mine"]} if zarr_format == 2 else {"ome": ome})
    group.create_array("mine/0", shape=(2, 2), dtype="uint8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(str(labels))
    scene.write(scene.repair())
    group = zarr.open_group(str(labels), mode="r", use_consolidated=True)
    attributes: Any = dict(group.attrs)
    assert attributes.get("ome", attributes)["labels"] == ["mine", "synthetic"]
    assert {"mine/0", "synthetic/0"} <= {name for name, _ in group.members(max_depth=None)}


def test_readers_that_list_the_store_are_not_disturbed(scene: Scene) -> None:
    scene.write(scene.repair())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(str(scene.path), mode="r")
        names = {name for name, _ in group.members(max_depth=None)}
    assert names == {"s0", "s1", "s2", "labels", "labels/synthetic"} | {
        f"labels/synthetic/{n}" for n in range(3)
    }


def test_marks_come_back_where_they_were_removed(scene: Scene) -> None:
    scene.write(scene.repair(1), scene.repair(2, seed=2))
    shutil.rmtree(scene.path / "labels")
    scene.write(scene.repair(3, seed=3))  # which checks all of them


def test_labels_of_somebody_else(scene: Scene) -> None:
    group = zarr.open_group(str(scene.path), mode="r+")
    group.create_group("labels/synthetic").create_array("0", shape=(3, 3), dtype="uint8")
    with pytest.raises(StoreError, match=r"labels.synthetic"):
        write_back(scene.stack, scene.repair())
    assert np.array_equal(level_arrays(scene.path)[0], scene.expected.originals[0])
