"""Muon: orthogonal updates of matrices and kernels, AdamW for the rest, and a state that survives a resume bit for bit."""

import copy

import pytest
import torch
from torch import nn

from helpers.training.muon import RMS, Muon, is_matrix, orthogonalised
from helpers.training.optimizers import build_optimizer, set_rate


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 5)
    ).to(memory_format=torch.channels_last)


def optimizer(model: nn.Module, **settings) -> Muon:
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "decay": True},
        {"params": [p for p in parameters if p.ndim <= 1], "decay": False},
    ]
    return build_optimizer("muon", groups, rate=0.01, **settings)


def step(model: nn.Module, opt: Muon, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    opt.zero_grad()
    model(torch.randn(4, 3, 8, 8, generator=draw)).square().mean().backward()
    opt.step()


@pytest.mark.parametrize("shape", [(3, 16, 64), (2, 64, 16), (1, 32, 32), (1, 10, 1)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    torch.manual_seed(1)
    x = torch.randn(shape) * 7
    update = orthogonalised(x)
    values = torch.linalg.svdvals(update)
    upper = values if shape[1] != shape[2] else values[:, : shape[1] * 3 // 4]  # the smallest of a square matrix may be nearly zero
    assert ((upper - 1).abs() < 0.35).all()
    u, _, vh = torch.linalg.svd(x, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(update.flatten(1), (u @ vh).flatten(1)).min() > 0.9
    assert update.shape == x.shape and update.dtype == x.dtype


def test_only_a_training_in_bf16_orthogonalises_in_bf16():
    groups = [{"params": list(net().parameters())}]
    found = {kind: build_optimizer("muon", groups, rate=0.1, precision=kind).half for kind in ("bf16", "fp32", "plain")}
    assert found == {"bf16": True, "fp32": False, "plain": False}
    torch.manual_seed(1)
    x = torch.randn(2, 16, 64)
    exact, rounded = orthogonalised(x), orthogonalised(x, half=True)
    assert not torch.equal(exact, rounded) and (exact - rounded).norm() < 0.02 * exact.norm()


def test_a_gradient_of_zero_moves_nothing_and_gives_no_nan():
    assert torch.equal(orthogonalised(torch.zeros(2, 4, 6)), torch.zeros(2, 4, 6))


def test_matrices_and_kernels_are_muons_the_rest_is_adamws():
    model = net()
    assert [is_matrix(p) for p in model.parameters()] == [True, False, False, False, False, False, True, False]
    opt = optimizer(model, weight_decay=0.1)
    found = {(group["matrices"], group["weight_decay"]): len(group["params"]) for group in opt.param_groups}
    assert found == {(True, 0.1): 2, (False, 0.1): 1, (False, 0.0): 5}
    step(model, opt, 0)
    assert set(opt.state[model[0].weight]) == {"momentum_buffer"}
    assert set(opt.state[model[2].weight]) == {"step", "exp_avg", "exp_avg_sq"}


def test_a_kernel_moves_by_the_scaled_orthogonal_update_whatever_its_layout():
    model = net()
    before = model[0].weight.detach().clone()
    step(model, optimizer(model), 0)
    moved = (before - model[0].weight).detach().reshape(8, 27) / (0.01 * RMS * 27**0.5)
    assert torch.allclose(moved, orthogonalised(model[0].weight.grad.reshape(1, 8, 27))[0], atol=1e-4)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_weight_decay_is_decoupled_and_spares_biases():
    plain, decayed = net(), net()
    step(plain, optimizer(plain), 0)
    step(decayed, optimizer(decayed, weight_decay=0.5), 0)
    start = net()[5]
    assert torch.allclose(plain[5].weight - decayed[5].weight, 0.01 * 0.5 * start.weight, atol=1e-6)
    assert torch.equal(plain[5].bias, decayed[5].bias)


def test_the_rest_takes_torchs_adamw_step():
    torch.manual_seed(0)
    ours, theirs = nn.Parameter(torch.randn(7)), None
    theirs = nn.Parameter(ours.detach().clone())
    a = Muon([{"params": [ours], "weight_decay": 0.1}], lr=0.01, momentum=0.9)
    b = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.999), weight_decay=0.1)
    for seed in range(3):
        ours.grad = torch.randn(7, generator=torch.Generator().manual_seed(seed))
        theirs.grad = ours.grad.clone()
        a.step()
        b.step()
    assert torch.allclose(ours, theirs, atol=1e-7)


def test_a_resume_goes_on_bit_for_bit():
    model = net()
    opt = optimizer(model, weight_decay=0.01)
    for seed in range(3):
        step(model, opt, seed)
    kept, state = copy.deepcopy(model), copy.deepcopy(opt.state_dict())
    resumed = optimizer(kept, weight_decay=0.01)
    resumed.load_state_dict(state)
    for seed in range(3, 6):
        set_rate(opt, 0.005, 0.93)
        set_rate(resumed, 0.005, 0.93)
        step(model, opt, seed)
        step(kept, resumed, seed)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), kept.parameters(), strict=True))


def test_the_schedules_momentum_reaches_both_halves():
    opt = optimizer(net())
    set_rate(opt, 0.002, 0.88)
    assert all(group["lr"] == 0.002 for group in opt.param_groups)
    assert {group["momentum"] if group["matrices"] else group["betas"][0] for group in opt.param_groups} == {0.88}
    assert all("betas" not in group for group in opt.param_groups if group["matrices"])


def test_it_learns_a_linear_map():
    torch.manual_seed(0)
    model, target = nn.Linear(10, 6), nn.Linear(10, 6)
    opt = Muon([{"params": list(model.parameters()), "weight_decay": 0.0}], lr=0.05)
    x = torch.randn(64, 10)
    losses = []
    for _ in range(60):
        opt.zero_grad()
        loss = (model(x) - target(x)).square().mean()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]
