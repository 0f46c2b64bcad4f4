"""torch.compile and, on CUDA, whole steps as one graph of launches: the same numbers as without, compiled once a process."""

import shutil

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from helpers.core.errors import UserError
from helpers.data import Batches, Split
from helpers.evaluation import extract
from helpers.methods import METHODS, method_options
from helpers.models import build_encoder
from helpers.training import Stopped, Training, TrainSettings
from helpers.views import RECIPES, Views, ViewSettings, make_views

CUDA = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
NO_COMPILER = shutil.which("g++") is None and shutil.which("c++") is None
CPU = [pytest.mark.slow, pytest.mark.skipif(NO_COMPILER, reason="torch.compile needs a C++ compiler on a CPU")]
FEW = {"moco_v1": {"queue": 64}, "moco_v2": {"queue": 64}, "swav": {"prototypes": 64, "queue": 64}}  # for 112 images in batches of 16
STEPS = 7  # of graphs the first runs without, the second records, the others replay


def split(count=16 * STEPS):
    rng = np.random.default_rng(0)
    return Split(rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), np.arange(count) % 10)


def training(device, name="simclr", encoder="vit_micro", folder=None, seed=0, **changes):
    torch.manual_seed(seed)
    net = build_encoder(encoder, 32, stem="patch8" if encoder == "vit_micro" else "auto")
    recipe = METHODS[name].card.recipe
    views = make_views(recipe, 32, **({"small": 0} if RECIPES[recipe].small and not net.takes_any_size else {}))
    given = {"classes": 10, "images": torch.arange(len(split()))}
    options = {key: value for key, value in given.items() if key in method_options(name)} | FEW.get(name, {})
    try:
        method = METHODS[name](net, views, **options)
    except UserError as refusal:  # which nets a method refuses, its own tests say
        pytest.skip(str(refusal))
    settings = TrainSettings(**({"epochs": 2, "optimizer": "sgd", "rate": 0.02, "precision": "fp32", "checkpoint_seconds": 0.0} | changes))
    return Training(method, Batches(split(), 16, device, seed=0), settings, device, folder=folder)


def followed(run, device):
    """The loss of each step of an epoch and the weights behind it; half-way the encoder is asked for features, as a probe does."""
    run.method.views.compiled = False  # they have a test of their own
    run.method.train()
    size = run.settings.accumulate
    group = []
    for batch in run.batches.epoch(0):
        group.append(batch)
        if len(group) == size:
            run.take(group)
            group = []
        if run.step == 3 and not group:
            extract(run.method.encoder, run.method.views, split(), device=device, precision=run.settings.precision)
    weights = torch.cat(
        [
            value.double().flatten()
            for key, value in run.method.state_dict().items()
            if "num_batches" not in key and isinstance(value, torch.Tensor)
        ]
    )
    return torch.stack(run.losses).double().cpu(), weights.cpu()


CASES = [
    pytest.param("cpu", "simclr", "vit_micro", "fp32", 1, marks=CPU),
    *(pytest.param("cuda", name, "vit_micro", "fp32", 1, marks=CUDA) for name in METHODS),
    *(pytest.param("cuda", name, "resnet_tiny", "fp32", 1, marks=CUDA) for name in METHODS),
    pytest.param("cuda", "simclr", "resnet_tiny", "bf16", 1, marks=CUDA),
    pytest.param("cuda", "simclr", "resnet_tiny", "fp32", 2, marks=CUDA),
]


@pytest.mark.parametrize(("device", "name", "encoder", "precision", "accumulate"), CASES)
def test_compiled_steps_are_the_steps(device, name, encoder, precision, accumulate):
    device = torch.device(device)
    options = {"name": name, "encoder": encoder, "precision": precision, "accumulate": accumulate}
    losses, weights = followed(training(device, **options), device)
    counters.clear()
    for again in range(2):
        ours, our_weights = followed(training(device, compile=True, **options), device)
        tolerance = 1e-3 if precision == "fp32" else 0.03
        torch.testing.assert_close(ours, losses, rtol=tolerance, atol=0)  # a loss that a replay overwrote would repeat another's
        assert ((our_weights - weights).norm() / weights.norm()).item() < tolerance
        if again == 0:
            graphs = counters["stats"]["unique_graphs"]
            assert graphs > 0, "nothing was compiled"
    assert counters["stats"]["unique_graphs"] == graphs, "the second run of a net finds the first one's code"
    assert not counters["graph_break"] and counters["inductor"]["cudagraph_skips"] == 0
    assert len(set(losses.tolist())) == len(losses) == STEPS // accumulate


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=CPU), pytest.param("cuda", marks=CUDA)])
def test_a_resumed_compiled_run_is_the_run_left_alone(tmp_path, device):
    device = torch.device(device)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        alone = training(device, compile=True)
        alone.run()
        stopped = training(device, compile=True, folder=tmp_path)
        stopped.stop = lambda: "the test says so" if stopped.step >= 10 else None
        with pytest.raises(Stopped):
            stopped.run()
        again = training(device, compile=True, folder=tmp_path, seed=1)
        again.run()
    finally:
        torch.use_deterministic_algorithms(False)
    expected, found = alone.method.state_dict(), again.method.state_dict()
    assert again.resumed_at == 10
    assert [key for key in expected if not torch.equal(expected[key], found[key])] == []


EVERYTHING = ViewSettings(
    shift=0.1, crop_scale=(0.2, 1), flip=0.5, quarter_turns=True, rotation=30, jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.4,
    hue=0.1, grey=0.2, blur=0.5, solarize=0.2, sobel=0.3, noise=0.5, cutout=0.5,
)  # fmt: skip


def launches(work):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    return sum(event.count for event in profile.key_averages() if event.device_type == torch.autograd.DeviceType.CUDA)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("settings", [RECIPES["contest"], EVERYTHING], ids=["contest", "everything"])
def test_compiled_views_on_cuda(settings):
    images = torch.from_numpy(split().images).cuda()
    made, count = [], []
    for compiled in (False, True):
        views, drawing = Views(settings, 32), torch.Generator("cuda")
        views.compiled = compiled
        made.append(torch.cat(views(images, drawing.manual_seed(0))))
        assert views.compiled == compiled, "it fell back"
        count.append(launches(lambda views=views, drawing=drawing: views(images, drawing)))
        torch.cuda.set_sync_debug_mode("error")
        try:
            views(images, drawing)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    print(f"launches: {count[0]} one by one, {count[1]} compiled")
    off = (made[0] - made[1]).abs().flatten(1).amax(1) > 1e-3  # a rounding at a threshold
    assert off.float().mean() <= 0.02
    assert count[1] < count[0] / 3
