"""``flowinpaint repair``: what it does, alone and with the commands that look at it or undo it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile
import zarr
from command_line import DAMAGED, FAST, SHAPE, refused, repair_arguments, tree

from napari_flowinpaint.cli import run
from napari_flowinpaint.core.open import open_stack


def test_repair_in_place_history_revert(data, masks, capsys):
    before = open_stack(data / "stack.zarr")
    original = np.stack([before.read(z) for z in range(SHAPE[0])])
    report = data / "report.json"
    assert run([str(a) for a in repair_arguments(data, "--report", report)]) == 0
    output = capsys.readouterr()
    assert output.err == "", "a pipe gets no progress bar"
    assert "section 2: repaired 600 pixels in 1 window" in output.out

    after = open_stack(data / "stack.zarr")
    for z in range(SHAPE[0]):
        intact = masks[z] == 0
        assert np.array_equal(after.read(z)[intact], original[z][intact])
    for z in DAMAGED:
        assert (after.read(z)[masks[z] > 0] != 255).mean() > 0.9

    content = json.loads(report.read_text())
    assert content["requested"] == DAMAGED
    assert (content["repaired"], content["refused"], content["failed"]) == (2, 0, 0)
    first = content["sections"][0]
    assert (first["section"], first["status"]) == (2, "repaired")
    window = first["windows"][0]
    assert (window["previous"], window["following"]) == (1, 3)
    assert (window["pixels"], window["alpha"]) == (600, 0.5)
    assert window["scores"]
    assert window["seconds"] > 0
    assert first["provenance"]["mask_pixels"] == 600

    assert run(["history", str(data / "stack.zarr")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert [line.split()[1] for line in lines[1:]] == ["2", "4"]

    assert run(["revert", str(data / "stack.zarr"), "--sections", "4"]) == 0
    assert np.array_equal(open_stack(data / "stack.zarr").read(4), original[4])
    assert not np.array_equal(open_stack(data / "stack.zarr").read(2), original[2])
    assert run(["revert", str(data / "stack.zarr")]) == 0
    assert np.array_equal(open_stack(data / "stack.zarr").read(2), original[2])
    capsys.readouterr()
    assert run(["revert", str(data / "stack.zarr")]) == 0
    assert "no repair to undo" in capsys.readouterr().out


def test_repair_to_output(data, masks, capsys):
    source = tree(data / "stack.zarr")
    output = data / "out.zarr"
    assert run([str(a) for a in repair_arguments(data, "--output", output, "--sections", "4")]) == 0
    assert f"written: {output}" in capsys.readouterr().out
    assert tree(data / "stack.zarr") == source
    original, result = open_stack(data / "stack.zarr"), open_stack(output)
    assert (result.shape, result.dtype) == (SHAPE, np.dtype(np.uint8))
    assert result.voxel_size == (40, 4, 4)
    for z in range(SHAPE[0]):
        same = (masks[z] == 0) | (z != 4)
        assert np.array_equal(result.read(z)[same], original.read(z)[same])
    assert not np.array_equal(result.read(4), original.read(4))
    assert not list(data.glob("*.staging"))


def test_repair_of_a_tiff_to_output_agrees_with_in_place(data):
    output = data / "out.zarr"
    arguments = repair_arguments(data, "--output", output, stack="stack.tif")
    assert run([str(a) for a in arguments]) == 0
    assert run([str(a) for a in repair_arguments(data)]) == 0
    for z in range(SHAPE[0]):
        assert np.array_equal(open_stack(output).read(z), open_stack(data / "stack.zarr").read(z))


def test_mask_of_one_section(data, masks):
    from PIL import Image

    Image.fromarray(masks[4]).save(data / "one.png")
    tifffile.imwrite(data / "one.tif", masks[4])
    zarr.create_array(str(data / "one.zarr"), data=masks[4] > 0)
    for name in ("one.png", "one.tif", "one.zarr"):
        output = data / f"{name}.out.zarr"
        arguments = repair_arguments(data, "--sections", 4, "--output", output, mask=name)
        assert run([str(a) for a in arguments]) == 0, name
        changed = open_stack(output).read(4) != open_stack(data / "stack.zarr").read(4)
        assert changed.any()
        assert not changed[masks[4] == 0].any()


def test_damaged_neighbours_do_not_guide(data, masks):
    """The mask tells of section 3 too, though only section 4 is asked for."""
    both = masks.copy()
    both[3] = both[4]
    tifffile.imwrite(data / "both.tif", both)
    report = data / "report.json"
    arguments = repair_arguments(data, "--sections", 4, "--report", report, mask="both.tif")
    assert run([str(a) for a in arguments]) == 0
    (section,) = json.loads(report.read_text())["sections"]
    assert section["windows"][0]["previous"] == 2


def test_a_refused_section_does_not_stop_the_others(data, capsys):
    """Section 2 has no neighbour within one section; 5 has."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, 20:40, 20:40] = 1
    mask[5, 20:40, 20:40] = 1
    tifffile.imwrite(data / "wide.tif", mask)
    report = data / "report.json"
    arguments = repair_arguments(
        data, "--sections", "2,5", "--max-gap", 1, "--report", report, mask="wide.tif"
    )
    original = open_stack(data / "stack.zarr").read(2)
    assert run([str(a) for a in arguments]) == 1
    output = capsys.readouterr()
    assert "1 of 2 sections not repaired: 2" in output.err
    assert output.err.count("\n") == 1
    assert "section 2: refused" in output.out
    content = json.loads(report.read_text())
    assert [s["status"] for s in content["sections"]] == ["refused", "repaired"]
    assert "neighbour" in content["sections"][0]["message"]
    assert np.array_equal(open_stack(data / "stack.zarr").read(2), original)


