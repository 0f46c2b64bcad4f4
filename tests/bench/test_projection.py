"""Projections: the counting agrees with arithmetic on paper and with torch's own counter; the times follow from the sheet."""

import json

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from helpers.bench import projection
from helpers.bench.projection import CHIPS
from helpers.commands import bench
from helpers.methods import METHODS, StepBatch
from helpers.models import build_encoder, macs
from helpers.runs.counting import Chip, Counter, Counts, count_forward, count_step, count_views
from helpers.runs.recipes import merged
from helpers.studies.open import preset_values
from helpers.studies.speedrun.settings import Settings
from helpers.views import make_views

SLOW = Chip("a slow chip", matrix=1e9, bandwidth=1e6, matrix_share=1.0, bandwidth_share=1.0, launch=1e-3)


def test_a_matrix_product_on_paper():
    one, other = torch.randn(8, 16, dtype=torch.bfloat16), torch.randn(16, 4, dtype=torch.bfloat16)
    with Counter() as counter:
        one @ other
    assert counter.counts.kernels == [(2 * 8 * 16 * 4, 2 * (8 * 16 + 16 * 4 + 8 * 4), 1)]


def test_views_and_empty_tensors_cost_nothing_and_what_is_expanded_is_read_once():
    values = torch.randn(1, 100)
    with Counter() as counter:
        torch.empty(10), values.t(), values.expand(50, 100)
        values.expand(50, 100) + 1.0
        values.add_(1)
    assert counter.counts.kernels == [(0, 4 * 100 + 4 * 5000, 1), (0, 2 * 4 * 100, 1)]


def test_a_depthwise_convolution_is_counted_with_its_groups():
    layer, images = nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False), torch.randn(2, 32, 8, 8, requires_grad=True)
    with Counter() as counter:
        layer(images).sum().backward()
    once = 2 * 2 * 32 * 9 * 8 * 8  # forward; each of the two gradients costs the same
    assert counter.counts.flops == 3 * once


@pytest.mark.parametrize("backbone", ["resnet_tiny", "vit_micro"])
def test_flops_of_a_step_are_torchs(backbone):
    def method():
        return METHODS["simclr"](build_encoder(backbone, 32), make_views("contest", 32), temperature=0.1).train()

    counts, real = count_step(method(), 8, 32), method()
    with FlopCounterMode(display=False) as counter:
        loss, _ = real.loss([torch.randn(8, 3, 32, 32) for _ in range(2)], StepBatch(torch.arange(8)))
        loss.backward()
    assert counts.flops == counter.get_total_flops()
    weights = sum(p.numel() * 4 for p in real.parameters())
    assert counts.bytes > 7 * weights  # the optimizer alone reads four numbers a weight and writes three


def test_a_batch_twice_as_large_has_twice_the_work_and_as_many_kernels():
    method = METHODS["simclr"](build_encoder("resnet_tiny", 32), make_views("contest", 32), temperature=0.1)
    small, large = count_views(method.views, 64), count_views(method.views, 128)
    assert large.bytes == pytest.approx(2 * small.bytes) and large.launches == small.launches > 10


def test_a_kernel_takes_the_longest_of_its_three_times():
    counts = Counts([(10**9, 0, 1), (0, 10**6, 1), (0, 0, 1)])  # a second of arithmetic, a second of traffic, a launch
    assert counts.seconds(SLOW, SLOW.launch) == pytest.approx(2.001)


