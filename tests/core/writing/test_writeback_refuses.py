"""What write-back and revert refuse, and that nothing changes then."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from repaired_stores import (
    Expectation,
    journal_folder,
    journal_states,
    level_arrays,
    make_repair,
    random_pixels,
)
from scenes import SHAPE, FailingOs, Scene, files, mask_of, refused

from napari_flowinpaint.core.disk import folder
from napari_flowinpaint.core.errors import InputError, StoreError
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.writing.writeback import history, revert, write_back

pytestmark = pytest.mark.usefixtures("quick_disk")


def test_a_section_that_changed_since_it_was_read(scene: Scene) -> None:
    repair = scene.repair(1, (5, 6, 15, 18))
    array = zarr.open_group(str(scene.path), mode="r+")["s0"]
    array[1, 30, 30] ^= 1  # far from the window
    array[2, 10, 10] ^= 1  # another section
    scene.expected = Expectation(scene.path, scene.layout)
    array[1, 4, 6] ^= 1  # in the halo
    scene.expected = Expectation(scene.path, scene.layout)
    refused(scene, repair, StoreError, "changed since it was read")
    array[1, 4, 6] ^= 1
    scene.expected = Expectation(scene.path, scene.layout)
    scene.write(repair)


def test_a_repair_made_from_pixels_that_were_reverted(scene: Scene) -> None:
    scene.write(scene.repair(box=(5, 5, 10, 10)))
    beside = scene.repair(box=(5, 11, 10, 15))
    revert(scene.stack)
    scene.gone(1)
    refused(scene, beside, StoreError, "changed since it was read")


def test_repairs_that_do_not_fit(scene: Scene) -> None:
    good = scene.repair()
    nowhere = replace(good, z=4)
    refused(scene, nowhere, InputError, "sections 0 to 3")
    refused(scene, replace(good, shape=(40, 37)), InputError, "repair it again")
    refused(scene, replace(good, dtype=np.dtype("uint16")), InputError, "uint16")
    refused(scene, good.select({7}), InputError, "replaces no pixel")
    refused(scene, [], InputError, "no repair")
    patch = good.patches[0]
    refused(
        scene, replace(good, patches=(replace(patch, source_digest=None),)), InputError, "digest"
    )
    far = replace(patch.box, x1=patch.box.x1 + 1)
    refused(scene, replace(good, patches=(replace(patch, box=far),)), InputError, "does not fit")
    wide = replace(patch, result=patch.result.astype("float32"))
    refused(scene, replace(good, patches=(wide,)), InputError, "float32")
    # One that does not fit among many: none is written.
    refused(scene, [scene.repair(0), nowhere], InputError, "sections 0 to 3")


def test_nan_is_not_written(tmp_path: Path) -> None:
    scene = Scene(tmp_path, dtype="float32")
    repair = scene.repair()
    repair.patches[0].result[repair.patches[0].mask] = np.nan
    refused(scene, repair, InputError, "NaN")


def test_a_stack_that_is_not_a_local_zarr(scene: Scene) -> None:
    stack = Stack.from_array(level_arrays(scene.path)[0])
    repair = make_repair(stack, 1, mask_of(3, 3, 9, 9))
    with pytest.raises(StoreError, match="--output"):
        write_back(stack, repair)
    with pytest.raises(StoreError, match="cannot be written in place") as refusal:
        revert(stack)
    assert "--output" not in str(refusal.value)
    assert history(stack) == ()


def test_a_read_only_store(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    repair = scene.repair()
    before = files(scene.path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    stack = open_stack(scene.path)
    with pytest.raises(StoreError, match="--output"):
        write_back(stack, repair)
    with pytest.raises(StoreError, match="cannot be written in place") as refusal:
        revert(stack)
    assert "--output" not in str(refusal.value)
    assert files(scene.path) == before
    # Permission as far as anyone can see, but the file system is mounted read-only.
    monkeypatch.setattr(folder, "os", FailingOs(1, errno.EROFS, forever=True))
    refused(scene, repair, StoreError, "may not be written")
    assert files(scene.path) == before


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="paths of handles are not known")
def test_a_protected_file_in_a_folder_that_is_not(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file can be replaced where its folder may be written to, but that is not what it says."""
    repair = scene.repair()
    protected = scene.path / "s1" / "c" / "1" / "0" / "0"
    allowed = os.access

    def access(name: str, mode: int, *, dir_fd: int) -> bool:
        path = Path(f"/proc/self/fd/{dir_fd}").resolve() / name
        return path != protected and allowed(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "access", access)
    refused(scene, repair, StoreError, "may not be written to .no permission for .*s1/c/1/0/0")
    scene.expected.check(scene.path)


