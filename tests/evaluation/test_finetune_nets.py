"""Fine-tuning from the probe on every net of the lightweight study, with normalisation and without: their features' scales are far apart.

From random weights the deeper nets of depthwise convolutions need the hundreds of steps that the study gives them.
"""

import os
import tomllib
from pathlib import Path

import pytest
import torch

from helpers.evaluation import extract, finetune, probe
from helpers.models import build_encoder
from helpers.runs.config import Data
from helpers.runs.material import material
from helpers.studies import lightweight_architectures
from helpers.views import make_views

PRESETS = tomllib.loads((Path(lightweight_architectures.__file__).parent / "presets.toml").read_text())
NETS = PRESETS["demo"]["encoders"]
FEW, ALL = 30, PRESETS["cpu"]["finetune_steps"]
STEPS = {"ResNet-18": FEW, "SqueezeNet": FEW, "VGG-11": FEW, "EfficientNet-lite0": ALL, "MobileNetV2": ALL, "ShuffleNetV2": ALL}
IMAGES = {
    "embedded": {"dataset": "embedded", "options": {"train": 600, "test": 400}},
    "cifar10": {"dataset": "cifar10", "train_images": 600, "test_images": 400},
}
HERE = [name for name in IMAGES if name == "embedded" or (Path(os.environ.get("DATA_DIR", "data")) / name).is_dir()]
NOISE = 6.0  # points: two standard errors of a difference over 400 images, at most


@pytest.mark.parametrize("images", HERE)
@pytest.mark.parametrize("net", NETS)
def test_a_net_does_not_end_below_its_probe(net, images):
    data, views = material(Data(image_size=32, **IMAGES[images])), make_views("supervised", 32)
    torch.manual_seed(0)
    encoder = build_encoder(NETS[net]["name"], 32, stem=NETS[net]["stem"], **NETS[net]["options"])
    classes, how = len(data.dataset.classes), {"device": "cpu", "precision": "fp32"}
    seen, unseen = {"indices": data.labelled}, {"indices": data.test_indices}
    frozen = probe(extract(encoder, views, data.bank, **seen, **how), extract(encoder, views, data.test, **unseen, **how), classes)
    tuned = finetune(
        encoder,
        views,
        data.bank,
        data.test,
        classes,
        **seen,
        test_indices=data.test_indices,
        recipe="from_probe",
        epochs=1,
        steps=STEPS[net],
        **how,
    )
    assert tuned.top1 > frozen.top1 - NOISE, (tuned.top1, frozen.top1)
