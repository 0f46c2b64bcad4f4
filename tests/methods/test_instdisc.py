"""InstDisc: softmax and noise contrast over the memory, the memory itself, and its rows."""

import math

import pytest
import torch
import torch.nn.functional as F

from helpers.core.errors import UserError
from helpers.methods.losses import instance_discrimination, instance_nce, proximal

STEMS = {"resnet_tiny": "stride2", "vit_micro": "patch8", "convnext_micro": "patch4"}
ROWS = torch.tensor([3, 0, 4, 1])


def instdisc(contract, encoder="resnet_tiny", images=48, **options):
    images = torch.arange(images) if isinstance(images, int) else images
    return contract.make("instdisc", encoder, stem=STEMS.get(encoder, "auto"), images=images, **({"out": 16} | options))


def embeddings():
    torch.manual_seed(0)
    return torch.randn(4, 6, requires_grad=True), torch.randn(5, 6, requires_grad=True)


def share(z, row, temperature):
    return math.exp(F.cosine_similarity(z.double(), row.double(), dim=0).item() / temperature)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_the_full_softmax_equals_a_slow_loop(temperature):
    z, bank = embeddings()
    shares = [[share(x, row, temperature) for row in bank] for x in z]
    expected = -sum(math.log(row[at] / sum(row)) for row, at in zip(shares, ROWS.tolist(), strict=True)) / 4
    assert instance_discrimination(z * 7, ROWS, bank, temperature).item() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    same = torch.ones(4, 6)
    assert instance_discrimination(same, ROWS, torch.ones(5, 6), temperature).item() == pytest.approx(math.log(5), rel=1e-6)


@pytest.mark.parametrize("constant", [0.0, 11.0])
def test_noise_contrast_equals_a_slow_loop(constant):
    z, bank = embeddings()
    noise, temperature, count = torch.tensor([[0, 1, 2], [2, 2, 4], [3, 0, 1], [4, 4, 4]]), 0.5, len(bank)
    drawn = [[share(x, bank[at], temperature) for at in row] for x, row in zip(z, noise.tolist(), strict=True)]
    big_z = constant or count * sum(map(sum, drawn)) / 12
    total = 0.0
    for x, at, others in zip(z, ROWS.tolist(), drawn, strict=True):
        of_noise = 3 / count  # K times the probability of any row
        own = share(x, bank[at], temperature) / big_z
        total -= math.log(own / (own + of_noise)) + sum(math.log(1 - (p / big_z) / (p / big_z + of_noise)) for p in others)
    loss, used = instance_nce(z, ROWS, noise, bank, temperature, torch.tensor(constant))
    assert loss.item() == pytest.approx(total / 4, rel=1e-5)
    assert used.item() == pytest.approx(big_z, rel=1e-5)


def test_the_proximal_term_is_the_squared_distance_from_the_row():
    z, bank = embeddings()
    expected = sum(2 - 2 * F.cosine_similarity(x, bank[at], dim=0).item() for x, at in zip(z, ROWS.tolist(), strict=True)) / 4
    assert proximal(z, ROWS, bank).item() == pytest.approx(expected, rel=1e-5)
    assert proximal(bank[ROWS] * 3, ROWS, bank).item() == pytest.approx(0, abs=1e-6)


def test_the_losses_stop_at_the_memory_and_are_float32_under_autocast():
    z, bank = embeddings()
    noise = torch.tensor([[0, 1]] * 4)
    for loss in (
        lambda: instance_discrimination(z, ROWS, bank, 0.07),
        lambda: instance_nce(z, ROWS, noise, bank, 0.07, torch.zeros(()))[0],
        lambda: proximal(z, ROWS, bank),
    ):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss()
        assert torch.equal(value, loss()) and value.dtype == torch.float32
        value.backward()
        assert z.grad.isfinite().all() and z.grad.abs().sum() > 0 and bank.grad is None


@pytest.mark.parametrize("encoder", ["resnet_tiny", "vit_micro", "convnext_micro", "mobilenetv2"])
def test_gradients_reach_every_parameter(contract, encoder):
    assert contract.gradients(instdisc(contract, encoder, proximal=1.0)) == []


