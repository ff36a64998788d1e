"""The examples run as they are, in any folder, and say what they did."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

if not EXAMPLES.is_dir():
    pytest.skip("the examples are not part of this installation", allow_module_level=True)


def run(name: str, folder: Path) -> str:
    """Run an example; return what it prints."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / name],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not list(folder.iterdir()), "it left something"
    return done.stdout


def test_one_section_is_repaired_written_and_reverted(tmp_path):
    printed = run("repair_section.py", tmp_path)
    assert "section 3: 4500 pixels by flow" in printed
    assert "pixels outside the mask are unchanged: True" in printed
    assert "reverted: True" in printed


def test_a_method_of_ones_own_is_used(tmp_path):
    own, flow = run("own_method.py", tmp_path).splitlines()
    assert own.strip().startswith("weighted-mean: structure PSNR")
    assert flow.strip().startswith("flow: structure PSNR")


def test_a_batch_runs_on_dask(tmp_path):
    pytest.importorskip("distributed", reason="it is in the extra cluster")
    printed = run("dask_batch.py", tmp_path)
    assert "repaired: (1, 4, 5, 7); not: []" in printed
    assert "written: [1, 4, 5, 7]" in printed


def test_damage_is_found_and_nothing_is_repaired(tmp_path):
    printed = run("detect_only.py", tmp_path)
    assert "section 22: missing" in printed
    assert "searched 24 sections" in printed
    assert "of the hole is in the mask" in printed


def test_every_example_is_tested_and_linked():
    text = Path(__file__).read_text(encoding="utf-8")
    linked = "\n".join(
        (EXAMPLES.parent / page).read_text(encoding="utf-8")
        for page in ("README.md", "docs/python-api.md")
    )
    names = [path.name for path in EXAMPLES.glob("*.py")]
    assert names
    for name in names:
        assert f'run("{name}"' in text
        assert f"examples/{name}" in linked
