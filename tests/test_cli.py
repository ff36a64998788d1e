"""The command line: what it does, what it refuses, what it leaves behind when it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_flowinpaint.cli import run
from napari_flowinpaint.cli._parse import parse_names, parse_numbers, parse_sections
from napari_flowinpaint.core.damage.sample import SampleConfig, damaged_sample
from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.export import save_ome_zarr
from napari_flowinpaint.core.open import open_stack
from napari_flowinpaint.core.stack import Stack

SHAPE = (7, 96, 112)
DAMAGED = [2, 4]


def tree(folder: Path) -> dict[str, str]:
    """Return every file below a folder with the hash of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def truth():
    return damaged_sample(SampleConfig(shape=SHAPE, seed=2)).truth


@pytest.fixture(scope="module")
def masks():
    mask = np.zeros(SHAPE, np.uint8)
    mask[2, 30:50, 40:70] = 1
    mask[4, 60:80, 10:35] = 255
    return mask


@pytest.fixture
def data(tmp_path, truth, masks):
    """A folder with a damaged stack and its mask, as several formats."""
    stack = np.where(masks > 0, 255, truth).astype(np.uint8)
    save_ome_zarr(
        Stack.from_array(stack, voxel_size=(40, 4, 4), name="stack"), tmp_path / "stack.zarr"
    )
    tifffile.imwrite(tmp_path / "stack.tif", stack)
    tifffile.imwrite(tmp_path / "mask.tif", masks)
    return tmp_path


def refused(capsys, folder: Path, *arguments: object, code: int = 2) -> str:
    """Run a command that must fail; return its one line. Nothing may be written by it."""
    before = tree(folder)
    capsys.readouterr()
    assert run([str(a) for a in arguments]) == code
    error = capsys.readouterr().err
    assert error.startswith("flowinpaint: ")
    assert error.count("\n") == 1, f"more than one line: {error}"
    assert "Traceback" not in error
    assert tree(folder) == before, "something was written"
    return error


def repair_arguments(data: Path, *more: object, stack="stack.zarr", mask="mask.tif") -> list:
    where = [] if "--output" in more or "--in-place" in more else ["--in-place"]
    return ["repair", data / stack, "--mask", data / mask, *where, *more]


# ---- what it does


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
    assert "1 of 2 sections were not repaired: 2" in output.err
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


