"""Metrics, peers and the benchmark table."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from textures import texture

from napari_flowinpaint.core.benchmark.cases import damaged_sections
from napari_flowinpaint.core.benchmark.figure import draw_figure, figure_method
from napari_flowinpaint.core.benchmark.peers import LEARNED_PEERS, PEERS
from napari_flowinpaint.core.benchmark.run_benchmark import (
    FOR_FOLDS,
    FOR_GAPS,
    check_request,
    run_benchmark,
)
from napari_flowinpaint.core.benchmark.scores import (
    METRICS,
    BenchmarkScores,
    Scorer,
    worst_scores,
)
from napari_flowinpaint.core.benchmark.table import BenchmarkOutcome, BenchmarkRow, BenchmarkTable
from napari_flowinpaint.core.benchmark.texture_scores import TextureScores
from napari_flowinpaint.core.errors import InputError, RepairRefused
from napari_flowinpaint.core.io.stack import Stack
from napari_flowinpaint.core.methods.flow import FlowMethod
from napari_flowinpaint.core.metrics import data_range, psnr, score
from napari_flowinpaint.core.networks import released
from napari_flowinpaint.core.networks.fold.kpn import KpnConfig
from napari_flowinpaint.core.networks.fold.restoration import FoldConfig, FoldNetwork
from napari_flowinpaint.core.networks.weights import save_network
from napari_flowinpaint.core.repair.repair_section import repair_section
from napari_flowinpaint.core.simulation.sample import SampleConfig, synthetic_stack


def test_psnr_counts_the_mask_only():
    a, b = np.zeros((4, 4), np.float32), np.zeros((4, 4), np.float32)
    mask = np.zeros((4, 4), dtype=bool)
    mask[0, :2] = True
    a[0, 0] = 10
    a[3, 3] = 200
    assert psnr(a, b, mask, 255) == pytest.approx(10 * np.log10(255**2 / 50))
    assert psnr(b, b, mask, 255) == float("inf")


def test_blur_keeps_structure_and_loses_detail():
    truth = texture(sigma=1).astype(np.uint8)
    mask = np.zeros(truth.shape, dtype=bool)
    mask[50:150, 50:150] = True
    blurred = np.where(mask, cv2.GaussianBlur(truth, (0, 0), 1.5), truth)
    scores = score(blurred, truth, mask, 255)
    assert scores.structure_psnr > scores.psnr + 3
    assert scores.detail < 0.5
    assert score(truth, truth, mask, 255).detail == pytest.approx(1)
    assert score(truth, truth, mask, 255).ssim == pytest.approx(1)


def test_data_range():
    assert data_range(np.zeros((4, 4), np.uint8)) == 255
    ramp = np.linspace(1000, 3000, 10001, dtype=np.float32).reshape(73, 137)
    assert data_range(ramp) == pytest.approx(2000, rel=0.01)


def test_peers_return_sections_of_the_same_shape_and_move_what_moves():
    base = texture((160, 160), sigma=4)
    previous, following = np.roll(base, -3, axis=1), np.roll(base, 3, axis=1)
    mask = np.zeros(base.shape, dtype=bool)
    mask[60:100, 60:100] = True
    errors = {}
    for name, peer in PEERS.items():
        filled = peer(base, previous, following, mask)
        assert filled.shape == base.shape
        errors[name] = np.abs(filled - base)[mask].mean()
    assert errors["dis"] < 0.3 * errors["mean"]
    assert errors["farneback"] < 0.3 * errors["mean"]
    assert errors["mean"] < errors["copy"]


def test_the_learned_peer_runs_where_it_is_asked_for(monkeypatch, tmp_path):
    names = check_request(None, ["irregular"], [0.1])
    assert not {"kpn", *FOR_FOLDS, *FOR_GAPS} & set(names)
    assert check_request(["kpn"], ["irregular"], [0.1]) == ("kpn",)
    monkeypatch.setattr(released, "weights_directory", lambda: tmp_path)
    base = texture((64, 64), sigma=4)
    with pytest.raises(InputError, match="not installed"):
        LEARNED_PEERS["kpn"](base, base, base, base > 250)
    torch.manual_seed(0)
    path = tmp_path / released.FOLD
    save_network(path, FoldNetwork(FoldConfig(KpnConfig((4, 4), 3))))
    path.with_suffix(".md").write_text(f"sha256: {hashlib.sha256(path.read_bytes()).hexdigest()}")
    filled = LEARNED_PEERS["kpn"](base, base, base, base > 250)
    assert filled.shape == base.shape
    assert np.corrcoef(filled.ravel(), base.ravel())[0, 1] > 0.7


def test_every_third_section_is_damaged():
    assert damaged_sections(10, 1) == (1, 4, 7)
    assert damaged_sections(30, 4) == (4, 16)
    assert damaged_sections(30, 1, range(16, 20)) == (17,)
    with pytest.raises(InputError, match="at least three"):
        damaged_sections(2, 1)


def test_the_table_compares_all_on_the_same_masks():
    stack = Stack.from_array(synthetic_stack(SampleConfig(shape=(3, 192, 192))), name="synthetic")
    table = run_benchmark(
        stack, fractions=(0.2,), shapes=("irregular",), repeats=2, methods=(*PEERS, "flow")
    )
    rows = {row.method: row for row in table.rows}
    assert set(rows) == {
        *PEERS,
        "flow",
        "flow: initial reference",
        "flow: refined reference",
        "flow: smooth",
    }
    assert all(row.sections == 2 for row in table.rows)
    best = max(rows[peer].scores.structure_psnr for peer in PEERS)
    assert rows["flow"].scores.structure_psnr > best
    assert "| irregular | 20% | flow |" in table.to_markdown()
    assert "synthetic: sections 1 damaged" in table.to_text()
    again = run_benchmark(
        stack, fractions=(0.2,), shapes=("irregular",), repeats=2, methods=("mean",)
    )
    assert again.rows[0].scores == rows["mean"].scores


def test_only_the_previous_section_may_be_shown():
    pixels = synthetic_stack(SampleConfig(shape=(3, 128, 128)))
    request = {"fractions": (0.1,), "shapes": ("irregular",), "methods": ("mean", "copy", "flow")}
    tables = []
    for following in (pixels[2], 255 - pixels[2]):
        stack = Stack.from_array(np.stack([*pixels[:2], following]))
        tables.append(run_benchmark(stack, neighbours=1, **request))
    first, second = ([row.scores for row in table.rows] for table in tables)
    assert first == second
    assert first[0] == first[1]  # of one section the mean is a copy
    assert "the previous neighbour alone, 1 section away" in tables[0].to_text()
    assert BenchmarkTable.from_dict(tables[0].to_dict()) == tables[0]
    names = check_request(None, ("irregular",), (0.1,), neighbours=1)
    assert {"copy", "telea", "flow"} <= set(names) <= {"copy", "telea", "flow", "one_neighbour"}
    assert "one_neighbour" not in check_request(None, ("irregular",), (0.1,))
    with pytest.raises(InputError, match="1 or 2 neighbours"):
        check_request(None, ("irregular",), (0.1,), neighbours=3)


class Refusing(FlowMethod):
    """Refuses whatever it is given."""

    def repair(self, window, options, device, progress):
        raise RepairRefused("not today")


def test_refusals_are_counted_not_hidden():
    pixels = synthetic_stack(SampleConfig(shape=(3, 192, 192)))
    table = run_benchmark(
        Stack.from_array(pixels),
        fractions=(0.1,),
        shapes=("rectangular",),
        methods=(),
        extra=[("never", Refusing())],
    )
    assert all(row.refused == 1 and row.sections == 0 for row in table.rows)
    assert "(1 refused)" in table.to_text()


def test_neighbours_that_the_gate_would_refuse_count():
    pixels = synthetic_stack(SampleConfig(shape=(3, 192, 192)))
    rng = np.random.default_rng(0)
    pixels[0], pixels[2] = rng.integers(0, 255, (2, 192, 192))
    table = run_benchmark(
        Stack.from_array(pixels), fractions=(0.1,), shapes=("rectangular",), methods=("flow",)
    )
    assert all(row.refused == 0 and row.sections == 1 for row in table.rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": ("magic",)}, "unknown method or peer 'magic'"),
        ({"shapes": ("star",)}, "unknown mask shape 'star'"),
        ({"fractions": (1.5,)}, "between 0 and 1"),
    ],
)
def test_bad_requests(arguments, message):
    stack = Stack.from_array(np.zeros((3, 32, 32), np.uint8))
    with pytest.raises(InputError, match=message):
        run_benchmark(stack, **arguments)


# ---- all scores, their means and the worst


#: As in the tests below.
ORDER = ("structure_psnr", "psnr", "ssim", "ms_ssim", "fsim", "detail", "voi", "rand_error")


def scores(*values):
    return BenchmarkScores(**dict(zip(ORDER, values, strict=True)))


GOOD = scores(24.0, 20.0, 0.6, 0.8, 0.9, 0.9, 0.5, 0.1)
BAD = scores(21.0, 21.0, 0.5, 0.7, 0.8, 1.5, 0.7, 0.2)


def row(**changes):
    outcomes = (
        BenchmarkOutcome(1, 0, GOOD, 2.0, (0.5, 1.5)),
        BenchmarkOutcome(4, 0, BAD, 3.0, (3.0,)),
        BenchmarkOutcome(7, 0, None, 0.0, ()),
    )
    return replace(BenchmarkRow("irregular", 0.1, "flow", outcomes), **changes)


def test_every_score_has_a_direction():
    # detail is no score: the table of texture tells more
    assert {m.field for m in METRICS} | {"detail"} == set(BenchmarkScores.__dataclass_fields__)
    worst = worst_scores([GOOD, BAD])
    assert replace(worst, detail=1.5) == scores(21.0, 20.0, 0.5, 0.7, 0.8, 1.5, 0.7, 0.2)


def test_means_leave_out_what_was_refused():
    found = row()
    assert (found.sections, found.refused) == (2, 1)
    assert found.scores.structure_psnr == 22.5
    assert (found.seconds, found.slowest) == (2.5, 3.0)
    assert found.window_seconds == (0.5, 1.5, 3.0)
    assert math.isnan(row(outcomes=found.outcomes[2:]).scores.voi)


def test_tables_show_means_and_the_worst():
    table = BenchmarkTable("s", 1, (1, 4, 7), (row(),))
    assert table.head[-2:] == ("seconds", "per window")
    assert table.cells()[0] == (
        "irregular", "10%", "flow (1 refused)", "22.50", "20.50", "0.550", "0.750", "0.850",
        "0.60", "0.150", "2.50", "1.67",
    )  # fmt: skip
    assert table.cells(worst=True)[0][3:5] == ("21.00", "20.00")
    assert table.cells(worst=True)[0][-2:] == ("3.00", "3.00")
    for text in (table.to_text(), table.to_markdown()):
        assert "FID: not measured, no InceptionV3 weights given" in text
        assert "worst section" in text
    assert table.to_markdown().count("| irregular | 10% |") == 2
    measured = BenchmarkTable("s", 1, (1,), (row(fid=12.34),))
    assert "not measured" not in measured.caption
    assert measured.cells()[0][-3:] == ("12.3", "2.50", "1.67")
    assert measured.cells(worst=True)[0][-3] == ""


def test_a_table_can_be_stored():
    looks = TextureScores((0.5, *[-0.1] * 6), 0.75, 12)
    table = BenchmarkTable("s", 1, (1, 4, 7), (row(), row(fid=3.5, texture=looks)))
    for text in (table.to_text(), table.to_markdown()):
        assert "+0.50" in text
        assert "0.750" in text
    assert BenchmarkTable.from_dict(json.loads(json.dumps(table.to_dict()))) == table


def test_a_perfect_repair_scores_perfectly():
    truth = texture((120, 130), sigma=2).astype(np.uint8)
    mask = np.zeros(truth.shape, dtype=bool)
    mask[40:80, 40:80] = True
    scorer = Scorer(truth, "dark membranes")
    one, none = pytest.approx(1), pytest.approx(0, abs=1e-9)
    perfect = scores(math.inf, math.inf, one, one, one, 1, none, none)
    assert scorer.score(truth, mask) == perfect
    # outside the mask nothing counts
    assert scorer.score(np.where(mask, truth, 0), mask) == scorer.score(truth, mask)
    worse = scorer.score(cv2.GaussianBlur(truth, (0, 0), 4), mask)
    assert worse.fsim < 0.97
    assert worse.ms_ssim < 0.95
    assert worse.voi > 0
    assert worse.rand_error > 0


# ---- more methods, FID, figure


class Silent(FlowMethod):
    """A method of no name known to the table; it must be run as it is."""

    name = "silent"
    calls = 0

    def repair(self, window, options, device, progress):
        Silent.calls += 1
        return super().repair(window, options, device, progress)


def small(**more):
    return Stack.from_array(synthetic_stack(SampleConfig(shape=(3, 160, 160), **more)), name="tiny")


ONE_CELL = {"fractions": (0.1,), "shapes": ("rectangular",)}


def test_extra_methods_get_rows():
    extra = [("no references", Silent())]
    table = run_benchmark(small(), methods=("flow",), extra=extra, **ONE_CELL)
    rows = {row.method: row for row in table.rows}
    assert Silent.calls >= 2  # with texture and without
    assert rows["no references"].scores == rows["flow"].scores
    assert "no references: initial reference" in rows
    assert len(rows["flow"].window_seconds) >= 1
    assert 0 < sum(rows["flow"].window_seconds) <= rows["flow"].seconds
    for label in ("flow", "mean"):
        with pytest.raises(InputError, match="already"):
            run_benchmark(small(), extra=[(label, Silent())], **ONE_CELL)


def test_a_method_of_no_name_is_refused_like_any_other():
    needy = Silent()
    needy.neighbours = 2
    mask = np.zeros((160, 160), dtype=bool)
    mask[60:80, 60:80] = True
    with pytest.raises(RepairRefused, match="too few for method 'silent'"):
        repair_section(small(), 0, mask, method=needy)


class Describe:
    """A network whose features are how rough the tiles are, along either axis."""

    def describe(self, tiles, device):
        return np.stack([np.abs(np.diff(tiles, axis=a)).mean(axis=(1, 2)) for a in (1, 2)], axis=1)


def test_fid_compares_the_tiles_of_all_sections(tmp_path, monkeypatch):
    where = "napari_flowinpaint.core.benchmark.run_benchmark._load_inception"
    monkeypatch.setattr(where, lambda path, device: Describe())
    stack = Stack.from_array(synthetic_stack(SampleConfig(shape=(3, 256, 256))))
    cell = {"fractions": (0.5,), "shapes": ("irregular",), "methods": ("copy", "telea")}
    table = run_benchmark(stack, inception=tmp_path, repeats=2, **cell)
    copy, telea = (row.fid for row in table.rows)
    assert 0 < copy < telea  # a copy has the texture of the truth, a smooth filling has not
    assert "FID" in table.head
    monkeypatch.undo()
    with pytest.raises(InputError, match="cannot be read"):
        run_benchmark(stack, inception=tmp_path / "none.pth", **cell)


def test_the_figure_shows_every_stage():
    assert figure_method(("mean", "flow", "flowinpaint")) == "flow"
    assert figure_method(("mean",)) is None
    assert figure_method(("mean",), [("ours", Silent())]) == "ours"
    stack = small()
    picture = draw_figure(stack, "ours", method=Silent(), fraction=0.2, shape="rectangular")
    pixels = np.asarray(picture.convert("L"))
    assert pixels.shape == (2 * (160 + 22) + 22, 3 * 160 + 2 * 6)
    truth = pixels[22 + 160 + 22 :][:160, 166 : 166 + 160].astype(int)
    assert np.abs(truth - stack.read(1)).mean() < 3
    error = pixels[22 + 160 + 22 :][:160, 332:]
    damaged = pixels[22:182, :160]
    assert (error[damaged < 250] <= 4).all()
    assert error[damaged > 250].mean() > 5
