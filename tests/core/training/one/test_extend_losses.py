"""Losses of Extend-GAN: equations 3, 4 and 9-12."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from tensors import scene

from napari_flowinpaint.core.training.one.extend_losses import (
    MARGIN,
    adversarial_loss,
    hinge_loss,
    similarities,
    triplet_loss,
)


def test_similarity_is_that_of_the_field():
    truth, _, reference, drawn, _ = scene(48, 56)
    drawn = truth + 0.5 * drawn
    near, far = similarities(truth, reference, drawn)
    for found, other in ((near, truth), (far, reference)):
        _, expected = structural_similarity(
            (drawn[0, 0] / 6 + 0.5).numpy(),
            (other[0, 0] / 6 + 0.5).numpy(),
            data_range=1.0,
            gaussian_weights=True,
            use_sample_covariance=False,
            full=True,
        )
        inner = np.s_[8:-8, 8:-8]
        np.testing.assert_allclose(found[0, 0].numpy()[inner], expected[inner], atol=0.02)


def test_the_triplet_pulls_to_the_truth_and_away_from_the_reference():
    truth, mask, reference, *_ = scene(48, 56)
    assert float(triplet_loss(truth, reference, truth, mask)) == 0  # eq. 9: nothing left to gain
    copied = float(triplet_loss(truth, reference, reference, mask))
    half = float(triplet_loss(truth, reference, (truth + reference) / 2, mask))
    assert copied > MARGIN > half or copied > half > 0
    same = triplet_loss(truth, truth, truth, mask)
    assert float(same) == pytest.approx(MARGIN)  # a reference that is the truth: the margin


def test_only_the_damaged_places_count():
    truth, mask, reference, drawn, _ = scene(48, 56)
    near = torch.nn.functional.max_pool2d(mask, 25, 1, 12)
    other = torch.where(near > 0, drawn, drawn.flip(-1))
    torch.testing.assert_close(
        triplet_loss(truth, reference, drawn, mask), triplet_loss(truth, reference, other, mask)
    )


def test_hinge_and_a_slope_where_the_generator_is_seen_through():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert float(hinge_loss(real, fake)) == pytest.approx(0.25 + 0.5)  # eq. 3
    scores = torch.tensor([-3.0, 1.0], requires_grad=True)
    adversarial_loss(scores).backward()
    assert scores.grad.tolist() == [-0.5, -0.5]  # eq. 4 has none at -3
