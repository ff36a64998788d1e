"""Changed bytes and values in files of ours, by the hundred: told in one line, never traced.

The seeds are fixed, so that a failure can be seen again; ``FUZZ_EXAMPLES=1000`` looks further.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from attacks import Scene, snapshot, truth
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from make_stacks import write_ngff

from napari_flowinpaint.core.errors import FlowInpaintError
from napari_flowinpaint.core.networks.weights import load_network, weights_directory
from napari_flowinpaint.viewer.tasks.flag_store import FlagStore

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "8"))

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 10**18, -(10**18), 10**400, 0.5, 1e308]),
    st.sampled_from([float("nan"), float("inf"), "", "a", "..", "../../home", "/etc", "\0"]),
    st.sampled_from(["\x1b]0;owned\x07", "z" * 5000, "caf\udce9", "|O", "<f8", "pickle"]),
    st.sampled_from([[], {}, [[]], [{}], {"a": 1}, [1, 2, 3], ["a"], [None], [[[[0]]]]]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the ways to every value in a JSON document."""
    found = [path]
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(part, (*path, key))
    return found


def with_value(document: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a JSON document with another value at a place; ``...`` removes it."""
    if not path:
        return None if new is ... else new
    here = document
    for key in path[:-1]:
        here = here[key]
    if new is ...:
        del here[path[-1]]
    else:
        here[path[-1]] = new
    return document


def changed(data: st.DataObject, content: bytes) -> bytes:
    """Return the content of a file with something changed."""
    how = data.draw(st.sampled_from(["value", "value", "value", "cut", "zeros", "bytes", "more"]))
    if how == "value":
        try:
            document = json.loads(content)
        except ValueError:
            how = "bytes"
        else:
            path = data.draw(st.sampled_from(places(document)))
            new = with_value(document, path, data.draw(st.one_of(ODD, st.just(...))))
            return json.dumps(new).encode("utf-8", "surrogateescape")
    at = data.draw(st.integers(0, len(content)))
    if how == "cut":
        return content[:at]
    if how == "zeros":
        return content[:at] + bytes(len(content[at : at + 64])) + content[at + 64 :]
    new = data.draw(st.binary(min_size=1, max_size=8))
    return content[:at] + new + content[at + (len(new) if how == "bytes" else 0) :]


def change_a_file(data: st.DataObject, *roots: Path) -> None:
    """Change a file below one of these paths."""
    files = [root for root in roots if root.is_file()]
    files += [p for root in roots for p in sorted(root.rglob("*")) if p.is_file()]
    path = data.draw(st.sampled_from(files))
    path.write_bytes(changed(data, path.read_bytes()))


def fuzz(
    source: Path, tmp_path: Path, capsys: Any, attack: Callable[[st.DataObject, Scene], None]
) -> None:
    """Attack fresh copies of a scene; the files of the user's stay as they are."""
    home = snapshot(source / "home")

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # what was drawn first is small enough
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def once(data: st.DataObject) -> None:
        scene = Scene(tmp_path / "scene", capsys)
        shutil.rmtree(scene.path, ignore_errors=True)
        shutil.copytree(source, scene.path)
        attack(data, scene)
        after = snapshot(scene.home)
        assert {k: (v[0], v[2]) for k, v in after.items()} == {
            k: (v[0], v[2]) for k, v in home.items()
        }

    once()


def look(scene: Scene, stack: Path | None = None) -> None:
    """Run the commands that look at a stack."""
    stack = stack or scene.stack
    told = [scene.run("history", stack)]
    told.append(scene.repair("--plan", stack=stack))
    assert all(t.code in (0, 1, 2) for t in told), told


def works_or_is_refused(call: Callable[[], object]) -> None:
    """Fail unless something works, or is refused in one line."""
    told = ""
    try:
        call()
    except FlowInpaintError as error:
        told = str(error)
    assert "\n" not in told
    assert "allow_pickle" not in told


@pytest.mark.parametrize("part", ["0/.flowinpaint", "labels"])
def test_journal_and_marks(repaired_once, tmp_path, capsys, part):
    def attack(data, scene):
        change_a_file(data, scene.stack / part)
        look(scene)
        assert scene.run("revert", scene.stack).code in (0, 1, 2)

    fuzz(repaired_once, tmp_path, capsys, attack)


def test_staging(staged_once, tmp_path, capsys):
    def attack(data, scene):
        change_a_file(data, scene.staging)
        told = scene.repair("--staging", scene.staging, "--in-place")
        assert told.code in (0, 1, 2)

    fuzz(staged_once, tmp_path, capsys, attack)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_stores(pristine, tmp_path, capsys, version):
    source = Path(shutil.copytree(pristine, tmp_path / "source"))
    shutil.rmtree(source / "stack.zarr")
    write_ngff(source / "stack.zarr", truth(), version=version, scale=(40, 4, 4), levels=2)

    def attack(data, scene):
        metadata = [p for p in scene.stack.rglob("*") if p.name.startswith(("zarr", ".z"))]
        change_a_file(data, *sorted(metadata))
        look(scene)
        masks = scene.path / "masks.zarr"
        told = scene.run("detect", scene.stack, "--output", masks, "--sections", "1")
        assert told.code in (0, 1, 2)

    fuzz(source, tmp_path, capsys, attack)


@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_descriptions_of_tiff(pristine, tmp_path, capsys, kind):
    source = Path(shutil.copytree(pristine, tmp_path / "source"))
    stack = source / "stack.tif"
    tifffile.imwrite(stack, truth(), **{kind: True}, metadata={"axes": "ZYX", "spacing": 3})
    content = stack.read_bytes()
    start = content.index(b"<?xml" if kind == "ome" else b"ImageJ=")
    stop = content.index(b"\0", start)

    def attack(data, scene):
        text = content[start:stop]
        new = changed(data, text)[: len(text)].ljust(len(text), b" ")
        path = scene.path / "stack.tif"
        path.write_bytes(content[:start] + new + content[stop:])
        look(scene, path)

    fuzz(source, tmp_path, capsys, attack)


def test_detections(pristine, tmp_path, capsys):
    source = Path(shutil.copytree(pristine, tmp_path / "source"))
    found = Scene(source, capsys).run(
        "detect", source / "stack.zarr", "--output", source / "masks.zarr"
    )
    assert found.code == 0

    def attack(data, scene):
        change_a_file(data, scene.path / "masks.zarr")
        told = scene.repair("--plan", mask="masks.zarr")
        assert told.code in (0, 1, 2)
        folder = scene.path / "stack.zarr.flagged"
        folder.mkdir()
        (scene.path / "masks.zarr").rename(folder / "masks-0001.zarr")
        works_or_is_refused(lambda: FlagStore(folder, scene.staging).load(truth().shape))

    fuzz(source, tmp_path, capsys, attack)


def test_flagged_sections(pristine, tmp_path, capsys):
    source = Path(shutil.copytree(pristine, tmp_path / "source"))
    store = FlagStore(source / "flagged", source / "staging")
    store.save_rows([])
    store.save_tiles({2: {(0, 0): np.ones((256, 256), np.uint8)}})
    (source / "flagged" / "flagged.csv").write_text(
        "section,kind,score,area_percent,neighbours,suggested_method,decision\n"
        "2,hole,0.9,1.5,1 3,flow,\n3,hole,0.8,1.0,2 4,flow,\n"
    )

    def attack(data, scene):
        folder = scene.path / "flagged"
        change_a_file(data, folder)
        works_or_is_refused(lambda: FlagStore(folder, scene.staging).load(truth().shape))

    fuzz(source, tmp_path, capsys, attack)


def test_weights(pristine, tmp_path, capsys):
    source = Path(shutil.copytree(pristine, tmp_path / "source"))
    for suffix in (".safetensors", ".md"):
        name = f"flowinpaint-joint-small{suffix}"
        shutil.copy(weights_directory() / name, source / f"weights{suffix}")

    def attack(data, scene):
        path = scene.path / "weights.safetensors"
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        if data.draw(st.booleans()):
            (scene.path / "weights.md").unlink()  # else the digest on the card tells
        header = changed(data, content[8 : 8 + size])
        told = data.draw(st.sampled_from([len(header), size, 2**63, 0]))
        path.write_bytes(told.to_bytes(8, "little") + header + content[8 + size :])
        works_or_is_refused(lambda: load_network(path))

    fuzz(source, tmp_path, capsys, attack)
