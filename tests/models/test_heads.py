"""Projection heads: their layers, and refusals."""

import pytest
import torch
from torch import nn

from helpers.core.errors import UserError
from helpers.models import mlp_head


def kinds(head: nn.Sequential) -> list[type]:
    return [type(layer) for layer in head]


def test_layers_in_order():
    assert kinds(mlp_head([8, 16, 4])) == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert kinds(mlp_head([8, 16, 4], norm="none", activation="gelu")) == [nn.Linear, nn.GELU, nn.Linear]
    assert kinds(mlp_head([8, 16, 16, 4], last_norm=True))[-2:] == [nn.Linear, nn.BatchNorm1d]
    assert kinds(mlp_head([8, 4])) == [nn.Linear]


def test_bias_only_where_no_norm_follows():
    head = mlp_head([8, 16, 4])
    assert head[0].bias is None and head[3].bias is not None
    assert mlp_head([8, 16, 4], norm="none")[0].bias is not None
    assert mlp_head([8, 16, 4], last_norm=True)[3].bias is None


def test_output_and_gradients():
    head = mlp_head([8, 16, 4])
    out = head(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)))
    assert out.shape == (6, 4)
    out.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in head.parameters())


@pytest.mark.parametrize(("widths", "options"), [([8], {}), ([8, 0], {}), ([8, 4], {"norm": "batched"}), ([8, 4], {"activation": "rely"})])
def test_refusals(widths, options):
    with pytest.raises(UserError):
        mlp_head(widths, **options)
