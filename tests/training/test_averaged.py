"""The averaged encoder, and views that grow: what they are, that nothing else changes, and that a resumed run is the run left alone."""

import numpy as np
import pytest
import torch

from helpers.core.errors import UserError
from helpers.data import Batches, Split
from helpers.methods import METHODS
from helpers.methods.losses import multi_view_nt_xent
from helpers.models import build_encoder
from helpers.runs.config import RunConfig
from helpers.training import Stopped, Training, TrainSettings
from helpers.training.averaged import Averaged
from helpers.training.growing import mean_area, side_at
from helpers.views import make_views

CPU = torch.device("cpu")


def training(folder=None, seed=0, encoder="resnet_tiny", views=None, method="simclr", **changes):
    torch.manual_seed(seed)
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (48, 3, 32, 32), dtype=np.uint8), np.arange(48) % 4)
    net = build_encoder(encoder, 32, stem={"resnet_tiny": "stride2", "vit_micro": "patch8"}.get(encoder, "auto"))
    method = METHODS[method](net, make_views("simclr_small", 32, **(views or {})))
    given = {"epochs": 3, "optimizer": "sgd", "rate": 0.02, "precision": "fp32", "checkpoint_seconds": 0.0} | changes
    return Training(method, Batches(split, 16, CPU, seed=0), TrainSettings(**given), CPU, folder=folder)


def test_the_average_is_the_average():
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(net.weight)
    averaged, expected = Averaged(net, 0.5), 0.0
    for step in range(1, 30):
        torch.nn.init.constant_(net.weight, float(step))
        averaged.follow(step)
        share = min(0.5, step / (step + 9))
        expected = share * expected + (1 - share) * step
    assert averaged.values[0].item() == pytest.approx(expected)
    with averaged.in_place():
        assert net.weight.item() == pytest.approx(expected)
    assert net.weight.item() == 29
    averaged.install()
    assert net.weight.item() == pytest.approx(expected)


def test_training_goes_on_from_the_weights_and_the_average_is_what_is_read():
    read = []

    def probe(method, epoch):
        read.append(state(method.encoder))
        return {}

    plain, averaged = training(), training(average=0.9)
    plain.probe = averaged.probe = probe
    plain.run()
    averaged.run()
    assert [row["loss"] for row in plain.metrics] == [row["loss"] for row in averaged.metrics]
    assert all(not torch.equal(one, other) for one, other in zip(read[:3], read[3:], strict=True))
    assert torch.equal(read[2], state(plain.method.encoder)) and torch.equal(read[5], state(averaged.method.encoder))


def state(encoder) -> torch.Tensor:
    return torch.cat([value.detach().flatten().clone() for value in encoder.state_dict().values() if value.is_floating_point()])


BOTH = {"average": 0.9, "sizes": ((0.0, 16), (0.5, 32)), "views": {"small": 2, "small_side": 0.5}}


@pytest.mark.parametrize("changes", [{"average": 0.9}, {"sizes": ((0.0, 16), (0.4, 24), (0.7, 32))}, BOTH])
def test_a_resumed_run_is_the_run_left_alone(tmp_path, changes):
    alone = training(**changes)
    alone.run()
    stopped = training(tmp_path, **changes)
    stopped.stop = lambda: "the test says so" if stopped.step >= 4 else None
    with pytest.raises(Stopped):
        stopped.run()
    again = training(tmp_path, seed=1, **changes)
    again.run()
    assert again.resumed_at == 4 and torch.equal(state(again.method.encoder), state(alone.method.encoder))


def test_views_grow_between_epochs_and_the_readout_stays_at_full_size():
    run, seen = training(sizes=((0.0, 16), (0.4, 24), (0.7, 32))), []
    run.method.encoder.register_forward_pre_hook(lambda net, given: seen.append(given[0].shape[-1]))
    run.run()
    assert seen == [16] * 6 + [24] * 3, "three steps an epoch; the third begins at two thirds of them"
    assert run.method.views.size == 32


def test_sides_and_what_they_cost():
    sizes = ((0.0, 16), (0.5, 32))
    assert [side_at(sizes, epoch, 4) for epoch in range(4)] == [16, 16, 32, 32]
    assert side_at((), 0, 4) is None and side_at(((0.5, 16),), 0, 4) is None
    whole, mixed = make_views("simclr_small", 32), make_views("simclr_small", 32, small=8, small_side=0.5)
    assert mean_area(sizes, 4, whole) == pytest.approx((0.25 + 0.25 + 1 + 1) / 4)
    assert mean_area((), 7, whole) == mean_area((), 7, mixed) == 1.0
    early = (2 * 16**2 + 8 * 12**2) / (2 * 32**2 + 8 * 16**2)  # a small view's side is at least 12
    assert mean_area(sizes, 4, mixed) == pytest.approx((2 * early + 2) / 4)


def test_a_net_of_one_size_cannot_grow():
    with pytest.raises(UserError, match="regnetx_002 takes one image size.*leave training.sizes out"):
        training(encoder="regnetx_002", sizes=((0.0, 16),))


def test_a_vit_grows_and_the_decoder_of_masked_patches_does_not():
    grown = training(encoder="vit_micro", sizes=((0.0, 16), (0.5, 32)), epochs=2)
    assert len(grown.run()) == 2
    with pytest.raises(UserError, match="takes views of one size.*leave training.sizes out"):
        training(method="masked_patches", encoder="vit_micro", sizes=((0.0, 16),))


def test_a_config_refuses_what_makes_no_sense_and_defaults_change_no_id():
    with pytest.raises(UserError, match="from the smallest to the largest"):
        RunConfig(training={"sizes": [[0.5, 16], [0.0, 32]]})
    with pytest.raises(UserError, match="average"):
        RunConfig(training={"average": 1.0})
    assert RunConfig(training={"average": 0.0, "sizes": []}).id == RunConfig().id
    grown = RunConfig(training={"sizes": [[0.0, 16], [0.5, 32]], "average": 0.99})
    assert RunConfig(**grown.model_dump(mode="json")).id == grown.id != RunConfig().id


def test_small_views_of_simclr_are_views_like_the_others():
    run = training(views={"small": 2, "small_side": 0.5})
    run.method.train()
    run.take([next(run.batches.epoch(0))])
    assert run.embedding.shape[1] == 4 and run.losses[0].isfinite()
    z = torch.randn(4, 6, 8, generator=torch.Generator().manual_seed(0))
    assert multi_view_nt_xent(list(z), 0.2).item() == pytest.approx(by_hand(torch.nn.functional.normalize(z, dim=2), 0.2), rel=1e-5)


def by_hand(z, temperature: float) -> float:
    views, count, _ = z.shape
    total = 0.0
    for v in range(views):
        for n in range(count):
            others = sum(float((z[v, n] @ z[w, m] / temperature).exp()) for w in range(views) for m in range(count) if m != n)
            for w in range(views):
                if w != v:
                    own = float((z[v, n] @ z[w, n] / temperature).exp())
                    total -= float(np.log(own / (own + others)))
    return total / (views * (views - 1) * count)