def test_benchmark(data, truth, capsys):
    tifffile.imwrite(data / "intact.tif", truth)
    table = data / "table.md"
    command = ["benchmark", str(data / "intact.tif"), "--fractions", "0.1", "--output", str(table)]
    assert run([*command, "--methods", "mean,flow", "--shapes", "irregular"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    for text in (output.out, table.read_text()):
        assert "mean" in text
        assert "flow" in text
        assert "10%" in text
    assert table.read_text().count("|") > 20


def test_benchmark_draws_a_figure(data, truth, capsys):
    tifffile.imwrite(data / "intact.tif", truth)
    figure = data / "stages.png"
    command = ["benchmark", str(data / "intact.tif"), "--fractions", "0.1", "--sections", "0-2"]
    assert (
        run([*command, "--methods", "flow", "--shapes", "irregular", "--figure", str(figure)]) == 0
    )
    assert str(figure) in capsys.readouterr().out
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_ablations_become_rows(data, truth, capsys):
    from napari_flowinpaint.core.networks.inpainting import (
        InpaintingConfig,
        PaperConfig,
        PaperNetwork,
    )
    from napari_flowinpaint.core.networks.refined_reference import RefinedReferenceConfig
    from napari_flowinpaint.core.networks.weights import save_network

    tifffile.imwrite(data / "intact.tif", truth)
    refined = RefinedReferenceConfig((8, 8, 8), 2, (12,), (8,))
    network = PaperNetwork(PaperConfig(refined, InpaintingConfig((8, 8), finest_attention=2)))
    save_network(data / "ablated.safetensors", network)
    command = ["benchmark", str(data / "intact.tif"), "--fractions", "0.1", "--sections", "0-2"]
    ablation = ("--ablation", f"no references={data / 'ablated.safetensors'}")
    assert run([*command, "--methods", "mean", "--shapes", "irregular", *ablation]) == 0
    assert "no references: refined reference" in capsys.readouterr().out


# ---- what it refuses


def test_missing_paths(data, capsys):
    for stack, mask in (("no.zarr", "mask.tif"), ("stack.zarr", "no.tif"), ("no.tif", "mask.tif")):
        error = refused(capsys, data, *repair_arguments(data, stack=stack, mask=mask))
        assert "does not exist" in error
    for command in ("history", "revert", "benchmark"):
        assert "does not exist" in refused(capsys, data, command, data / "no.zarr")


def test_not_a_stack(data, capsys, truth):
    tifffile.imwrite(data / "flat.tif", truth[0])
    colour = np.repeat(truth[0][..., None], 3, axis=2)
    tifffile.imwrite(data / "colour.tif", colour, photometric="rgb")
    zarr.create_array(str(data / "flat.zarr"), data=truth[0])
    (data / "text.tif").write_text("no image")
    zarr.create_array(str(data / "double.zarr"), data=truth.astype(np.float64))
    expected = {
        "flat.tif": "single image",
        "flat.zarr": "single image",
        "colour.tif": "colour",
        "text.tif": "not a TIFF",
        "double.zarr": "float64",
    }
    for name, words in expected.items():
        assert words in refused(capsys, data, *repair_arguments(data, stack=name)), name


def test_mask_of_another_shape(data, capsys, masks):
    tifffile.imwrite(data / "small.tif", masks[:, :90])
    tifffile.imwrite(data / "thin.tif", masks[:5])
    tifffile.imwrite(data / "one.tif", masks[4][:90])
    tifffile.imwrite(data / "fit.tif", masks[4])
    for mask, more in (("small.tif", ()), ("thin.tif", ()), ("one.tif", ("--sections", 4))):
        assert "shape" in refused(capsys, data, *repair_arguments(data, *more, mask=mask))
    for more in ((), ("--sections", "2,4")):
        error = refused(capsys, data, *repair_arguments(data, *more, mask="fit.tif"))
        assert "single section" in error


def test_empty_mask(data, capsys):
    tifffile.imwrite(data / "empty.tif", np.zeros(SHAPE, np.uint8))
    assert "empty" in refused(capsys, data, *repair_arguments(data, mask="empty.tif"))
    error = refused(capsys, data, *repair_arguments(data, "--sections", "2,3"))
    assert "section 3 is empty" in error


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan(data, capsys, truth, value):
    grey = truth.astype(np.float32)
    grey[4, 55, 20] = value  # beside the damage; section 2 is fine, and yet nothing is written
    zarr.create_array(str(data / "float.zarr"), data=grey)
    tifffile.imwrite(data / "float.tif", grey)
    assert "NaN" in refused(capsys, data, *repair_arguments(data, stack="float.zarr"))
    output = ("--output", data / "out.zarr")
    assert "NaN" in refused(capsys, data, *repair_arguments(data, *output, stack="float.tif"))


def test_truncated_chunk(data, capsys):
    chunk = next(p for p in sorted((data / "stack.zarr").rglob("c/4/*/*")) if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:40])
    error = refused(capsys, data, *repair_arguments(data))
    assert "section 4" in error
    output = ("--output", data / "out.zarr", "--sections", 2)
    assert "section 4" in refused(capsys, data, *repair_arguments(data, *output))


def test_read_only_store(data, capsys, monkeypatch):
    real = os.access
    store = str(data / "stack.zarr")

    def access(path, mode, **kwargs):
        if str(path).startswith(store) and mode & os.W_OK:
            return False  # root may write anywhere: the permission bits alone would not do
        return real(path, mode, **kwargs)

    monkeypatch.setattr(os, "access", access)
    assert "--output" in refused(capsys, data, *repair_arguments(data))


def test_formats_that_cannot_be_written_in_place(data, capsys):
    error = refused(capsys, data, *repair_arguments(data, stack="stack.tif"))
    assert "--output" in error


@pytest.mark.parametrize(
    "sections", ["7", "2,9", "-1", "4-2", "a", "2;4", "", "2-", "99999999999999999999"]
)
def test_wrong_sections(data, capsys, sections):
    refused(capsys, data, *repair_arguments(data, "--sections", sections))


def test_wrong_options(data, capsys):
    cases = {
        ("--method", "magic"): "unknown method",
        ("--device", "gpu"): "not a device",
        ("--device", "cuda:99"): "no device",
        ("--max-gap", "0"): "--max-gap",
        ("--voxel-size", "4,4"): "voxel size",
        ("--voxel-size", "a,b,c"): "not a list of numbers",
        ("--channel", "3"): "channel",
        ("--report", data / "no" / "report.json"): "does not exist",
        ("--report", data): "is a folder",
        ("--colour", "red"): "--colour",
    }
    for more, words in cases.items():
        assert words in refused(capsys, data, *repair_arguments(data, *more)), more


def test_benchmark_refuses(data, capsys):
    from napari_flowinpaint.core.networks.released import released

    cases = {
        ("--methods", "magic"): "magic",
        ("--fractions", "1.5"): "share",
        ("--fractions", "x"): "--fractions",
        ("--shapes", "round"): "round",
        ("--sections", "2,50"): "section 50",
        ("--sections", "2"): "neighbour",
        ("--spacing", "6"): "neighbour",
        ("--device", "gpu"): "not a device",
        ("--output", data / "no" / "table.md"): "does not exist",
        ("--figure", data / "no" / "figure.png"): "does not exist",
        ("--figure", data / "figure.svg"): ".png",
        ("--figure", data / "figure.png", "--methods", "mean"): "peers only",
        ("--ablation", "weights.safetensors"): "LABEL=WEIGHTS",
        ("--ablation", "mine=none.safetensors"): "none.safetensors cannot be read",
        ("--ablation", f"mine={released()}"): "'joint'",
        ("--inception", data / "none.pth"): "cannot be read",
    }
    for more, words in cases.items():
        assert words in refused(capsys, data, "benchmark", data / "stack.tif", *more), more


def test_where_to_write(data, capsys):
    base = ["repair", data / "stack.zarr", "--mask", data / "mask.tif"]
    assert "--in-place" in refused(capsys, data, *base)
    out = data / "out.zarr"
    assert "--in-place" in refused(capsys, data, *base, "--output", out, "--in-place")
    assert "folder" in refused(capsys, data, *base, "--output", data / "no" / "out.zarr")
    assert "stack itself" in refused(capsys, data, *base, "--output", data / "stack.zarr")
    inside = data / "stack.zarr" / "out.zarr"
    assert "stack itself" in refused(capsys, data, *base, "--output", inside)


def test_existing_output(data, capsys):
    output = data / "out.zarr"
    assert run([str(a) for a in repair_arguments(data, "--output", output)]) == 0
    assert "exists" in refused(capsys, data, *repair_arguments(data, "--output", output))
    assert run([str(a) for a in repair_arguments(data, "--output", output, "--overwrite")]) == 0
    (data / "photos").mkdir()
    (data / "photos" / "a.txt").write_text("mine")
    again = ("--output", data / "photos", "--overwrite")
    assert "not a zarr" in refused(capsys, data, *repair_arguments(data, *again))


def test_two_writers(data, capsys):
    """While another process holds the stack, nothing is written and the reason is said."""
    assert run([str(a) for a in repair_arguments(data, "--sections", 2)]) == 0
    script = (
        "import sys, time\n"
        "from napari_flowinpaint.core.open import open_stack\n"
        "from napari_flowinpaint.core.writeback import revert\n"
        "stack = open_stack(sys.argv[1])\n"
        "def hold(fraction, message):\n"
        "    print('holding', flush=True)\n"
        "    time.sleep(60)\n"
        "revert(stack, progress=hold)\n"
    )
    command = [sys.executable, "-c", script, str(data / "stack.zarr")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "holding\n"
        try:
            error = refused(capsys, data, *repair_arguments(data, "--sections", 4))
        finally:
            other.kill()
    assert "another" in error or "lock" in error
    assert run([str(a) for a in repair_arguments(data, "--sections", 4)]) == 0


@pytest.mark.parametrize("where", ["--in-place", "--output"])
def test_full_disk(data, where):
    """A limit on the size of files fails writes as a full disk does, at whatever point."""
    resource = pytest.importorskip("resource")
    before = tree(data)
    to = ("--in-place",) if where == "--in-place" else ("--output", data / "out.zarr")
    process = flowinpaint(
        *repair_arguments(data, *to),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)),
    )
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2, error
    assert error.startswith("flowinpaint: ")
    assert error.count("\n") == 1
    assert "space" in error or "full" in error
    left = tree(data)
    assert {k: v for k, v in left.items() if k in before} == before
    # the journal's folder and an empty label image may have been made, but no pixel
    assert not [k for k in left if k not in before and ".flowinpaint" not in k and "/c/" in k]
    assert not (data / "out.zarr").exists()
    assert run(["history", str(data / "stack.zarr")]) == 0


