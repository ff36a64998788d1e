"""Weights files: the file alone brings a network back, and nothing else gets in."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from napari_flowinpaint.core.errors import InputError
from napari_flowinpaint.core.networks import weights
from napari_flowinpaint.core.networks.fold.fold_fusion import FusionConfig, FusionNetwork
from napari_flowinpaint.core.networks.fold.kpn import KernelPredictionNetwork, KpnConfig
from napari_flowinpaint.core.networks.fold.restoration import FoldConfig, FoldNetwork
from napari_flowinpaint.core.networks.fold.unfolding import UnfoldingConfig, UnfoldingNetwork
from napari_flowinpaint.core.networks.gap.gap_network import GapConfig, GapNetwork
from napari_flowinpaint.core.networks.joint import JointConfig, JointNet
from napari_flowinpaint.core.networks.one.extend import ExtendConfig, ExtendNet
from napari_flowinpaint.core.networks.paper.discriminator import Discriminator, DiscriminatorConfig
from napari_flowinpaint.core.networks.paper.inpainting import (
    PAPER_SIZES,
    InpaintingConfig,
    InpaintingGenerator,
    PaperConfig,
    PaperNetwork,
)
from napari_flowinpaint.core.networks.paper.refined_reference import (
    RefinedReferenceConfig,
    RefinedReferenceNetwork,
)
from napari_flowinpaint.core.networks.single.separation import SeparationConfig, SeparationNetwork
from napari_flowinpaint.core.networks.weights import list_weights, load_network, save_network

REFINED = RefinedReferenceConfig((4, 6), 1, (6,), (6,))
NETWORKS = {
    "joint": lambda: JointNet(JointConfig((4, 8, 8), (1, 2), 8, (8, 8))),
    "refined-reference": lambda: RefinedReferenceNetwork(REFINED),
    "inpainting": lambda: InpaintingGenerator(InpaintingConfig((4, 8), aggregation=False)),
    "paper": lambda: PaperNetwork(PaperConfig(REFINED, InpaintingConfig((4, 8)))),
    "kpn": lambda: KernelPredictionNetwork(KpnConfig((4, 6), 3)),
    "unfolding": lambda: UnfoldingNetwork(UnfoldingConfig((4, 6), search=3)),
    "fold": lambda: FoldNetwork(
        FoldConfig(KpnConfig((4,), 3), UnfoldingConfig((4,), search=3), FusionConfig((4,)))
    ),
    "fold-fusion": lambda: FusionNetwork(FusionConfig((4, 6))),
    "separation": lambda: SeparationNetwork(SeparationConfig((4, 6), shrink=2)),
    "one-neighbour": lambda: ExtendNet(
        ExtendConfig(JointConfig((4, 8, 8), (1, 2), 8, (8, 8)), (4, 6), (2,))
    ),
    "gap": lambda: GapNetwork(GapConfig(channels=(4, 6), depth=8, widest=4)),
    "discriminator": lambda: Discriminator(DiscriminatorConfig((4,))),
}


@pytest.fixture
def saved(tmp_path):
    """A small weights file."""
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    save_network(path, RefinedReferenceNetwork(REFINED), {"step": 7})
    return path


def rewrite(path, tensors=None, **metadata):
    """Write a weights file again with something changed."""
    told = {
        "network": "refined-reference",
        "config": json.dumps(REFINED.to_dict()),
        "training": "{}",
    }
    told = {k: v for k, v in (told | metadata).items() if v is not None}
    save_file(load_file(path) if tensors is None else tensors, path, told)


def test_every_registered_network_is_tried():
    assert set(NETWORKS) == set(weights.ARCHITECTURES)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_file_alone_brings_the_network_back(tmp_path, name):
    torch.manual_seed(0)
    net = NETWORKS[name]()
    path = tmp_path / "a.safetensors"
    save_network(path, net, {"step": 7})
    again, info = load_network(path)
    assert type(again) is type(net)
    assert again.config == net.config
    assert not again.training
    assert (info.architecture, info.training) == (name, {"step": 7})
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert all(v.dtype == torch.float16 for v in load_file(path).values())
    for key, value in again.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, net.state_dict()[key].half().float())
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("size", list(PAPER_SIZES))
def test_sizes_fit_into_the_package(tmp_path, size):
    path = tmp_path / "a.safetensors"
    save_network(path, PaperNetwork(PAPER_SIZES[size]))
    assert path.stat().st_size <= weights.MOST_BYTES


def test_too_large_a_network_is_not_saved(tmp_path):
    path = tmp_path / "a.safetensors"
    net = RefinedReferenceNetwork(RefinedReferenceConfig((8, 512, 512, 512), 1, (8,), (8,)))
    with pytest.raises(InputError, match="MiB, more than the 15"):
        save_network(path, net)
    assert not list(tmp_path.iterdir())


def test_values_that_half_precision_cannot_hold_are_not_saved(tmp_path):
    net = RefinedReferenceNetwork(REFINED)
    with torch.no_grad():
        net.context.head.bias.fill_(1e6)
    with pytest.raises(InputError, match=r"context\.head\.bias.*not finite"):
        save_network(tmp_path / "a.safetensors", net)
    assert not list(tmp_path.iterdir())


def test_strangers_are_not_saved(tmp_path):
    with pytest.raises(InputError, match="Linear is not a network that can be saved"):
        save_network(tmp_path / "a.safetensors", torch.nn.Linear(2, 2))


def change_tensor(path, name="context.head.bias", **changes):
    tensors = load_file(path)
    tensors[name] = changes["to"]
    rewrite(path, tensors)


def drop(path):
    tensors = load_file(path)
    del tensors["context.head.bias"]
    rewrite(path, tensors)


def config(**values):
    return json.dumps(REFINED.to_dict() | values)


HOSTILE = {
    "empty": (lambda p: p.write_bytes(b""), "cannot be read as weights"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-200]), "cannot be read as weights"),
    "short": (lambda p: p.write_bytes(p.read_bytes()[:40]), "cannot be read as weights"),
    "pickle": (lambda p: torch.save({"a": torch.zeros(1)}, p), "cannot be read as weights"),
    "endless header": (
        lambda p: p.write_bytes(b"\xff" * 8 + p.read_bytes()[8:]),
        "cannot be read as weights",
    ),
    "large": (lambda p: p.write_bytes(b"\0" * (weights.MOST_BYTES + 1)), "weights have 15 at most"),
    "missing": (lambda p: p.unlink(), "cannot be read as weights"),
    "folder": (lambda p: (p.unlink(), p.mkdir()), "cannot be read as weights"),
    "stranger": (lambda p: rewrite(p, network="resnet"), "holds no network of napari-flowinpaint"),
    "nameless": (lambda p: rewrite(p, network=None), "holds no network of napari-flowinpaint"),
    "no config": (lambda p: rewrite(p, config=None), "does not describe its network"),
    "no JSON": (lambda p: rewrite(p, config="{"), "does not describe its network"),
    "deep JSON": (lambda p: rewrite(p, config="[" * 15_000), "does not describe its network"),
    "list": (lambda p: rewrite(p, config="[1]"), "does not describe its network"),
    "endless config": (
        lambda p: rewrite(p, config=config(channels=[1] * 10_000)),
        "does not describe its network",
    ),
    "huge config": (lambda p: rewrite(p, config=config(channels=[10**9])), "'channels' must be"),
    "deep config": (lambda p: rewrite(p, config=config(channels=[2] * 60)), "'channels' must be"),
    "unknown entry": (lambda p: rewrite(p, config=config(gpu=True)), "unknown entries"),
    "other config": (lambda p: rewrite(p, config=config(radius=2)), "estimators.*of the network"),
    "other network": (lambda p: rewrite(p, network="discriminator"), "unknown entries"),
    "not a number": (
        lambda p: change_tensor(p, to=torch.tensor([1.0, float("nan")])),
        "not finite",
    ),
    "whole numbers": (
        lambda p: change_tensor(p, to=torch.zeros(2, dtype=torch.int32)),
        "is I32",
    ),
    "shape": (lambda p: change_tensor(p, to=torch.zeros(3)), r"context\.head\.bias.*\[3\]"),
    "lacking": (drop, r"lacks tensor 'context\.head\.bias'"),
    "one more": (
        lambda p: change_tensor(p, "extra", to=torch.zeros(2)),
        "unexpected tensor 'extra'",
    ),
}


@pytest.mark.parametrize("kind", list(HOSTILE))
def test_broken_and_hostile_files_are_refused_in_one_line(saved, kind):
    spoil, message = HOSTILE[kind]
    spoil(saved)
    with pytest.raises(InputError, match=message) as caught:
        load_network(saved)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_network_that_is_wanted(saved):
    assert load_network(saved, architecture="refined-reference")[1].training == {"step": 7}
    with pytest.raises(InputError, match="holds a network 'refined-reference', not 'joint'"):
        load_network(saved, architecture="joint")


def test_a_file_has_to_be_what_its_card_says(saved):
    card = saved.with_suffix(".md")
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    card.write_text(f"# Tiny\n\nsha256: {digest}\n")
    load_network(saved)
    card.write_text("# Tiny\n")
    with pytest.raises(InputError, match="gives no sha256"):
        load_network(saved)
    card.write_text(f"sha256: {digest}\n")
    rewrite(saved, training='{"step": 8}')
    with pytest.raises(InputError, match="is not the file its card describes"):
        load_network(saved)


def test_list_of_weights(tmp_path, monkeypatch):
    for name in ("b.safetensors", "a.safetensors", "a.md", "c.safetensors.partial"):
        (tmp_path / name).touch()
    monkeypatch.setattr(weights, "weights_directory", lambda: tmp_path)
    assert [p.name for p in list_weights()] == ["a.safetensors", "b.safetensors"]


def test_released_weights_are_what_their_cards_say():
    if not list_weights():
        pytest.skip("no weights are installed")
    for path in list_weights():
        _, info = load_network(path)
        assert path.with_suffix(".md").is_file(), f"{path.name} has no card"
        assert info.training, f"{path.name} does not tell how it was trained"
