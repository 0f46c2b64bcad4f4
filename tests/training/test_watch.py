"""The signs of collapse, against embeddings whose spread and rank are known."""

import pytest
import torch

from helpers.training.watch import collapsed, spread_and_rank


def test_even_directions_have_spread_one_and_full_rank():
    torch.manual_seed(0)
    found = spread_and_rank(torch.randn(4000, 16) * torch.rand(4000, 1))  # lengths do not count
    assert found["spread"] == pytest.approx(1, abs=0.02)
    assert found["effective_rank"] == pytest.approx(16, abs=0.1)
    assert not collapsed(found)


def test_one_point_is_a_collapse():
    found = spread_and_rank(torch.ones(64, 16) + 1e-4 * torch.randn(64, 16))
    assert found["spread"] < 0.01
    assert collapsed(found)


def test_a_line_is_a_collapse_however_wide():
    found = spread_and_rank(torch.randn(64, 1) * torch.ones(1, 16))
    assert found["effective_rank"] == pytest.approx(1, abs=0.01)
    assert collapsed(found)


def test_rank_counts_the_directions_in_use():
    basis = torch.eye(16)[:4]
    found = spread_and_rank(torch.cat([basis, -basis]).repeat(10, 1))
    assert found["effective_rank"] == pytest.approx(4, abs=0.01)


def test_of_several_views_the_first_is_watched():
    torch.manual_seed(0)
    z = torch.randn(32, 8)
    assert spread_and_rank(torch.stack((z, torch.ones_like(z)), 1)) == spread_and_rank(z)
