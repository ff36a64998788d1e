"""The script that fills the tables of docs/benchmark.md."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from napari_flowinpaint import Stack
from napari_flowinpaint.core.benchmark.run_benchmark import run_benchmark
from napari_flowinpaint.core.benchmark.scores import BenchmarkScores
from napari_flowinpaint.core.benchmark.table import BenchmarkOutcome, BenchmarkRow, BenchmarkTable
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "write_docs.py"
SETTINGS = {"repeats": 1, "device": "cpu", "inception": None}

if not SCRIPT.is_file():
    pytest.skip("benchmarks are not part of the source distribution", allow_module_level=True)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("write_docs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["write_docs"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["write_docs"]


@pytest.fixture
def job(script):
    entry = script.Entry("tiny", "a tiny stack", "tiny.tif")
    return script.Job(entry, "irregular", 0.3, script.Candidate("peers", ("copy", "mean")))


def test_a_job_is_done_once(script, job, tmp_path, monkeypatch):
    stack = Stack.from_array(synthetic_stack(SampleConfig(shape=(3, 96, 96))), name="tiny")
    calls = []

    def counted(*args, **keywords):
        calls.append(1)
        return run_benchmark(*args, **keywords)

    monkeypatch.setattr(script, "run_benchmark", counted)
    file = tmp_path / f"{job.name}.json"
    assert file.name == "tiny-irregular-30-peers.json"
    for _ in range(2):
        script.measure(job, stack, file, SETTINGS, keep=False)
    assert len(calls) == 1
    table = script.collect(job.entry, [job.candidate], tmp_path, SETTINGS)
    assert [row.method for row in table.rows] == ["copy", "mean"]
    direct = run_benchmark(stack, shapes=("irregular",), fractions=(0.3,), methods=("copy", "mean"))
    assert [row.scores for row in table.rows] == [row.scores for row in direct.rows]
    other = script.Job(
        job.entry, "irregular", 0.3, script.Candidate("peers", ("copy",), weights="new")
    )
    script.measure(other, stack, file, SETTINGS, keep=True)
    assert len(calls) == 1
    script.measure(other, stack, file, SETTINGS, keep=False)
    assert len(calls) == 2


def rows(shape, fraction):
    values = {"copy": 18.0, "mean": 20.0, "flow: initial reference": 20.5}
    values |= {"flow: refined reference": 22.0, "flow: smooth": 23.5, "flow": 23.0}
    for method, structure in values.items():
        scores = [
            BenchmarkScores(structure + d, structure - 4, 0.5, 1.0, 0.6, 0.7, 2.0, 0.3)
            for d in (1, -1)
        ]
        outcomes = tuple(BenchmarkOutcome(z, 0, s, 1.0, (1.0,)) for z, s in enumerate(scores))
        yield BenchmarkRow(shape, fraction, method, outcomes)


def test_the_page_gets_tables_and_figures(script, job, tmp_path):
    table = BenchmarkTable("tiny", 1, (0, 1), tuple(rows("irregular", 0.3)))
    sample = BenchmarkTable("sample", 1, (0,), tuple(rows("irregular", 0.1)))
    page = tmp_path / "page.md"
    page.write_text(script.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    tables = {script.STACKS[0]: sample, job.entry: table}
    for _ in range(2):  # again changes nothing
        script.write_page(page, tables, {script.STACKS[-1]: Path("benchmark-x.png")}, "2 CPU cores")
        text = page.read_text(encoding="utf-8")
        assert (
            "| a tiny stack | irregular | 30% | 20.00 (mean) | 20.50 | 22.00 | 23.50 | **23.00** "
            "| +3.00 | 16.00 (mean) | 19.50 | 19.00 |  |"
        ) in text
        assert text.count("| irregular | 30% | flow | 23.00 (22.00) |") == 1
        assert text.count("(images/benchmark-x.png)") == 1
        assert text.count("sample: sections 0 damaged") == 1
        assert text.count("seconds: 2 CPU cores") == 1
    before = script.PAGE.read_text(encoding="utf-8")
    for mark in ("synthetic", "validation"):  # what lies outside the marks is nobody's to touch
        start, end = f"<!-- table: {mark} -->", f"<!-- end: {mark} -->"
        assert text.count(start) == text.count(end) == 1
        text = text.partition(start)[0] + text.partition(end)[2]
        before = before.partition(start)[0] + before.partition(end)[2]
    assert text == before


def test_a_page_without_marks_is_left_alone(script):
    with pytest.raises(SystemExit, match="no '<!-- table: validation -->'"):
        script.fill("nothing", "validation", "table")


def test_pictures_are_of_free_stacks_only(script):
    assert all("CC BY" in entry.drawn for entry in script.STACKS if entry.drawn)
    assert not any(entry.drawn for entry in script.STACKS if "sstem" in (entry.file or ""))
