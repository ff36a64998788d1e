"""A store takes the place of another: whatever happens on the way, one of them is there."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_flowinpaint.core.disk.open_root import open_root
from napari_flowinpaint.core.errors import InputError, StoreError
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.replace import check_replaceable, making, settle
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack

OLD, NEW = np.zeros((2, 8, 9), np.uint8), np.full((2, 8, 9), 7, np.uint8)
#: Saves a stack over another one, and kills itself around the n-th rename of the store.
KILLED = """
import os, signal, sys
import numpy as np
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.io.stack import Stack
target, when, after = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "after"
real, calls = os.replace, []
def replace(source, goal, **how):
    counted = os.path.basename(target) in (source, goal)
    calls.extend([source] * counted)
    if counted and len(calls) == when and not after:
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, goal, **how)
    if counted and len(calls) == when:
        os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace
save_ome_zarr(Stack.from_array(np.full((2, 8, 9), 7, np.uint8)), target, overwrite=True)
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return save_ome_zarr(Stack.from_array(OLD), tmp_path / "out.zarr")


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.parametrize(("when", "after"), [(1, False), (1, True), (2, False), (2, True)])
def test_a_kill_while_a_store_is_replaced(target, when, after):
    told = ["after" if after else "before"]
    command = [sys.executable, "-c", KILLED, str(target), str(when), *told]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    missing = not target.exists()
    assert missing == ((when, after) in ((1, True), (2, False)))
    stack = open_stack(target)
    assert any("is now finished" in message for message in stack.messages) == missing
    assert stack.read(0)[0, 0] == (0 if (when, after) == (1, False) else 7)
    save_ome_zarr(Stack.from_array(NEW), target, overwrite=True)
    assert hidden(target.parent) == []


def test_what_was_there_comes_back_where_the_new_store_is_gone(target):
    with making(target) as work, open_root(target.parent) as parent:
        parent.rename(target.name, work, "old")
        copy = Path(shutil.copytree(work.path, target.parent / "copy"))
    # left by the process as it was: the folder of a process that lives is removed by itself
    assert not target.exists()
    assert hidden(target.parent), "the only copy is not removed"
    (told,) = settle(target)
    assert "the old store is back" in told
    assert open_stack(target).read(0)[0, 0] == 0
    assert hidden(target.parent) == []
    assert copy.is_dir()


def test_folders_of_the_users_are_left_alone(target):
    """They have names like ours, but no mark; or are copies."""
    mine = target.with_name(f".{target.name}.0123abcd.partial")
    (mine / "old").mkdir(parents=True)
    (mine / "old" / "thesis.tex").write_text("years of work")
    save_ome_zarr(Stack.from_array(NEW), target, overwrite=True)
    shutil.rmtree(target)
    assert settle(target, tidy=True) == ()
    assert (mine / "old" / "thesis.tex").read_text() == "years of work"


def test_a_store_that_is_being_made_is_left_alone(target):
    with making(target) as work:
        work.folder("store", create=True).close()
        assert settle(target, tidy=True) == ()
        assert work.is_folder("store")
    assert hidden(target.parent) == []


STRANGERS = ("notes.txt", "0/notes.txt", "0/c/0/notes.txt", "figures/a.png", "labels/mine/x.tif")


@pytest.mark.parametrize("name", STRANGERS)
def test_more_than_a_store_is_not_replaced(target, name):
    (target / name).parent.mkdir(parents=True, exist_ok=True)
    (target / name).write_text("mine")
    with pytest.raises(InputError, match="in it is not part of the store"):
        check_replaceable(target)


@pytest.mark.parametrize("version", [2, 3])
def test_stores_of_others_can_be_replaced(tmp_path, version):
    group = zarr.create_group(str(tmp_path / "a.zarr"), zarr_format=version)
    group.create_array("0", data=np.ones((3, 9, 9)), chunks=(1, 4, 4))
    images = {"multiscales": [{"datasets": [{"path": "0"}]}]}
    group.attrs.update(images if version == 2 else {"ome": images})
    (tmp_path / "a.zarr" / ".DS_Store").write_bytes(b"x")
    check_replaceable(tmp_path / "a.zarr")
    array = zarr.create_array(str(tmp_path / "b.zarr"), data=np.ones((3, 9)), zarr_format=version)
    assert array.shape == (3, 9)
    check_replaceable(tmp_path / "b.zarr")
    (tmp_path / "b.zarr" / "c.9").symlink_to(tmp_path / "a.zarr" / "zarr.json")
    with pytest.raises(StoreError, match="is a link"):
        check_replaceable(tmp_path / "b.zarr")


def test_an_image_with_labels_of_the_users_is_not_replaced(tmp_path):
    image = tmp_path / "image.zarr"
    save_ome_zarr(Stack.from_array(np.zeros((2, 8, 8), "u1")), image)
    check_replaceable(image)
    zarr.create_array(
        str(image / "labels" / "cells"), shape=(2, 8, 8), chunks=(1, 8, 8), dtype="u4"
    )
    with pytest.raises(InputError, match="labels/cells in it is not part of the store"):
        check_replaceable(image)


def test_a_group_that_is_no_image_is_not_replaced(tmp_path):
    group = zarr.create_group(str(tmp_path / "group.zarr"))
    group.create_array("a", shape=(2, 8, 8), chunks=(1, 8, 8), dtype="u1")
    with pytest.raises(InputError, match="a in it is not part of the store"):
        check_replaceable(tmp_path / "group.zarr")