def test_projections_say_that_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    monkeypatch.setattr(projection, "NETS", ("resnet_tiny", "vit_micro"))
    monkeypatch.setattr(projection, "RACED_BATCHES", (64,))
    monkeypatch.setattr(projection, "RACED_NET", "resnet_tiny")
    monkeypatch.setattr(projection, "WAYS", {"2 views": (2, 0, 32), "2 views of 16 px": (2, 0, 16)})
    monkeypatch.setattr(projection, "preset_values", lambda name, preset, reading: preset_values(name, "demo", reading))
    assert bench.main(["projection", "h200"]) == 0
    found = json.loads((tmp_path / "bench" / "projection-h200.json").read_text())
    assert found["projection"] and not found["measured"] and len(found["rows"]) == 4
    for row in [*found["rows"], *found["race"]]:
        assert sum(row["share"].values()) == pytest.approx(1, abs=0.01)
        assert 0 <= row["seconds_an_epoch_arithmetic_alone"] <= row["seconds_an_epoch_graph"] <= row["seconds_an_epoch_eager"]
    small = {row["batch"]: row["seconds_an_epoch_eager"] for row in found["rows"] if row["backbone"] == "vit_micro"}
    assert small[128] > 2 * small[512]  # launches dominate a small net at a small batch
    whole, quarter = found["race"]
    assert quarter["flops_per_step"] < 0.35 * whole["flops_per_step"]
    text = (tmp_path / "bench" / "projection-h200.md").read_text()
    assert text.startswith("# Projection, never measured: NVIDIA H200") and text.count("| 2 views") == 2 and "| the race |" in text


def test_a_lesser_chip_is_slower():
    counts = count_step(METHODS["simclr"](build_encoder("resnet_tiny", 32), make_views("contest", 32)), 128, 32)
    assert counts.seconds(CHIPS["a100"], 4e-6) > counts.seconds(CHIPS["h200"], 4e-6)


def test_a_kernel_waits_for_one_thing_and_the_times_add_up():
    counts = Counts([(10**9, 1, 1), (1, 10**6, 1), (1, 1, 1)])
    limits = counts.seconds_by_limit(SLOW, SLOW.launch)
    assert limits == {"arithmetic": pytest.approx(1.0), "memory": pytest.approx(1.0), "launches": pytest.approx(1e-3)}
    assert counts.seconds(SLOW, SLOW.launch) == pytest.approx(sum(limits.values()))


def test_small_views_are_counted_at_their_size():
    def flops(**options):
        views = make_views("simclr_small", 32, **options)
        return count_step(METHODS["simclr"](build_encoder("resnet_tiny", 32), views), 16).flops

    two, four, mixed = flops(count=2), flops(count=4), flops(count=2, small=8, small_side=0.5)
    assert four == pytest.approx(2 * two, rel=0.02)
    assert mixed == pytest.approx(four, rel=0.05), "eight views of half the side cost what two do"


def test_recipes_on_paper_are_whole_runs_each_with_its_optimizer_and_its_views():
    adamw = {"training": {"optimizer": "adamw"}}
    tried = {"AdamW": adamw, "growing": merged(adamw, {"training": {"sizes": [[0.0, 16], [0.5, 32]]}})}
    s = Settings(**preset_values("speedrun", "demo", "as_written") | {"candidates": tried, "probe_every": 2})
    race, *trials = projection.recipes_on_paper(s, CHIPS["h100"])
    assert [row["recipe"] for row in trials] == ["trial: as raced", "trial: AdamW", "trial: growing"]
    raced, plain, growing = trials
    assert race["steps"] == 2000 // 64 * 3 and raced["steps"] == (2000 - 300) // 64 * 2
    assert race["seconds_of_probes"] > 0 == raced["seconds_of_probes"]
    assert raced["kernels_per_step"] > 1.3 * plain["kernels_per_step"], "Muon multiplies matrices where AdamW is one kernel"
    assert 0.62 < growing["flops"] / plain["flops"] < 0.68, "one epoch of two at a quarter of the area"
    assert growing["seconds_graph"] <= plain["seconds_graph"] < plain["seconds_eager"]


def test_reading_is_counted_as_the_forward_pass_of_the_encoder_alone():
    method = METHODS["simclr"](build_encoder("resnet_tiny", 32), make_views("simclr_small", 32))
    assert count_forward(method, 16).flops == 16 * 2 * macs(build_encoder("resnet_tiny", 32))