def test_chunks_that_are_not_lossless(tmp_path: Path) -> None:
    import numcodecs

    path = tmp_path / "lossy.zarr"
    array = zarr.create_array(
        str(path),
        shape=SHAPE,
        dtype="float32",
        chunks=(1, 20, 20),
        zarr_format=2,
        filters=[numcodecs.Quantize(digits=1, dtype="f4")],
    )
    array[...] = random_pixels(np.random.default_rng(0), SHAPE, "float32")
    stack = open_stack(path)
    before = array[...].tobytes()
    with pytest.raises(StoreError, match=r"quantize.*--output"):
        write_back(stack, make_repair(stack, 1, mask_of(3, 3, 9, 9)))
    assert array[...].tobytes() == before


def test_synthetic_pixels_that_somebody_else_changed(scene: Scene) -> None:
    scene.write(scene.repair(1), scene.repair(2, seed=2))
    array = zarr.open_group(str(scene.path), mode="r+")["s0"]
    array[1, 8, 8] ^= 1
    before = array[...]
    with pytest.raises(StoreError, match="section 1 were changed by another program"):
        revert(scene.stack)
    with pytest.raises(StoreError, match="section 1 were changed by another program"):
        write_back(scene.stack, scene.repair(1, (0, 0, 9, 9)))
    assert np.array_equal(array[...], before)
    # What they changed stays when other pixels of the same chunk are written and reverted.
    beside = np.zeros(SHAPE[1:], bool)
    beside[[0, 15], [0, 15]] = True
    (third,) = write_back(scene.stack, make_repair(scene.stack, 1, beside))
    assert array[1, 8, 8] == before[1, 8, 8]
    revert(scene.stack, repair_id=third)
    assert np.array_equal(array[...], before)
    assert revert(scene.stack, z=2) == (2,)
    assert np.array_equal(array[2], scene.expected.originals[0][2])


def test_reverts_that_make_no_sense(scene: Scene) -> None:
    assert revert(scene.stack) == ()
    assert not journal_folder(scene.path).exists()
    with pytest.raises(InputError, match="no repair 1"):
        revert(scene.stack, repair_id=1)
    scene.write(scene.repair())
    with pytest.raises(InputError, match="section 4 does not exist"):
        revert(scene.stack, z=4)
    with pytest.raises(InputError, match="no repair 2"):
        revert(scene.stack, repair_id=2)
    with pytest.raises(InputError, match="no repair 1"):
        revert(scene.stack, z=2, repair_id=1)
    revert(scene.stack)
    with pytest.raises(InputError, match="already been reverted"):
        revert(scene.stack, repair_id=1)


def test_a_truncated_chunk_is_not_written_over(scene: Scene) -> None:
    """What can still be read of it is for its owner to rescue."""
    repair = scene.repair(box=(5, 6, 15, 18))
    chunk = scene.path / "s1" / "c" / "1" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    before = files(scene.path)
    with pytest.raises(StoreError):
        write_back(scene.stack, repair)
    after = files(scene.path)
    assert {k: v for k, v in after.items() if k in before} == before
    assert journal_states(scene.path) == {}
