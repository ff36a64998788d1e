"""RO-Crate metadata of a store."""

import json

import numpy as np
import pytest
from make_stacks import volume
from repaired_stores import make_repair

from napari_flowinpaint.core.crate import write_crate
from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.writing.writeback import write_back


def test_a_store_says_what_it_is_and_what_was_repaired(tmp_path):
    array = Stack.from_array(volume((3, 40, 50)), voxel_size=(40, 4, 4), name="s")
    stack = open_stack(save_ome_zarr(array, tmp_path / "s.zarr"))
    mask = np.zeros((40, 50), bool)
    mask[10:20, 10:20] = True
    write_back(stack, make_repair(stack, 1, mask))
    file = write_crate(stack, "mine")
    document = json.loads(file.read_text())
    assert document["@context"] == "https://w3id.org/ro/crate/1.1/context"
    graph = {entity["@id"]: entity for entity in document["@graph"]}
    descriptor = graph["ro-crate-metadata.json"]
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = graph[descriptor["about"]["@id"]]
    assert root["name"] == "mine"
    assert "3 sections of 40 x 50 pixels" in root["description"]
    (action,) = (graph[mention["@id"]] for mention in root["mentions"])
    assert action["@type"] == "CreateAction"
    assert "100 pixels by the method random" in action["description"]
    assert (tmp_path / "s.zarr" / action["result"]["@id"]).is_dir()
    assert graph[action["instrument"]["@id"]]["version"]

    write_crate(open_stack(tmp_path / "s.zarr"), "again")  # ours is brought up to date
    save_ome_zarr(array, tmp_path / "s.zarr", overwrite=True)  # and goes with the store
    assert not file.exists()


def test_what_somebody_has_completed_stays(tmp_path):
    array = Stack.from_array(volume((3, 40, 50)), name="s")
    stack = open_stack(save_ome_zarr(array, tmp_path / "s.zarr"))
    file = write_crate(stack, "s")
    file.write_text(file.read_text().replace('"name": "s"', '"name": "s", "license": "CC0"'))
    with pytest.raises(InputError, match="add --overwrite"):
        write_crate(stack, "s")
    with pytest.raises(InputError, match="ro-crate-metadata"):
        save_ome_zarr(array, tmp_path / "s.zarr", overwrite=True)
    write_crate(stack, "s", overwrite=True)
    with pytest.raises(InputError, match=r"not an OME-Zarr .* --mask MASK --output OUT\.zarr"):
        write_crate(array, "s")