def test_revert_and_history_refuse(data, capsys):
    assert "no repair to undo" in refused(
        capsys, data, "revert", data / "stack.zarr", "--sections", 2
    )
    assert "does not exist" in refused(capsys, data, "revert", data / "stack.zarr", "--sections", 9)


def test_unknown_command_and_bare_call(capsys, tmp_path):
    assert "repair" in refused(capsys, tmp_path, "repare")
    assert run([]) == 0
    assert "Examples:" in capsys.readouterr().out


# ---- as a program


def flowinpaint(*arguments: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-c", "from napari_flowinpaint.cli import main; main()"]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*command, *map(str, arguments)], stdout=pipe, stderr=pipe, text=True, **options
    )


def test_error_of_the_program_is_one_line(data):
    process = flowinpaint(*repair_arguments(data, stack="no.zarr"))
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("section", "number"),
    [(DAMAGED[0], signal.SIGINT), (DAMAGED[1], signal.SIGINT), (DAMAGED[1], signal.SIGTERM)],
)
def test_interrupt_is_one_line(data, section, number):
    """Ctrl-C in the first section leaves all as it was, in the second it says what was written."""
    before = tree(data)
    slow = (
        "import time\n"
        "from napari_flowinpaint.core import repair\n"
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
    command = [sys.executable, "-c", slow, *map(str, repair_arguments(data, "--workers", 1))]
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
        assert error == "flowinpaint: interrupted. Written before that: section 2.\n"


def test_progress_is_drawn_on_a_terminal(data):
    pty = pytest.importorskip("pty")
    try:
        master, slave = pty.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminals here: {error}")
    command = [sys.executable, "-c", "from napari_flowinpaint.cli import main; main()"]
    process = subprocess.Popen(
        [*command, *map(str, repair_arguments(data))],
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


def test_help_is_fast_and_complete():
    help_texts = {}
    seconds = []
    for command in ("", "repair", "revert", "history", "benchmark", "demo"):
        before = os.times()
        process = flowinpaint(*command.split(), "--help")
        help_texts[command], error = process.communicate(timeout=60)
        after = os.times()
        # computed, not waited for the processor: tests run beside it
        seconds.append(after.children_user - before.children_user)
        assert (process.returncode, error) == (0, "")
        assert "Example" in help_texts[command]
    for name in ("repair", "revert", "history", "benchmark", "demo"):
        assert name in help_texts[""]
    assert "Exit codes" in help_texts["repair"]
    assert min(seconds) < 0.6, "torch alone would take longer"


# ---- lists


def test_parse_sections():
    assert parse_sections("3,7-9") == (3, 7, 8, 9)
    assert parse_sections(" 9 , 7-9,3 ", 10) == (3, 7, 8, 9)
    with pytest.raises(InputError, match="sections 0 to 8"):
        parse_sections("9", 9)


def test_parse_numbers_and_names():
    assert parse_numbers("0.1,0.3", "--fractions") == (0.1, 0.3)
    with pytest.raises(InputError, match="--fractions"):
        parse_numbers("0.1;0.3", "--fractions")
    assert parse_names("flow, mean,") == ("flow", "mean")
    with pytest.raises(InputError, match="names nothing"):
        parse_names(" ,")
