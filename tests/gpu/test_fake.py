"""Training steps and readouts on a card that is not there: nothing is mixed with the host, nothing waited for, whatever the method."""

import copy
import functools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from helpers.core.errors import UserError
from helpers.data import Batches, Split
from helpers.evaluation import features, knn, linear, metrics
from helpers.methods import METHODS, method_options
from helpers.models import build_encoder
from helpers.training import OPTIMIZERS, Training, TrainSettings, loop
from helpers.training.watch import spread_and_rank
from helpers.views import RECIPES, make_views
from tests.gpu.fake_card import CARD, Draws, Waits, backward, moved, pretended, watched

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card: test_steps.py and test_parts.py run on it")
GIVEN = {"classes": 10, "images": torch.arange(32)}
FEW = {"moco_v1": {"queue": 16}, "moco_v2": {"queue": 16}, "swav": {"prototypes": 16, "queue": 16}}  # for 32 images in batches of 8
NETS = {"resnet_tiny": {}, "vit_micro": {"stem": "patch8", "depth": 1}}
CASES = [(name, net, "auto") for net in NETS for name in METHODS] + [(name, "resnet_tiny", "plain") for name in ("simclr", "sit", "dino")]


@pytest.fixture
def card(monkeypatch):
    """The mode in which there is a card; generators of the loop and of fine-tuning are said to lie on it."""
    monkeypatch.setattr(loop, "generator", lambda device, *keys: Draws())
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(L2_cache_size=50 * 2**20))  # timm asks
    with pretended(monkeypatch) as mode:
        yield mode


def split(count=32):
    return Split(np.zeros((count, 3, 32, 32), np.uint8), np.arange(count) % 10)


@functools.cache
def built(name, encoder, **options):
    """Outside the mode, with content; or the words with which a method refuses the net, which its own tests check."""
    net, recipe = build_encoder(encoder, 32, **NETS[encoder]), METHODS[name].card.recipe
    views = make_views(recipe, 32, **({"small": 0} if RECIPES[recipe].small and not net.takes_any_size else {}))
    options = {key: value for key, value in GIVEN.items() if key in method_options(name)} | FEW.get(name, {}) | options
    try:
        return METHODS[name](net, views, **options)
    except UserError as refusal:
        return str(refusal)


def method_of(name, encoder="resnet_tiny", kind=None, plain=False, **options):
    with torch.utils._python_dispatch._disable_current_modes():
        method = built(name, encoder, **options)
        if isinstance(method, str):
            pytest.skip(method)
        method = copy.deepcopy(method)
    method.__class__ = kind or method.__class__
    return moved(method, plain)


def stepped(method, steps=1, **settings):
    """So many steps of a run under watch, everything before them unwatched: that much may be sent to a card once a run or epoch."""
    given = {"epochs": 2, "optimizer": "adamw", "rate": 1e-3} | settings
    run = Training(method, Batches(split(), 8, CARD, resident=True), TrainSettings(**given), CARD)
    run.method.train()
    stream = run.batches.epoch(0)
    for _ in range(steps):
        group = [next(stream) for _ in range(run.settings.accumulate)]
        with watched():
            run.take(group)
    return run


def on_card(run):
    """That all a step leaves behind lies on the card, and that every weight got its gradient."""
    kept = [*run.losses, *run.logs[-1].values(), run.embedding, *run.method.state_dict().values()]
    assert {value.device for value in kept if isinstance(value, torch.Tensor)} == {CARD}
    trained = [(name, p) for name, p in run.method.named_parameters() if p.requires_grad]
    assert trained and [name for name, p in trained if p.grad is not None and p.grad.device != CARD] == []
    assert any(p.grad is not None for _, p in trained)


@pytest.mark.parametrize(("name", "encoder", "precision"), CASES)
def test_a_step(name, encoder, precision, card):
    run = stepped(method_of(name, encoder, plain=precision == "plain"), precision=precision)
    on_card(run)
    assert run.step == 1 and run.losses[0].shape == ()


@pytest.mark.parametrize("changes", [{"average": 0.9}, {"sizes": ((0.0, 16), (0.5, 32))}, {"clip_gradients": 3.0}])
def test_levers_of_a_run(changes, card):
    on_card(stepped(method_of("simclr"), steps=2, **changes))


def test_sit_as_released(card):
    on_card(stepped(method_of("sit", "vit_micro", released=True)))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers(optimizer, card):
    run = stepped(method_of("simclr"), steps=2, optimizer=optimizer, weight_decay=0.1)
    on_card(run)
    assert run.optimizer.state


def test_accumulation(card):
    on_card(stepped(method_of("moco_v2"), accumulate=2))


def test_the_signs_of_collapse_are_read_once(card):
    """What comes before the one look at the end is on the card, or another error would be raised."""
    run = stepped(method_of("simclr"))
    with watched(), pytest.raises(DataDependentOutputException, match="_local_scalar_dense") as found:
        spread_and_rank(run.embedding)
    assert any("tolist" in str(entry.statement) for entry in found.traceback)


