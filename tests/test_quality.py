"""Class entropies in closed form; paired Fréchet distances of Gaussians whose distance is known."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import diffgen as dg
from diffgen.features.classifier import CLASSES
from diffgen.metrics.quality import class_entropies, class_probabilities, paired_frechet


@given(st.integers(2, 20), st.floats(0, 1))
def test_entropies_in_closed_form(c, q):
    """A class beyond doubt has none; all alike have ln C; two classes have that of a coin."""
    certain, even = torch.eye(c), torch.full((c,), 1 / c)
    assert class_entropies(certain).tolist() == [0] * c
    assert class_entropies(even[None]).item() == pytest.approx(math.log(c))
    coin = torch.zeros(1, c, dtype=torch.float64)
    coin[0, :2] = torch.tensor([q, 1 - q], dtype=torch.float64)
    expected = -sum(p * math.log(p) for p in (q, 1 - q) if p)
    assert class_entropies(coin).item() == pytest.approx(expected, abs=1e-12)


def test_the_classifier_is_surer_of_clothes_than_of_noise():
    split = dg.load_data("fashion_mnist", size=14, n_train=8, n_val=200)
    p = class_probabilities(split.val.x)
    assert p.shape == (200, CLASSES)
    torch.testing.assert_close(p.sum(1), torch.ones(200).double())
    assert (p.argmax(1) == split.val.labels).double().mean() > 0.7
    blurred = 0.5 * (split.val.x + split.val.x.flip(0))
    assert class_entropies(p).mean() < class_entropies(class_probabilities(blurred)).mean()
    assert class_probabilities(split.val.x[:0]).shape == (0, CLASSES)


def test_pairs_forget_what_they_share():
    random = torch.Generator().manual_seed(0)
    a, reference = torch.randn(400, 4, generator=random), torch.randn(300, 4, generator=random)
    shifts = (0.0, 0.5, 2.0)
    distances, differences = paired_frechet([a + s for s in shifts], reference)
    for s, distance, difference in zip(shifts, distances, differences, strict=True):
        assert float(distance) == pytest.approx(dg.frechet_distance(a + s, reference))
        expected = 4 * s**2 + 2 * s * float((a.mean(0) - reference.mean(0)).sum())
        assert float(difference) == pytest.approx(expected, abs=1e-6)
        assert difference.stderr <= distance.stderr
    assert differences[0].stderr == 0
    # of a shift by s: 4 s² + 2 s Σ(m_a − m_r), whose only chance is in the means
    chance = 2 * 2.0 * math.sqrt(4 * (1 / 400 + 1 / 300))
    assert differences[2].stderr == pytest.approx(chance, rel=0.35)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: class_entropies(torch.ones(3)), r"probabilities has shape \(3,\): give \(N, C\) rows"),
        (lambda: class_entropies(torch.ones(2, 2)), "give .* sum to 1"),
        (lambda: class_entropies(torch.tensor([[1.5, -0.5]])), "not negative"),
        (lambda: paired_frechet([torch.ones(3, 2), torch.ones(4, 2)], torch.ones(3, 2)), r"sets have \[3, 4\] rows"),
        (lambda: paired_frechet([torch.ones(3, 2)], torch.ones(3, 2), n_resamples=1), "n_resamples is 1"),
    ],
)
def test_mistakes_are_named_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
