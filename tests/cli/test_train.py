"""``flowinpaint train``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from napari_flowinpaint.cli import run
from napari_flowinpaint.core.networks.fold.fold_fusion import FUSION_SIZES, FusionConfig
from napari_flowinpaint.core.networks.fold.kpn import KPN_SIZES, KpnConfig
from napari_flowinpaint.core.networks.fold.unfolding import UNFOLDING_SIZES, UnfoldingConfig
from napari_flowinpaint.core.networks.joint import SIZES, JointConfig
from napari_flowinpaint.core.networks.single.separation import SEPARATION_SIZES, SeparationConfig
from napari_flowinpaint.core.networks.weights import load_network


@pytest.fixture
def stack(tmp_path, monkeypatch):
    config = JointConfig(channels=(4, 8, 8), radii=(1, 1), hidden=8, fusion=(8, 8))
    monkeypatch.setitem(SIZES, "small", config)
    path = tmp_path / "stack.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (6, 64, 64), dtype=np.uint8)
    tifffile.imwrite(path, pixels)
    return path


def test_train_writes_weights_log_and_checkpoint(stack, tmp_path, capsys):
    output = tmp_path / "mine.safetensors"
    options = ["--output", str(output), "--steps", "2", "--crop", "32", "--batch", "1"]
    assert run(["train", f"{stack}@0-2", "--validate", f"{stack}@3-5", *options]) == 0
    said = capsys.readouterr().out
    assert "2 steps" in said
    assert "best structure PSNR" in said
    assert f"written: {output}" in said
    assert load_network(output)[0].config == SIZES["small"]
    state = tmp_path / "mine.state.safetensors"
    assert run(["train", str(stack), *options, "--steps", "3", "--resume", str(state)]) == 0
    assert "3 steps" in capsys.readouterr().out
    log = (tmp_path / "mine.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["step", "2", "3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.tif", "--output", "w.safetensors"], "nowhere.tif"),
        (["STACK", "--output", "w.pt"], "must end in .safetensors"),
        (["STACK", "--output", "no/such/w.safetensors"], "does not exist"),
        (["STACK@4-9", "--output", "w.safetensors"], "only 6 sections"),
        (["STACK", "--output", "w.safetensors", "--crop", "512"], "smaller than the crops"),
        (["STACK", "--output", "w.safetensors", "--size", "giant"], "unknown size"),
        (["STACK", "--output", "w.safetensors", "--network", "fold-thing"], "unknown --network"),
        (["STACK", "--output", "w.safetensors", "--unfolding", "u"], "needs --network fold"),
        (
            ["STACK", "--output", "w.safetensors", "--network", "fold-fusion", "--crop", "32"],
            "needs the weights of fold-interpolation",
        ),
        (
            ["STACK", "--output", "w.safetensors", "--crop", "32", "--resume", "STACK"],
            "not a training checkpoint",
        ),
    ],
)
def test_bad_requests_are_one_line(stack, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    arguments = [a.replace("STACK", str(stack)) for a in arguments]
    assert run(["train", *arguments, "--steps", "1"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_train_the_network_of_single_sections_and_repair_with_it(stack, tmp_path, monkeypatch):
    monkeypatch.setitem(SEPARATION_SIZES, "small", SeparationConfig((4, 6), 1, 2))
    output, mask = tmp_path / "single.safetensors", np.zeros((6, 64, 64), np.uint8)
    options = ["--network", "single", "--steps", "1", "--crop", "64", "--batch", "1"]
    assert run(["train", str(stack), *options, "--output", str(output)]) == 0
    mask[2, 30:33, 10:50] = 1
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    method = ["--method", "single_section", "--weights", str(output)]
    where = ["--mask", str(tmp_path / "mask.tif"), "--output", str(tmp_path / "out.zarr")]
    report = tmp_path / "report.json"
    assert run(["repair", str(stack), *where, *method, "--report", str(report)]) == 0
    (section,) = json.loads(report.read_text())["sections"]
    assert section["windows"][0]["previous"] is None
    assert "nothing but itself" in section["windows"][0]["flags"][0]


def test_train_the_networks_of_the_paper(stack, tmp_path, monkeypatch, capsys):
    from napari_flowinpaint.core.networks.paper.discriminator import SIZES as DISCRIMINATORS
    from napari_flowinpaint.core.networks.paper.discriminator import DiscriminatorConfig
    from napari_flowinpaint.core.networks.paper.inpainting import (
        PAPER_SIZES,
        InpaintingConfig,
        PaperConfig,
    )
    from napari_flowinpaint.core.networks.paper.refined_reference import RefinedReferenceConfig

    refined = RefinedReferenceConfig((4, 6), 1, (6,), (6,))
    monkeypatch.setitem(PAPER_SIZES, "small", PaperConfig(refined, InpaintingConfig((4, 8))))
    monkeypatch.setitem(DISCRIMINATORS, "small", DiscriminatorConfig((4,)))
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    options = ["--steps", "1", "--crop", "32", "--batch", "1"]
    assert run(["train", str(stack), *options, "--network", "reference", "--output", str(one)]) == 0
    inpainting = ["train", str(stack), *options, "--network", "inpainting", "--output", str(two)]
    changes = ["--ablation", "aggregation", "--rate", "0.002"]
    assert run([*inpainting, "--refined", str(one), *changes]) == 0
    net, info = load_network(two)
    assert not net.config.inpainting.aggregation
    assert info.training["plan"]["rate"] == 0.002
    assert run(inpainting) == 2
    assert "needs the weights of the reference stage" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--network", "other"], "unknown --network"),
        (["--network", "inpainting", "--ablation", "all"], "unknown --ablation"),
        (["--fine-tune"], "needs --network inpainting"),
        (["--vgg", "vgg.pth"], "--vgg needs"),
        (["--network", "reference", "--vgg", "vgg.pth"], "cannot be read as VGG16"),
    ],
)
def test_options_of_the_paper_that_do_not_fit(stack, tmp_path, capsys, options, message):
    output = tmp_path / "w.safetensors"
    arguments = ["train", str(stack), "--output", str(output), "--crop", "32", *options]
    assert run(arguments) == 2
    assert message in capsys.readouterr().err


def test_train_makes_networks_that_undo_folds(stack, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(KPN_SIZES, "small", KpnConfig((4, 4), 3))
    monkeypatch.setitem(UNFOLDING_SIZES, "small", UnfoldingConfig((4, 4), search=3))
    monkeypatch.setitem(FUSION_SIZES, "small", FusionConfig((4, 4)))
    paths: dict[str, str] = {}
    for stage, name in (
        ("interpolation", "kpn"),
        ("unfolding", "unfolding"),
        ("fusion", "fold"),
    ):
        output = tmp_path / f"{stage}.safetensors"
        before = [part for key, path in paths.items() for part in (f"--{key}", path)]
        options = ["--network", f"fold-{stage}", *before, "--output", str(output)]
        assert run(["train", str(stack), *options, "--steps", "1", "--crop", "32"]) == 0
        assert load_network(output)[1].architecture == name
        paths[stage] = str(output)
    assert "written:" in capsys.readouterr().out
