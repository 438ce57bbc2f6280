"""Variations: what is measured of drawings whose likeness to their originals is known."""

from __future__ import annotations

import numpy as np
import pytest
import toy

from likewise.evaluation.tasks.variations import rmse, variations


def world(keep: bool, noise: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Originals (24, 10, 10, 1), and 3 moved and noisy drawings of each, or of another one."""
    things = np.arange(24) % 4
    moves = rng.integers(-1, 2, (24, 2))
    real = np.stack([toy.picture(t, *m) for t, m in zip(things, moves, strict=True)])
    source = real if keep else np.roll(real, 2, 0)
    drawn = source[:, None] + noise * rng.normal(size=(24, 3, 10, 10))
    return real[..., None], drawn[..., None]


def test_variations_keep_what_is_shown_and_change_the_detail() -> None:
    rng = np.random.default_rng(0)
    real, drawn = world(True, 0.2, rng)
    near, like, off, spread = variations(real, drawn, real)
    assert like.value.value > like.chance + 0.15 and like.real.value == pytest.approx(1)
    assert near.value.value > 5 * near.chance and near.chance == pytest.approx(1 / 24)
    assert off.value.value == pytest.approx(0.2 * 127.5, rel=0.1) and off.real.value == 0
    assert (
        spread.value.value == pytest.approx(0.2 * 127.5 * 2**0.5, rel=0.1) and spread.chance > off.value.value
    )


def test_drawings_of_another_are_no_variations_and_copies_have_no_spread() -> None:
    rng = np.random.default_rng(0)
    real, other = world(False, 0.2, rng)
    assert variations(real, other)[1].value.value < 0.5
    copies = np.repeat(real[:, None], 3, 1)
    lines = variations(real, copies)
    assert lines[3].value.value == 0 and lines[2].value.value == 0 and lines[1].real is None
    assert variations(real, copies) == lines


def test_it_needs_two_of_each() -> None:
    real, drawn = world(True, 0.1, np.random.default_rng(0))
    for bad in (drawn[:, :1], drawn[:1], drawn[:, :, :5]):
        with pytest.raises(ValueError, match="two originals or more"):
            variations(real, bad)
    assert rmse(real, real - 1).tolist() == pytest.approx([127.5] * 24)
