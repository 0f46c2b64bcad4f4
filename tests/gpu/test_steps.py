"""Training steps on the device: the same weights as on the CPU, no waiting, memory measured and its end named, resumed bit for bit."""

import copy

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_map_only

from helpers.core.errors import TrainingStopped, UserError
from helpers.data import Batches, Split
from helpers.methods import METHODS, StepBatch, method_options
from helpers.models import build_encoder
from helpers.training import Stopped, Training, TrainSettings
from helpers.training.optimizers import build_optimizer
from helpers.views import RECIPES, make_views

CPU = torch.device("cpu")
GIVEN = {"classes": 10, "images": torch.arange(96)}  # what a run tells the methods that ask for it
FEW = {"moco_v1": {"queue": 64}, "moco_v2": {"queue": 64}, "swav": {"prototypes": 64, "queue": 64}}  # for 96 images in batches of 16
LOOSE = {"barlow_twins": 0.3}  # it divides by the deviations of a batch, which are small in one of 16 images
NETS = {"resnet_tiny": "auto", "vit_micro": "patch8"}


def split(count=96):
    rng = np.random.default_rng(0)
    return Split(rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), np.arange(count) % 10)


def make(name, encoder="resnet_tiny", seed=0):
    torch.manual_seed(seed)
    net, recipe = build_encoder(encoder, 32, stem=NETS[encoder]), METHODS[name].card.recipe
    views = make_views(recipe, 32, **({"small": 0} if RECIPES[recipe].small and not net.takes_any_size else {}))
    options = {key: value for key, value in GIVEN.items() if key in method_options(name)} | FEW.get(name, {})
    try:
        method = METHODS[name](net, views, **options)
    except UserError as refusal:  # which nets a method refuses, its own tests say
        pytest.skip(str(refusal))
    for module in method.modules():  # timm starts each residual branch at zero, where no gradient enters it
        if isinstance(module, torch.nn.BatchNorm2d) and not module.weight.any():
            torch.nn.init.ones_(module.weight)
    return method


def training(method, device, batch=16, folder=None, **changes):
    settings = TrainSettings(**({"epochs": 2, "optimizer": "sgd", "rate": 0.02, "precision": "fp32", "checkpoint_seconds": 0.0} | changes))
    run = Training(method, Batches(split(), batch, device, seed=0), settings, device, folder=folder)
    run.method.train()
    return run


def one_step(method, device, precision):
    """The update of every weight and statistic by a step on inputs that were drawn on the CPU, and its loss."""
    method = copy.deepcopy(method)
    before = {key: value.double() for key, value in method.state_dict().items() if isinstance(value, torch.Tensor)}
    draw = torch.Generator().manual_seed(0)
    images, labels = (torch.from_numpy(array[:16]) for array in (split().images, split().labels))
    step_batch = StepBatch(torch.arange(16), labels if method.needs_labels else None, 0.0, draw)
    inputs = method.prepare(method.views(images, draw), step_batch)
    run = training(method, device, precision=precision)
    there = tree_map_only(torch.Tensor, lambda x: x.to(device), (inputs, vars(step_batch) | {"generator": None}))
    run._inputs = lambda batch, part: (there[0], StepBatch(**there[1]))
    run.take([None])
    after = method.state_dict()
    return {key: after[key].double().cpu() - value for key, value in before.items()}, run.losses[0].item()


def distance(one, other):
    """How far two sets of updates are apart, as a share of their length."""
    one, other = (torch.cat([update.flatten() for key, update in each.items() if "num_batches" not in key]) for each in (one, other))
    return ((one - other).norm() / other.norm()).item()


@pytest.mark.parametrize("encoder", NETS)
@pytest.mark.parametrize("name", METHODS)
def test_a_step(name, encoder, device):
    method = make(name, encoder)
    exact, loss = one_step(method, CPU, "plain")
    ours, our_loss = one_step(method, device, "fp32")
    assert our_loss == pytest.approx(loss, rel=1e-4, abs=1e-4)
    assert distance(ours, exact) < 2e-3
    halved, half_loss = one_step(method, device, "bf16")
    print(f"{name} on {encoder}: bf16 is {half_loss - loss:.2g} off in the loss, {distance(halved, exact):.2g} in the update")
    assert half_loss == pytest.approx(loss, rel=0.02, abs=0.01)
    assert distance(halved, exact) < LOOSE.get(name, 0.06)


def test_the_distance_of_updates_can_be_large():
    exact, _ = one_step(make("simclr"), CPU, "plain")
    other, _ = one_step(make("simclr", seed=1), CPU, "plain")
    assert distance(other, exact) > 0.5