@pytest.mark.parametrize("options", [{}, {"nce": 16}, {"views": {"count": 1}}])
def test_a_batch_of_32_trains(contract, options):
    assert contract.gradients(instdisc(contract, **options), 32) == []


def test_an_image_finds_its_row_among_the_training_images_and_only_that_row_moves(contract):
    method = instdisc(contract, images=torch.arange(0, 96, 2), momentum=0.5).train()
    views, batch = contract.step(method)
    batch.indices = torch.tensor([94, 0, 2, 40, 42, 6, 10, 8])
    rows = batch.indices // 2
    outputs = method.embed(method.prepare(views, batch))
    loss, _ = method.criterion(outputs, batch)
    expected = instance_discrimination(outputs["z"].flatten(0, 1), rows.repeat_interleave(2), method.memory, 0.1)
    assert torch.equal(loss, expected)
    before = method.memory.clone()
    method.after_step(0.1)
    embedded = F.normalize(F.normalize(outputs["z"].detach(), dim=2).mean(1), dim=1)
    assert torch.allclose(method.memory[rows], F.normalize(before[rows] * 0.5 + embedded * 0.5, dim=1), atol=1e-6)
    untouched = [row for row in range(48) if row not in rows.tolist()]
    assert torch.equal(method.memory[untouched], before[untouched])
    assert torch.allclose(method.memory.norm(dim=1), torch.ones(48), atol=1e-5)


def test_z_of_nce_is_estimated_once_and_kept(contract):
    method = instdisc(contract, nce=32).train()
    views, batch = contract.step(method)
    method.loss(views, batch)
    assert method.constant == 0  # until the step is taken
    method.after_step(0.1)
    first = method.constant.clone()
    assert first > 0
    method.loss(*contract.step(method, seed=1))
    method.after_step(0.2)
    assert torch.equal(method.constant, first)


def test_noise_is_new_every_step_and_a_function_of_the_batchs_generator(contract):
    method = instdisc(contract, nce=32)
    views, batch = contract.step(method)
    one, two = (method.prepare(views, batch)["noise"] for _ in range(2))
    assert one.shape == (8, 32) and one.max() < 48 and not torch.equal(one, two)
    assert torch.equal(one, method.prepare(*contract.step(method))["noise"])


def test_the_proximal_term_is_weighed_and_logged(contract):
    plain, held = instdisc(contract), instdisc(contract, proximal=3.0)
    loss, logs = held.loss(*contract.step(held))
    assert loss.item() == pytest.approx(plain.loss(*contract.step(plain))[0].item() + 3 * logs["proximal"].item(), rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"nce": 16, "proximal": 1.0}])
def test_a_stop_in_mid_epoch_changes_nothing(contract, options, tmp_path):
    assert contract.survives(lambda: instdisc(contract, **options), tmp_path) == []
    assert {"memory", "constant"} <= instdisc(contract).state_dict().keys()


def test_bad_input_is_named(contract):
    with pytest.raises(UserError, match="built for 48 images and is given 50"):
        instdisc(contract).check(images=50, batch_size=8)
    with pytest.raises(UserError, match="nce = 48.*48 training images"):
        instdisc(contract, nce=48)
    for images in (torch.tensor([3, 1, 2]), torch.tensor([1, 1, 2]), torch.tensor([5])):
        with pytest.raises(UserError, match="rising, each once"):
            instdisc(contract, images=images)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"nce": 256, "temperature": 0.2}])
def test_it_learns(contract, options):
    """Where colour means something and the view keeps it: in these few steps no method could find shapes instead."""

    def build():
        views = {"count": 1, "hue": 0, "grey": 0}
        return contract.make("instdisc", size=16, stem="stride2", views=views, images=torch.arange(1000), **options)

    before, after = contract.learns(build, epochs=10, batch_size=32, train=1000, size=16, colour_means=True)
    print(f"InstDisc {options}: kNN {before:.1f} -> {after:.1f}")  # measured 30.0 -> 49.6 and 43.8
    assert after > before + 10
