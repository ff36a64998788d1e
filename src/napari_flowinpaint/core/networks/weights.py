"""Weights: where they are, how they are saved, checked and loaded.

A weights file is a safetensors file (no pickle, nothing is executed) whose metadata say which
network it holds and with which hyper-parameters, so that loading needs the file alone. Beside
every file that comes with the package lies its card, a Markdown file of the same name with a line
``sha256: ...``. To add a network: give it a configuration as in :mod:`.config`, and add it to
:data:`ARCHITECTURES`.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Name in the file -> module, class of the network, class of its configuration.
ARCHITECTURES = {
    "joint": ("joint", "JointNet", "JointConfig"),
    "refined-reference": (
        "paper.refined_reference",
        "RefinedReferenceNetwork",
        "RefinedReferenceConfig",
    ),
    "inpainting": ("paper.inpainting", "InpaintingGenerator", "InpaintingConfig"),
    "paper": ("paper.inpainting", "PaperNetwork", "PaperConfig"),
    "kpn": ("fold.kpn", "KernelPredictionNetwork", "KpnConfig"),
    "unfolding": ("fold.unfolding", "UnfoldingNetwork", "UnfoldingConfig"),
    "fold": ("fold.restoration", "FoldNetwork", "FoldConfig"),
    "fold-fusion": ("fold.fold_fusion", "FusionNetwork", "FusionConfig"),
    "gap": ("gap.gap_network", "GapNetwork", "GapConfig"),
    "one-neighbour": ("one.extend", "ExtendNet", "ExtendConfig"),
    "separation": ("single.separation", "SeparationNetwork", "SeparationConfig"),
    "discriminator": ("paper.discriminator", "Discriminator", "DiscriminatorConfig"),
}
#: Files for the package must not be larger; others are not ours.
MOST_BYTES = 15 * 1024 * 1024
#: Number types that a file may hold.
_STORED = ("F16", "BF16", "F32")
#: Longest description, in characters: a longer one is refused before any layer is built.
_LONGEST = 20_000


@dataclass(frozen=True)
class WeightsInfo:
    """Description of a weights file.

    Parameters
    ----------
    path
        The file.
    architecture
        A key of :data:`ARCHITECTURES`.
    config
        The network's configuration, plain JSON.
    training
        How it was trained, plain JSON.
    sha256
        Of the file, hexadecimal.
    """

    path: Path
    architecture: str
    config: dict[str, Any]
    training: dict[str, Any]
    sha256: str


def weights_directory() -> Path:
    """Return the folder that holds the weights and their cards.

    In a wheel they lie inside the package; in an editable install or a source tree, at the top
    of the repository.
    """
    package = Path(__file__).resolve().parents[2]
    packaged = package / "weights"
    return packaged if packaged.is_dir() else package.parents[1] / "weights"


def list_weights() -> tuple[Path, ...]:
    """Return the weights files that came with the package, sorted by name."""
    return tuple(sorted(weights_directory().glob("*.safetensors")))


def save_network(path: Path, net: nn.Module, training: dict[str, Any] | None = None) -> None:
    """Write a network in half precision, complete or not at all.

    Parameters
    ----------
    path
        Where to.
    net
        One of :data:`ARCHITECTURES`, with its configuration in ``net.config``.
    training
        Plain JSON about the training, for the record.

    Raises
    ------
    InputError
        If the network is not registered, has values that half precision does not hold, or makes
        a file of more than 15 MiB.
    """
    from safetensors.torch import save

    architecture = _architecture_of(net)
    tensors = {k: v.detach().half().cpu().contiguous() for k, v in net.state_dict().items()}
    _check_finite(path, tensors)
    config: Any = net.config
    metadata = {
        "network": architecture,
        "config": json.dumps(config.to_dict()),
        "training": json.dumps(training or {}),
    }
    content = save(tensors, metadata)
    if len(content) > MOST_BYTES:
        raise InputError(
            f"{path.name} would have {len(content) / 2**20:.1f} MiB, more than the "
            f"{MOST_BYTES // 2**20} that weights may have; choose a smaller size"
        )
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)


def load_network(path: Path, *, architecture: str | None = None) -> tuple[nn.Module, WeightsInfo]:
    """Return the network in a weights file and the description of the file.

    Where a card lies beside the file, the file has to be the one it describes.

    Parameters
    ----------
    path
        The file.
    architecture
        The network it has to hold; None for any.

    Returns
    -------
    module : torch.nn.Module
        In evaluation mode, float32, on the CPU.
    info : WeightsInfo
        Its description.

    Raises
    ------
    InputError
        If the file is missing, broken, hostile, not what its card says, or holds another
        network.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    info = read_info(path)
    if architecture is not None and info.architecture != architecture:
        raise InputError(
            f"{path.name} holds a network '{info.architecture}', not '{architecture}'; choose "
            "other weights"
        )
    module, network, config = ARCHITECTURES[info.architecture]
    code = importlib.import_module(f".{module}", __package__)
    try:
        settings = getattr(code, config).from_dict(info.config)
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from None
    build = getattr(code, network)
    with torch.device("meta"):  # shapes only: what the file asks for may not fit into memory
        wanted = {k: tuple(v.shape) for k, v in build(settings).state_dict().items()}
    try:
        with safe_open(path, "pt") as file:
            _check_tensors(path, file, wanted)
            tensors = {name: file.get_tensor(name).float() for name in wanted}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path.name} cannot be read as weights: {error}") from None
    _check_finite(path, tensors)
    net: nn.Module = build(settings)
    net.load_state_dict(tensors)
    return net.eval(), info


