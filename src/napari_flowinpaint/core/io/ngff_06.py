"""Metadata of OME-Zarr 0.6, told in those of 0.5, for which there is a model.

0.6 names coordinate systems. Every level has one transformation (an identity, a scale, or a scale
and a translation) into one of them, the intrinsic one, which has the axes and units of the image.
Further systems say where the image lies among others; nothing here depends on them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_VERSION = re.compile(r"0\.6(?:\.dev[34]|rc\d+)?")


def is_06(version: str) -> bool:
    """Return whether a version is 0.6, or one of its drafts with the same metadata."""
    return _VERSION.fullmatch(version) is not None


def as_05(multiscale: Any) -> dict[str, Any]:
    """Return an entry of ``multiscales`` as 0.5 has it.

    Parameters
    ----------
    multiscale
        As stored; it may be damaged.

    Raises
    ------
    ValueError
        Saying what is missing.
    """
    if not isinstance(multiscale, Mapping):
        raise ValueError("multiscales: not a list of images")
    system = intrinsic_system(multiscale)
    datasets = []
    for dataset in multiscale["datasets"]:
        transforms = dataset.get("coordinateTransformations")
        if not isinstance(transforms, list) or len(transforms) != 1:
            raise ValueError("datasets.coordinateTransformations: not exactly one")
        told = _scale_and_translation(transforms[0], len(system["axes"]))
        datasets.append({"path": dataset.get("path"), "coordinateTransformations": told})
    kept = {key: multiscale[key] for key in ("name", "type", "metadata") if key in multiscale}
    return {**kept, "axes": system["axes"], "datasets": datasets}


def intrinsic_system(multiscale: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the coordinate system into which the levels are transformed.

    Raises
    ------
    ValueError
        If it is not there.
    """
    datasets = multiscale.get("datasets")
    systems = multiscale.get("coordinateSystems")
    for name, found in (("datasets", datasets), ("coordinateSystems", systems)):
        if not isinstance(found, list) or not found or not all(_is_map(n) for n in found):
            raise ValueError(f"{name}: missing")
    assert isinstance(datasets, list)
    assert isinstance(systems, list)
    outputs = {_output(dataset) for dataset in datasets}
    if len(outputs) != 1:
        raise ValueError("datasets: their transformations lead into several coordinate systems")
    (wanted,) = outputs
    for system in systems:
        if system.get("name") == wanted and isinstance(system.get("axes"), list):
            return dict(system)
    raise ValueError(f"coordinateSystems: none has the name {wanted!r} and axes")


def renamed(dataset: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the metadata of a level for an array of another name."""
    transforms = [
        {**one, "input": {**_map(one.get("input")), "path": path}} if _is_map(one) else one
        for one in dataset.get("coordinateTransformations", [])
    ]
    return {**dataset, "path": path, "coordinateTransformations": transforms}


def _output(dataset: Mapping[str, Any]) -> str | None:
    """Return the name of the system into which a level is transformed."""
    transforms = dataset.get("coordinateTransformations")
    first = transforms[0] if isinstance(transforms, list) and transforms else None
    name = _map(_map(first).get("output")).get("name")
    return name if isinstance(name, str) else None


def _scale_and_translation(transform: Any, ndim: int) -> list[dict[str, Any]]:
    """Return the transformation of a level as 0.5 has it."""
    kind = _map(transform).get("type")
    if kind == "identity":
        return [{"type": "scale", "scale": [1.0] * ndim}]
    if kind == "scale":
        return [{"type": "scale", "scale": transform.get("scale")}]
    if kind == "sequence" and isinstance(transform.get("transformations"), list):
        kept = ("type", "scale", "translation")
        return [
            {key: one[key] for key in kept if key in one}
            for one in map(_map, transform["transformations"])
        ]
    raise ValueError(f"datasets.coordinateTransformations: {kind!r} is not one of a level")


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
