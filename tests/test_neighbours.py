"""Exact neighbours, and the memorized fraction with its control cases."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import diffgen as dg
from diffgen.metrics import neighbours
from diffgen.metrics.neighbours import copies, nearest, nearest_similarity
from diffgen.metrics.overlap import shell_ratios


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def images() -> dg.Split:
    return dg.load_data("fashion_mnist", size=14, n_train=1000, n_val=500)


# Neighbours


def test_distances_are_exact_where_the_fast_form_is_not() -> None:
    """A tiny distance between large vectors: ‖q‖² − 2 q·r + ‖r‖² alone would be wrong in every digit."""
    references = 1e4 * randn(100, 50).double()
    step = torch.zeros(50).double()
    step[0] = 1e-5
    distance, index = nearest(references[:10] + step, references, k=1)
    assert index.flatten().tolist() == list(range(10))
    torch.testing.assert_close(distance, torch.full((10, 1), 1e-5).double(), rtol=1e-5, atol=0)


def test_a_point_of_the_set_is_its_own_neighbour_at_distance_zero(images: dg.Split) -> None:
    distance, index = nearest(images.train.x[:50], images.train.x)
    assert index[:, 0].tolist() == list(range(50))
    assert (distance[:, 0] == 0).all()
    assert (distance[:, 1] > 0).all()


def test_chunks_change_nothing(images: dg.Split, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = nearest(images.val.x, images.train.x, k=3)
    monkeypatch.setattr(neighbours, "PAIRS_AT_ONCE", 500 * 90)
    parts = nearest(images.val.x, images.train.x, k=3)
    assert torch.equal(parts.index, whole.index)
    assert torch.equal(parts.distance, whole.distance)


class Largest(TorchDispatchMode):
    """Remembers the size in bytes of the largest tensor that was made, those that were given excepted."""

    def __init__(self, *given: Tensor):
        super().__init__()
        self.given, self.bytes = {tensor.untyped_storage().data_ptr() for tensor in given}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in self.given:
                self.bytes = max(self.bytes, tensor.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize("search", [nearest, nearest_similarity, lambda q, r: shell_ratios(q, 0.5, r)])
def test_memory_is_bounded_for_60000_references(search) -> None:
    """No tensor takes more than 64 MB; all pairs would take 144 MB and the references in float64 94 MB."""
    queries, references = torch.rand(300, 196), torch.rand(60_000, 196)
    with Largest(queries, references) as largest:
        search(queries, references)
        search(queries[:5], references)  # few queries: here the references bound the chunk, not the pairs
    assert 2**24 < largest.bytes <= 2**26


def test_no_queries() -> None:
    assert nearest(torch.zeros(0, 3), randn(5, 3), k=2).distance.shape == (0, 2)
    assert nearest_similarity(torch.zeros(0, 3), randn(5, 3)).shape == (0,)


def test_similarity_in_closed_form() -> None:
    references = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    queries = torch.tensor([[5.0, 0.0], [3.0, 4.0], [-1.0, 0.0], [0.0, 0.0]])
    assert nearest_similarity(queries, references).tolist() == pytest.approx([1, 0.8, 0, 0])


# The memorized fraction


def test_copies_by_hand() -> None:
    """Training points 0 and 4 on a line: d₁/d₂ = x / (4 − x) is below 1/3 for x < 1."""
    train, samples = torch.tensor([[0.0], [4.0]]), torch.tensor([[0.0], [0.99], [1.01], [2.0], [3.5], [-5.0]])
    assert copies(samples, train).tolist() == [True, True, False, False, True, False]
    assert copies(samples, train, ratio=0.9).tolist() == [True, True, True, False, True, True]
    assert dg.memorized_fraction(samples, train) == pytest.approx(0.5)


def test_controls(images: dg.Split) -> None:
    """Noisy training images are copies; fresh images and noise are not."""
    train = images.train.x
    noisy = train[:200] + 0.02 * randn(200, 1, 14, 14)
    assert dg.memorized_fraction(train[:200], train) == 1
    assert dg.memorized_fraction(noisy, train) > 0.99
    assert dg.memorized_fraction(images.val.x, train) < 0.02
    assert dg.memorized_fraction(randn(200, 1, 14, 14), train) == 0
    half = torch.cat([noisy[:100], images.val.x[:100]])
    assert dg.memorized_fraction(half, train) == pytest.approx(0.5, abs=0.02)


def test_an_exact_copy_of_a_duplicate_is_a_copy() -> None:
    train = torch.tensor([[0.0], [0.0], [9.0]])
    assert copies(torch.tensor([[0.0]]), train).item()


def test_the_optimal_denoiser_copies_and_is_found_out(images: dg.Split) -> None:
    train = images.train.x[:200]
    samples = dg.sample(dg.OptimalDenoiser(train), 80 * randn(64, 1, 14, 14), dg.edm_sigmas(12))
    assert dg.memorized_fraction(samples, train) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dg.memorized_fraction(torch.zeros(0, 2), randn(5, 2)), "samples is empty"),
        (lambda: dg.memorized_fraction(randn(5, 2), randn(1, 2)), "train has 1 points"),
        (lambda: dg.memorized_fraction(randn(5, 2), randn(5, 2), ratio=3), "ratio is 3"),
        (lambda: nearest(randn(5, 2), randn(5, 3)), r"queries are \(5, 2\) and references \(5, 3\)"),
        (lambda: nearest(randn(5, 2), randn(5, 2), k=6), "k is 6: with 5 references it is between 1 and 5"),
        (lambda: nearest_similarity(randn(5, 2), torch.zeros(0, 2)), "references is empty"),
    ],
)
def test_mistakes_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
