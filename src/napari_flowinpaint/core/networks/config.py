"""Hyper-parameters of networks: frozen, bounded, to and from plain JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Self

from ..errors import InputError

#: Widest layer that is accepted: a file that asks for more is broken or hostile.
_WIDEST = 512


class Config:
    """Base of the frozen dataclasses that describe a network."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the configuration that :meth:`to_dict` described.

        Raises
        ------
        InputError
            Where ``values`` describes no such network.
        """
        try:
            return cls(**values)
        except TypeError:
            raise InputError("the network's description has unknown entries") from None

    def _widths(self, name: str, fewest: int, most: int) -> None:
        """Check a tuple of channel counts; lists (from JSON) become tuples."""
        values = getattr(self, name)
        if not isinstance(values, (tuple, list)) or not fewest <= len(values) <= most:
            raise InputError(f"the network's '{name}' must be {fewest} to {most} whole numbers")
        object.__setattr__(self, name, tuple(values))
        for value in values:
            _whole(name, value, 1, _WIDEST)

    def _whole(self, name: str, low: int, high: int) -> None:
        _whole(name, getattr(self, name), low, high)

    def _flags(self, *names: str) -> None:
        for name in names:
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"the network's '{name}' must be true or false")


def _whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"the network's '{name}' must be whole numbers from {low} to {high}")
