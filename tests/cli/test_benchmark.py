"""``flowinpaint benchmark``: tables, figures, ablations, refusals."""

from __future__ import annotations

import tifffile
from command_line import refused

from napari_flowinpaint.cli import run


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
    from napari_flowinpaint.core.networks.paper.inpainting import (
        InpaintingConfig,
        PaperConfig,
        PaperNetwork,
    )
    from napari_flowinpaint.core.networks.paper.refined_reference import RefinedReferenceConfig
    from napari_flowinpaint.core.networks.weights import save_network

    tifffile.imwrite(data / "intact.tif", truth)
    refined = RefinedReferenceConfig((8, 8, 8), 2, (12,), (8,))
    network = PaperNetwork(PaperConfig(refined, InpaintingConfig((8, 8), finest_attention=2)))
    save_network(data / "ablated.safetensors", network)
    command = ["benchmark", str(data / "intact.tif"), "--fractions", "0.1", "--sections", "0-2"]
    ablation = ("--ablation", f"no references={data / 'ablated.safetensors'}")
    assert run([*command, "--methods", "mean", "--shapes", "irregular", *ablation]) == 0
    assert "no references: refined reference" in capsys.readouterr().out


def test_benchmark_refuses(data, capsys):
    from napari_flowinpaint.core.networks.released import released

    cases = {
        ("--methods", "magic"): "magic",
        ("--fractions", "1.5"): "masked fraction",
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