@pytest.mark.parametrize("precision", ["auto", "plain"])
@pytest.mark.parametrize("name", METHODS)
def test_a_step_waits_for_nothing(name, precision, device, no_waiting):
    run = training(make(name), device, precision=precision, optimizer="adamw")
    stream = run.batches.epoch(0)
    run.take([next(stream)])
    batch = next(stream)
    with no_waiting:
        run.take([batch])
    assert run.step == 2 and torch.stack(run.losses).isfinite().all()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "radam", "lamb", "lars", "muon"])
def test_no_optimizer_waits(optimizer, device, no_waiting):
    run = training(make("simclr"), device, optimizer=optimizer)
    stream = run.batches.epoch(0)
    run.take([next(stream)])
    batch = next(stream)
    with no_waiting:
        run.take([batch])
    assert run.step == 2


def test_shortening_gradients_waits_for_nothing(device, no_waiting):
    run = training(make("simclr"), device, clip_gradients=1e-3)
    stream = run.batches.epoch(0)
    run.take([next(stream)])
    batch = next(stream)
    with no_waiting:
        run.take([batch])
    length = torch.stack([p.grad.norm() for p in run.method.parameters() if p.grad is not None]).norm()
    assert length.item() == pytest.approx(1e-3, rel=1e-2)


def test_accumulation_waits_for_nothing(device, no_waiting):
    run = training(make("simclr"), device, accumulate=2)
    stream = run.batches.epoch(0)
    run.take([next(stream), next(stream)])
    group = [next(stream), next(stream)]
    with no_waiting:
        run.take(group)
    assert run.step == 2


def weights_of(run):
    return {key: value.clone().cpu() for key, value in run.method.state_dict().items()}


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_a_checkpoints_counters_go_where_the_fused_step_wants_them(optimizer):
    """Checkpoints are read on the CPU. No GPU is needed to see whether what comes from there stays there."""
    here = [torch.nn.Parameter(torch.randn(4, 4)), torch.nn.Parameter(torch.randn(4))]
    before = build_optimizer(optimizer, [{"params": here}], rate=1e-3)
    for parameter in here:
        parameter.grad = torch.ones_like(parameter)
    before.step()
    there = [torch.nn.Parameter(parameter.detach().to("meta")) for parameter in here]
    after = build_optimizer(optimizer, [{"params": there}], rate=1e-3)
    after.load_state_dict(before.state_dict())
    assert {value.device.type for state in after.state.values() for value in state.values()} == {"meta"}


@pytest.mark.parametrize(("precision", "optimizer"), [("bf16", "adamw"), *(("fp32", o) for o in ("sgd", "radam", "lamb", "lars", "muon"))])
def test_a_resumed_run_is_the_run_left_alone(tmp_path, precision, optimizer, device, same_every_time):
    options = {"optimizer": optimizer, "precision": precision, "rate": 1e-3}
    alone = training(make("simclr"), device, **options)
    alone.run()
    stopped = training(make("simclr"), device, folder=tmp_path, **options)
    stopped.stop = lambda: "the test says so" if stopped.step >= 8 else None
    with pytest.raises(Stopped):
        stopped.run()
    again = training(make("simclr", seed=1), device, folder=tmp_path, **options)
    again.run()
    assert again.resumed_at == 8 and again.step == alone.step
    expected, found = weights_of(alone), weights_of(again)
    assert [key for key in expected if not torch.equal(expected[key], found[key])] == []


@pytest.mark.parametrize(("name", "encoder"), [*((name, "resnet_tiny") for name in METHODS), ("dino", "vit_micro")])
def test_a_step_has_deterministic_kernels(name, encoder, device, same_every_time, recwarn):
    """What has none is named by torch in a warning; a run that meets it is not resumed bit for bit."""
    run = training(make(name, encoder), device)
    run.take([next(run.batches.epoch(0))])
    assert [str(warning.message) for warning in recwarn if "deterministic" in str(warning.message)] == []


def test_memory_that_is_spent_is_named_with_the_batch_size(device):
    run = training(make("simclr"), device)

    def hungry(images, generator):
        return [torch.empty(2**50, device=device)]  # four petabytes

    run.method.views = hungry
    with pytest.raises(TrainingStopped, match="out of memory at batch size 16, step 1.*training.batch_size.*accumulate"):
        run.take([next(run.batches.epoch(0))])
    run.method.views = make_views("contest", 32)
    run.take([next(run.batches.epoch(0))])  # nothing is lost: the device goes on with what fits
    assert run.step == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_bf16_takes_less_memory_than_plain():
    peaks = {}
    for precision in ("plain", "bf16"):
        run = training(make("simclr"), torch.device("cuda"), batch=96, precision=precision)
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        run.take([next(run.batches.epoch(0))])
        peaks[precision] = torch.cuda.max_memory_allocated() - held
    print({precision: f"{peak / 2**20:.0f} MiB" for precision, peak in peaks.items()})
    assert 0 < peaks["bf16"] < peaks["plain"]
