"""Previous, this and following section as small pictures."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from ...viewer.tasks.find_damage import THUMBNAIL, Thumbnails

_NAMES = ("previous", "this", "following")
_SIDE = THUMBNAIL * 2 // 3


class ThumbnailRow(QWidget):
    """Three pictures with the numbers of their sections."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = [QLabel() for _ in _NAMES]
        self.captions = [QLabel() for _ in _NAMES]
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(0)
        for column, (picture, caption) in enumerate(zip(self.pictures, self.captions, strict=True)):
            picture.setFixedHeight(_SIDE)
            picture.setMinimumWidth(1)
            picture.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            for row, label in enumerate((picture, caption)):
                label.setAlignment(Qt.AlignmentFlag.AlignCenter)
                grid.addWidget(label, row, column)
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        for name, picture, caption in zip(_NAMES, self.pictures, self.captions, strict=True):
            picture.clear()
            caption.setText(name)

    def show_pictures(self, thumbnails: Thumbnails) -> None:
        """Show pictures."""
        self.clear()
        for number, found in enumerate(thumbnails.pictures):
            if found is None:
                self.captions[number].setText(f"no {_NAMES[number]}")
                continue
            z, pixels = found
            height, width = pixels.shape[:2]
            image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
            picture = QPixmap.fromImage(image).scaled(
                THUMBNAIL,
                _SIDE,
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )
            self.pictures[number].setPixmap(picture)
            self.captions[number].setText(f"{_NAMES[number]}: {z}")