@pytest.mark.parametrize("encoder", NETS)
def test_reading_features(encoder, card, monkeypatch):
    method, read = method_of("simclr", encoder).eval(), Batches(split(), 8, CARD, resident=True).in_order()
    given = list(read)  # the split is sent once; behind it nothing is
    monkeypatch.setattr(features, "Batches", lambda *parts, **how: SimpleNamespace(in_order=lambda: iter(given)))
    with watched(), torch.no_grad():
        x, y = features._extracted(method.encoder, method.views, split(), CARD, None, 32, 8, "auto")
    assert x.device == y.device == CARD and x.shape == (32, method.encoder.width) and x.dtype == torch.float32


def test_nearest_neighbours(card):
    train, test, labels = (torch.empty(*shape, device=CARD) for shape in ((3000, 64), (400, 64), (3000,)))
    with watched():
        found = knn.predict_many(train, labels.long(), test, [(10, None), (200, 0.1)], 10)
    assert [(each.device, each.shape) for each in found] == [(CARD, (400,))] * 2


def test_a_linear_probe(card, monkeypatch):
    """Its search looks at every loss, so it cannot be walked; the parts that it looks at can: nothing in them lies on the host."""

    class Once:
        def __init__(self, parameters, **settings):
            self.parameters = parameters

        def zero_grad(self):
            pass

        def step(self, loss):
            assert loss().device == CARD and {each.grad.device for each in self.parameters} == {CARD}

    monkeypatch.setattr(linear, "_axes", torch.linalg.eigh)
    monkeypatch.setattr(torch.optim, "LBFGS", Once)
    x, y = torch.empty(300, 64, device=CARD), torch.empty(300, dtype=torch.long, device=CARD)
    mean, std = linear.scales(x)
    regression = linear.Regression((x - mean) / std, y, 10)
    held = linear.in_folds(y, 5, 0)[0]
    fitted = regression.fit(linear.WEIGHT_DECAYS, torch.ones(300, device=CARD), 1)
    scores = regression.scores(x[held], linear.WEIGHT_DECAYS, fitted)
    assert held.device == scores.device == CARD and scores.shape == (6, 60, 10)
    assert metrics.ranks(scores[0], y[held]).device == CARD


class WithHost(METHODS["simclr"]):
    def criterion(self, outputs, batch):
        loss, logs = super().criterion(outputs, batch)
        return loss + torch.ones(3).to(loss.device).sum(), logs


class WithMixed(METHODS["simclr"]):
    def criterion(self, outputs, batch):
        loss, logs = super().criterion(outputs, batch)
        return loss + torch.ones(3).sum(0, keepdim=True), logs


class WithNumbers(METHODS["simclr"]):
    def criterion(self, outputs, batch):
        loss, logs = super().criterion(outputs, batch)
        return loss * torch.tensor([1.0, 2.0], device=loss.device).mean(), logs


class WithRead(METHODS["simclr"]):
    def criterion(self, outputs, batch):
        loss, logs = super().criterion(outputs, batch)
        return loss / max(loss.item(), 1.0), logs


class WithChoice(METHODS["simclr"]):
    def criterion(self, outputs, batch):
        loss, logs = super().criterion(outputs, batch)
        return loss + outputs["z"][outputs["z"] > 0].mean(), logs


class WithFetched(METHODS["simclr"]):
    def after_step(self, progress):
        self.seen = next(self.parameters()).detach().cpu()


class WithRows(METHODS["simclr"]):
    def prepare(self, views, batch):
        return [view[torch.randperm(len(view))] for view in views]


class WithDraws(METHODS["simclr"]):
    def prepare(self, views, batch):
        return [view + torch.randn(view.shape, device=view.device, generator=torch.Generator()) for view in views]


@pytest.mark.parametrize(
    ("kind", "error", "named"),
    [
        (WithHost, Waits, "_to_copy.*between the host and the card"),
        (WithMixed, Exception, "cuda.*cpu"),
        (WithNumbers, Waits, "tensor sends numbers"),
        (WithRead, DataDependentOutputException, "_local_scalar_dense"),
        (WithChoice, DynamicOutputShapeException, "nonzero"),
        (WithFetched, Waits, "_to_copy.*between the host and the card"),
        (WithRows, Waits, "index.*between the host and the card"),
        (WithDraws, Waits, "randn on cuda with a generator on cpu"),
    ],
)
def test_a_method_that_waits_or_mixes_is_caught_by_name(kind, error, named, card):
    with pytest.raises(error, match=named):
        stepped(method_of("simclr", kind=kind))


def test_the_backward_pass_is_that_of_torch(monkeypatch):
    """Walked node by node, every gradient is the engine's but for rounding: on the host, where both can be had."""
    method = METHODS["simclr"](build_encoder("resnet_tiny", 32), make_views("contest", 32))
    images = [torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    found = []
    for walk in (torch.Tensor.backward, backward):
        method.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = method.embed(images)
        walk(method.criterion(outputs, None)[0])
        found.append({name: p.grad for name, p in method.named_parameters()})
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-6)
