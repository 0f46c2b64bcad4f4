"""The readout of robustness as part of a run: what it holds, that it is the same for every run, and what cannot be asked."""

import numpy as np
import pytest
import torch

from helpers.core.errors import UserError
from helpers.evaluation import robustness as reading
from helpers.evaluation.backgrounds import KINDS
from helpers.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from helpers.evaluation.shifts import SHIFTS
from helpers.runs import run as running
from tests.small_run import small

ASKED = {"maps": None, "robustness": {"images": 40, "masks": "true"}}
OWN = {"options": {"background": "own", "train": 256, "test": 64}}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNS_DIR", str(tmp_path_factory.mktemp("runs")))
        patch.setenv("CHECKPOINT_DIR", str(tmp_path_factory.mktemp("checkpoints")))
        made = running.run(small(data=OWN, evaluation=ASKED, training={"epochs": 1}), "cpu")
        return made.content, dict(made.arrays)


def test_accuracies_are_the_means_of_what_is_kept_of_each_image(record):
    content, arrays = record
    told = content["evaluations"]["robust"]
    assert told["images"] == 40 and told["with_background"] == arrays["robust.swappable"].sum() > 0
    assert told["top1"] == pytest.approx(100 * arrays["robust.clean"].mean())
    assert {*told["corruptions"]} == {*CORRUPTIONS} and all(len(row) == len(SEVERITIES) for row in told["corruptions"].values())
    every = np.mean(list(told["corruptions"].values()))
    assert every == pytest.approx(100 * arrays["robust.corruptions"].mean() / (len(CORRUPTIONS) * len(SEVERITIES)))
    for group, levels in SHIFTS.items():
        assert {*told[group]} == {*levels}
        assert np.mean([*told[group].values()]) == pytest.approx(100 * arrays[f"robust.{group}"].mean() / len(levels))
    there = arrays["robust.swappable"].astype(bool)
    for kind, row in zip(KINDS, arrays["robust.backgrounds"], strict=True):
        assert told["backgrounds"][kind] == pytest.approx(100 * row[there].mean())
    assert told["backgrounds"]["original"] == pytest.approx(100 * arrays["robust.clean"][there].mean())


def test_untouched_images_are_read_as_the_probe_reads_them(record):
    """The images are a stratified part of the test images, and on them the readout says what the linear probe said."""
    content, arrays = record
    config = small(data=OWN, evaluation=ASKED)
    from helpers.runs.material import material
    from helpers.runs.robustness import altered

    rows = altered(config, material(config.data))
    assert len(rows) == 40 and (np.bincount(arrays["labels"][rows]) == 4).all()
    assert np.array_equal(arrays["robust.clean"], arrays["linear.predictions"][rows] == arrays["labels"][rows])


class Mean(torch.nn.Module):
    def forward(self, images):
        return images.mean((2, 3))


class Plain:
    @staticmethod
    def plain(images):
        return images.float() / 255


def test_alterations_are_the_same_whoever_reads_them(monkeypatch):
    seen = []
    images = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8)
    masks = torch.zeros(12, 1, 32, 32)
    masks[:, :, 8:20, 8:20] = 1
    reader = reading.Reader(Mean().train(), Plain(), (torch.eye(3), torch.zeros(3)))
    monkeypatch.setattr(reading.Reader, "right", lambda self, made, labels: seen.append(made.clone()) or torch.ones(len(made), dtype=bool))
    for _ in range(2):
        torch.manual_seed(len(seen))  # the global generator has no part in it
        reading.robust(reader, images, torch.arange(12) % 3, masks)
    half = len(seen) // 2
    assert half == reading.READINGS == 1 + 75 + 14 + 6
    assert all(torch.equal(one, other) for one, other in zip(seen[:half], seen[half:], strict=True))
    assert sum(torch.equal(each, images) for each in seen[:half]) == 2, "untouched, and its own background"
    assert reader.encoder.training, "the encoder is left in the mode it had"


def test_a_reader_answers_by_its_classifier():
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    images = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    for channel in range(3):
        images[channel, channel] = 200
    reader = reading.Reader(Mean(), Plain(), (weights, torch.zeros(3)), "fp32")
    assert reader.right(images, torch.tensor([0, 1, 1])).tolist() == [True, True, False]
    biased = reading.Reader(Mean(), Plain(), (weights, torch.tensor([9.0, 0.0, 0.0])), "fp32")
    assert biased.right(images, torch.tensor([0, 0, 0])).tolist() == [True, True, True]


def test_true_masks_of_images_that_have_none_are_refused(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from helpers.runs.robustness import masks_of

    config = small(evaluation=ASKED)
    images = SimpleNamespace(dataset=SimpleNamespace(name="photographs"))
    with pytest.raises(UserError, match="'photographs' has no true masks; take masks = 'saliency'"):
        masks_of(config, images, np.arange(3), torch.zeros(3, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(UserError, match="kind of mask 'drawn'"):
        small(evaluation={"robustness": {"masks": "drawn"}})