def read_info(path: Path) -> WeightsInfo:
    """Return the description of a weights file, without reading its tensors.

    Raises
    ------
    InputError
        If the file is missing, not a weights file of this package, or not what its card says.
    """
    from safetensors import SafetensorError, safe_open

    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(
                f"{path.name} has {size / 2**20:.0f} MiB; weights have {MOST_BYTES // 2**20} "
                "at most"
            )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path.name} cannot be read as weights: {error}") from None
    if path.with_suffix(".md").is_file():
        checked_digest(path)
    architecture = metadata.get("network", "")
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"{path.name} holds no network of napari-flowinpaint; choose a file written by "
            "'flowinpaint train'"
        )
    config, training = (_read_json(path, metadata, key) for key in ("config", "training"))
    return WeightsInfo(path, architecture, config, training, digest)


def checked_digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a weights file after comparing it with its card's.

    The card is the Markdown file beside it, of the same name.

    Raises
    ------
    InputError
        If there is no card, or it names no checksum or a different one.
    """
    card = path.with_suffix(".md")
    try:
        told = re.search(r"sha256[^0-9a-f]*([0-9a-f]{64})", card.read_text(encoding="utf-8"))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path.name} cannot be checked: {error}; reinstall the package") from None
    if told is None:
        raise InputError(f"{card.name} gives no sha256; reinstall the package")
    if told[1] != digest:
        raise InputError(
            f"{path.name} is not the file its card describes (its sha256 is {digest[:12]}…, not "
            f"{told[1][:12]}…); reinstall the package"
        )
    return digest


def _architecture_of(net: nn.Module) -> str:
    """Return the registered name of a network."""
    kind = type(net)
    for name, (module, network, _) in ARCHITECTURES.items():
        if (kind.__module__, kind.__name__) == (f"{__package__}.{module}", network):
            return name
    raise InputError(f"{kind.__name__} is not a network that can be saved")


def _read_json(path: Path, metadata: dict[str, str], key: str) -> dict[str, Any]:
    """Return a JSON object from a file's metadata."""
    text = metadata.get(key, "")
    try:
        values = json.loads(text) if len(text) <= _LONGEST else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InputError(
            f"{path.name} does not describe its network; choose weights written by flowinpaint"
        )
    return values


def _check_tensors(path: Path, file: Any, wanted: dict[str, tuple[int, ...]]) -> None:
    """Compare a file's tensors with those its own description asks for."""
    found = set(file.keys())
    for problem, names in (
        ("lacks", wanted.keys() - found),
        ("has the unexpected", found - wanted.keys()),
    ):
        if names:
            raise InputError(
                f"{path.name} {problem} tensor '{min(names)}'; it is not the network it describes"
            )
    for name, shape in wanted.items():
        piece = file.get_slice(name)
        if tuple(piece.get_shape()) != shape or piece.get_dtype() not in _STORED:
            raise InputError(
                f"{path.name}: tensor '{name}' is {piece.get_dtype()} {piece.get_shape()}, not "
                f"the floating point {list(shape)} of the network it describes"
            )


def _check_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    for name, value in tensors.items():
        if not bool(value.isfinite().all()):
            raise InputError(f"{path.name}: tensor '{name}' has values that are not finite")
