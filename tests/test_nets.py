"""Laws of the networks: they start where they should, use what they are told, and take the sizes they promise."""

import dataclasses
import json

import pytest
import torch

import diffgen as dg
from diffgen.nets.dit import DiT, position_embedding
from diffgen.runs.folder import config_json, config_of

SHAPE = torch.Size([1, 14, 14])
NETWORKS = {
    "unet": dg.UNetConfig(channels=8, attention=(7,)),
    "unet, fourier": dg.UNetConfig(channels=8, embedding="fourier"),
    "dit": dg.DiTConfig(width=16, depth=2),
    "mlp": dg.MLPConfig(width=16),
}


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_starts_as_zero_and_every_weight_learns(name):
    """F = 0 is the best denoiser of Gaussian data. After one step away from it, no parameter is without gradient."""
    torch.manual_seed(0)
    network = NETWORKS[name].build(SHAPE, classes=3)
    x, c_noise, labels = torch.randn(4, *SHAPE), torch.linspace(-1, 1, 4), torch.tensor([-1, 0, 1, 2])
    assert network(x, c_noise, labels).count_nonzero() == 0
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    network(x, c_noise, labels).square().sum().backward()
    without = [name for name, parameter in network.named_parameters() if not parameter.grad.count_nonzero()]
    assert without == []


@pytest.mark.parametrize("name", NETWORKS)
def test_configs_survive_json(name):
    data = dg.DataConfig(name="fashion_mnist", size=14, n_train=8, n_val=8)
    config = dg.TrainConfig(data=data, network=NETWORKS[name], total_images=10)
    assert config_of(json.loads(json.dumps(config_json(config)))) == config


def test_blocks_of_a_dit_start_as_the_identity():
    """adaLN-Zero: the gates are zero, so at the start depth changes nothing."""
    torch.manual_seed(0)
    network = dg.DiTConfig(width=16, depth=3).build(SHAPE)
    tokens, condition = torch.randn(2, 49, 16), torch.randn(2, 16)
    for block in network.blocks:
        assert torch.equal(block(tokens, condition), tokens)


def test_a_dit_tells_positions_apart_only_by_their_embedding():
    """Without positions, attention and MLP commute with any permutation of the patches; with them they do not."""
    torch.manual_seed(0)
    network = DiT(dg.DiTConfig(width=16, depth=2), SHAPE)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, c_noise, labels = torch.randn(2, *SHAPE), torch.zeros(2), torch.tensor([-1, -1])

    def moved():  # by whole patches
        there = network(x.roll((2, 4), (2, 3)), c_noise, labels).roll((-2, -4), (2, 3))
        return (there - network(x, c_noise, labels)).abs().max().item()

    assert moved() > 1e-2
    network.positions.zero_()
    assert moved() < 1e-4


def test_positions_are_unique_and_near_ones_are_alike():
    positions = position_embedding(7, 5, 32)
    similarity = (positions @ positions.T) / 16  # every embedding has the norm √(32/2)
    assert torch.allclose(similarity.diagonal(), torch.ones(35))
    assert (similarity - torch.eye(35)).max() < 0.999
    row = similarity[0].reshape(7, 5)
    assert (row[0, :4].diff() < 0).all()
    assert (row[:3, 0].diff() < 0).all()


def test_small_by_default_and_large_by_config():
    assert 0.3e6 < parameters(dg.DiTConfig().build(SHAPE)) < 0.5e6
    assert 0.3e6 < parameters(dg.UNetConfig().build(SHAPE)) < 0.5e6
    with torch.device("meta"):  # counted, not stored: DiT-XL/2 has 675 million with its table of 1000 classes
        large = dg.DiTConfig(width=1152, depth=28, heads=16).build(torch.Size([4, 32, 32]), classes=1000)
        assert parameters(large) == pytest.approx(675e6, rel=0.02)


def test_dropout_acts_in_training_only():
    for config in (dg.UNetConfig(channels=8, dropout=0.5), dg.DiTConfig(width=16, depth=2, dropout=0.5)):
        network = config.build(SHAPE)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        x = torch.randn(2, *SHAPE), torch.zeros(2), torch.tensor([-1, -1])
        assert not torch.equal(network(*x), network(*x))
        network.eval()
        assert torch.equal(network(*x), network(*x))


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (dg.DiTConfig(), {"width": 65}, "width is 65: give a multiple of 4 and of heads, 4"),
        (dg.DiTConfig(), {"depth": 0}, "depth 0"),
        (dg.DiTConfig(), {"dropout": 1.0}, "dropout is 1.0"),
        (dg.UNetConfig(), {"embedding": "learned"}, "embedding is 'learned'"),
        (dg.UNetConfig(), {"channels": 3}, "channels is 3"),
    ],
)
def test_wrong_configs_are_refused(config, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(config, **changes)


def test_patches_that_do_not_fit():
    with pytest.raises(ValueError, match=r"patch is 4: it doesn't divide the sides of shape \(1, 14, 14\)"):
        dg.DiTConfig(patch=4).build(SHAPE)
