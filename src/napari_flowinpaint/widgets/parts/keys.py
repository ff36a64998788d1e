"""Keys of the dock, bound to the viewer while the dock is open.

npe2 parses key bindings of a manifest and registers none. Keys that napari or the user has bound
already are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from app_model.types import KeyBinding

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...viewer.state.reviews import ReviewState

Action = Callable[["ViewerModel"], Iterator[None] | None]


class KeyBindings:
    """Keys bound to one viewer.

    Parameters
    ----------
    viewer
        The viewer.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._bound: dict[KeyBinding, Action] = {}

    def bind(self, key: str, action: Action) -> bool:
        """Bind a key, unless it is taken; return whether it was bound.

        Parameters
        ----------
        key
            Such as ``"Shift+R"``.
        action
            Called with the viewer; a generator function is continued when the key is released.
        """
        binding = KeyBinding.from_str(key)
        taken = [self._viewer.keymap]
        taken += [getattr(base, "class_keymap", {}) for base in type(self._viewer).__mro__]
        if any(str(key) == str(binding) for keymap in taken for key in keymap):
            return False
        self._viewer.bind_key(binding, action)
        self._bound[binding] = action
        return True

    def release(self) -> None:
        """Unbind what was bound here and is still bound to it."""
        for binding, action in self._bound.items():
            keymap: dict[Any, Any] = self._viewer.keymap
            if keymap.get(binding) is action:
                self._viewer.bind_key(binding, None)
        self._bound.clear()


def bind_review_keys(keys: KeyBindings, review: ReviewState) -> None:
    """Bind the keys by which a repair is compared with the original."""

    def next_stage(viewer: Any) -> None:
        review.show_next()

    def hold_original(viewer: Any) -> Iterator[None]:
        shown = review.shown
        review.show(None)
        yield
        review.show(shown)

    keys.bind("N", next_stage)
    keys.bind("H", hold_original)