def test_nothing_is_written_where_every_section_is_refused(data, capsys):
    mask = np.zeros(SHAPE, np.uint8)
    mask[1:4, 20:40, 20:40] = 1
    tifffile.imwrite(data / "wide.tif", mask)
    common = ("--sections", 2, "--max-gap", 1)
    output = ("--output", data / "out.zarr")
    assert "neighbour" in refused(
        capsys, data, *repair_arguments(data, *common, *output, mask="wide.tif"), code=1
    )
    assert "neighbour" in refused(
        capsys, data, *repair_arguments(data, *common, mask="wide.tif"), code=1
    )


@pytest.mark.parametrize(
    ("section", "number"),
    [(DAMAGED[0], signal.SIGINT), (DAMAGED[1], signal.SIGINT), (DAMAGED[1], signal.SIGTERM)],
)
def test_interrupt_is_one_line(data, section, number):
    """Ctrl-C in the first section leaves all as it was, in the second it says what was written."""
    before = tree(data)
    slow = (
        "import time\n"
        "from napari_flowinpaint.core.repair import repair_section as repair\n"
        "real = repair.repair_section\n"
        "def wait(stack, z, *a, **k):\n"
        f"    if z < {section}:\n"
        "        return real(stack, z, *a, **k)\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(60)\n"
        "repair.repair_section = wait\n"
        "from napari_flowinpaint.cli import main\n"
        "main()\n"
    )
    arguments = repair_arguments(data, *FAST, "--workers", 1)
    command = [sys.executable, "-c", slow, *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        while process.stdout.readline() != "waiting\n":
            assert process.poll() is None, process.stderr.read()
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 130, error
    if section == DAMAGED[0]:
        assert error == "flowinpaint: interrupted.\n"
        assert tree(data) == before
    else:
        # section 2 is repaired; whether it was written by then is a matter of time
        written = "flowinpaint: interrupted. Written before that: section 2.\n"
        kept = (
            f"Repaired and kept in {data}/stack.zarr.staging: section 2; run the same command again"
        )
        assert error == written or kept in error


def test_progress_is_drawn_on_a_terminal(data):
    pty = pytest.importorskip("pty")
    try:
        master, slave = pty.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminals here: {error}")
    command = [sys.executable, "-c", "from napari_flowinpaint.cli import main; main()"]
    process = subprocess.Popen(
        [*command, *map(str, repair_arguments(data, *FAST))],
        stdout=subprocess.PIPE,
        stderr=slave,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(slave)
    drawn = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # the other end has gone
            break
        if not part:
            break
        drawn += part
    out, _ = process.communicate(timeout=60)
    os.close(master)
    assert process.returncode == 0
    assert b"%" in drawn
    assert b"section 4: repaired" in out, "results go to the pipe, not to the terminal"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_was_not_imaged(data, truth, value):
    """Beside the damage it is no reason to refuse, and stays as it is."""
    grey = truth.astype(np.float32)
    grey[4, 55, 20] = value
    zarr.create_array(str(data / "float.zarr"), data=grey)
    arguments = repair_arguments(data, *FAST, "--sections", "4", stack="float.zarr")
    assert run([str(a) for a in arguments]) == 0
    written = open_stack(data / "float.zarr").read(4)
    inside = tifffile.imread(data / "mask.tif")[4] > 0
    np.testing.assert_array_equal(written[~inside], grey[4][~inside])
    assert np.isfinite(written[inside]).all()
    assert (written[inside] != grey[4][inside]).mean() > 0.9
