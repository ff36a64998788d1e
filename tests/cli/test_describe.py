"""``describe`` and ``originals``."""

import json

import numpy as np
from command_line import refused

from napari_flowinpaint.cli import run
from napari_flowinpaint.core.open import open_stack


def test_describe_and_originals(data, capsys):
    stack = data / "stack.zarr"
    before = np.asarray(open_stack(stack).array)
    mask = data / "mask.tif"
    assert run(["repair", str(stack), "--mask", str(mask), "--in-place", "--method", "flow"]) == 0
    capsys.readouterr()
    assert run(["describe", str(stack)]) == 0
    assert "2 (28.6%) were damaged and repaired" in capsys.readouterr().out
    text, figure = data / "repairs.tex", data / "repairs.pdf"
    assert run(["describe", str(stack), "--output", str(text), "--figure", str(figure)]) == 0
    assert text.read_text().startswith("\\subsection*")
    assert figure.read_bytes().startswith(b"%PDF")
    assert "exists" in refused(capsys, data, "describe", stack, "--output", text)
    assert "must end in .png or .pdf" in refused(
        capsys, data, "describe", stack, "--figure", "a.gif"
    )
    for option, name in (("--output", "a.md"), ("--figure", "a.png")):
        (data / name).mkdir()
        for overwrite in ([], ["--overwrite"]):
            told = refused(capsys, data, "describe", stack, option, data / name, *overwrite)
            assert f"{name} is a folder; name a file" in told
    crate = stack / "ro-crate-metadata.json"
    crate.mkdir()
    assert "is a folder; move it away" in refused(
        capsys, data, "describe", stack, "--ro-crate", "--overwrite"
    )
    crate.rmdir()
    assert run(["describe", str(stack), "--ro-crate"]) == 0
    assert crate.is_file()
    out = data / "out.zarr"
    command = ["repair", str(stack), "--mask", str(mask), "--method", "flow", "--ro-crate"]
    assert "--ro-crate describes a copy" in refused(capsys, data, *command, "--in-place")
    assert run([*command, "--output", str(out)]) == 0
    told = json.loads((out / "ro-crate-metadata.json").read_text())
    assert sum(entity["@type"] == "CreateAction" for entity in told["@graph"]) == 4
    assert f"written: {out / 'ro-crate-metadata.json'}" in capsys.readouterr().out
    assert run([*command, "--output", str(out), "--overwrite"]) == 0  # it goes with the store
    assert run(["originals", str(stack), "--output", str(data / "raw.zarr")]) == 0
    assert np.array_equal(np.asarray(open_stack(data / "raw.zarr").array), before)
