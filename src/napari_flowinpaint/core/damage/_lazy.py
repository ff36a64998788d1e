"""Properties that are computed when they are asked for first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class lazy(Generic[_T]):
    """A property that remembers its value.

    Unlike :class:`functools.cached_property` of Python 3.11 it has no lock that all objects of a
    class share: threads that look at different sections must not wait for each other. Two that
    ask one object at once may both compute; their values are the same.
    """

    def __init__(self, make: Callable[[Any], _T]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    def __get__(self, owner: Any, _: type | None = None) -> _T:
        if owner is None:
            return self  # type: ignore[return-value]
        value = owner.__dict__[self._name] = self._make(owner)
        return value
