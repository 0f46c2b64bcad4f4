"""Weights out and in: round trips, plain timm and torchvision, and files that are missing, damaged or of another net."""

import json
import subprocess
import sys

import pytest
import timm
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from helpers.core.errors import DataError, UserError
from helpers.models import ENCODERS, build_encoder, export, from_export, load_weights

SMALL = ["resnet_tiny", "resnet_mini", "resnet56_cifar", "vit_micro", "vit_mini", "convnext_micro", "convnext_mini"]
LIGHT = ["efficientnet_lite0", "mobilenetv2", "shufflenetv2", "squeezenet", "vgg11_bn", "alexnet"]
REAL = [*SMALL, *LIGHT, "resnet18", "vit_tiny"]


def features(encoder: nn.Module, size: int = 32) -> torch.Tensor:
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return encoder.eval()(images)


def restless(encoder: nn.Module) -> nn.Module:
    """The encoder with statistics that one batch has moved, so that buffers matter too."""
    encoder.train()(torch.randn(4, 3, encoder.image_size, encoder.image_size, generator=torch.Generator().manual_seed(2)))
    return encoder


@pytest.mark.parametrize("name", REAL)
def test_export_round_trip(name, tmp_path):
    encoder = restless(build_encoder(name, 32))
    path = export(encoder, tmp_path / "encoder.safetensors")
    again = from_export(path)
    assert (again.name, again.stem, again.image_size, again.width) == (encoder.name, encoder.stem, 32, encoder.width)
    assert torch.equal(features(again), features(encoder))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_contest", {"dim": 64, "depth": 1, "heads": 2, "feature_width": 32}),
        ("vit_micro", {"patch": 4, "pool": "avg", "dropout": 0.1}),
        ("convnext_micro", {"stem": "patch1"}),
        ("resnet_tiny", {"stem": "imagenet"}),
    ],
)
def test_export_keeps_stem_and_options(name, options, tmp_path):
    encoder = build_encoder(name, 32, **options)
    again = from_export(export(encoder, tmp_path / "encoder.safetensors"))
    assert again.stem == encoder.stem and again.options == encoder.options
    assert torch.equal(features(again), features(encoder))


@pytest.mark.parametrize(("name", "size"), [("resnet18", 96), ("mobilenetv2", 96), ("vit_tiny", 96), ("convnext_micro", 96)])
def test_plain_timm_loads_the_export(name, size, tmp_path):
    encoder = restless(build_encoder(name, size))
    path = export(encoder, tmp_path / "encoder.safetensors")
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    net = timm.create_model(facts["architecture"], **json.loads(facts["arguments"]))
    net.load_state_dict(load_file(path))
    assert torch.equal(features(net, size), features(encoder, size))


def test_plain_timm_loads_a_small_image_stem(tmp_path):
    encoder = build_encoder("resnet18", 32)
    path = export(encoder, tmp_path / "encoder.safetensors")
    net = timm.create_model("resnet18", num_classes=0)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    net.load_state_dict(load_file(path))
    assert torch.equal(features(net), features(encoder))


@pytest.mark.parametrize("name", ["squeezenet", "shufflenetv2"])
def test_plain_torchvision_loads_the_export(name, tmp_path):
    encoder = restless(build_encoder(name, 96))
    path = export(encoder, tmp_path / "encoder.safetensors")
    net = torchvision.models.get_model(ENCODERS[name].base, weights=None)
    missing, unexpected = net.load_state_dict(load_file(path), strict=False)
    assert not unexpected and all(key.startswith(("fc.", "classifier.")) for key in missing)
    plain = nn.Sequential(net.features, nn.AdaptiveAvgPool2d(1), nn.Flatten()) if name == "squeezenet" else net
    if name == "shufflenetv2":
        net.fc = nn.Identity()
    torch.testing.assert_close(features(plain, 96), features(encoder, 96))


# The wide ones and vit_contest change timm's net by arguments; their way out and in is that of resnet_tiny and the small vit_contest above.
UNCHANGED = [name for name, spec in ENCODERS.items() if name not in REAL and not spec.settings and not spec.options]


@pytest.mark.parametrize("name", UNCHANGED)
def test_keys_of_the_large_ones_are_timms(name):
    with torch.device("meta"):
        encoder = build_encoder(name, 224)
        net = timm.create_model(ENCODERS[name].base, num_classes=0)
    assert {key: value.shape for key, value in net.state_dict().items()} == {
        key: value.shape for key, value in encoder.net.state_dict().items()
    }


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_initial_weights_from_a_torch_file_with_classifier(wrapper, tmp_path):
    full = timm.create_model("resnet18", num_classes=7)
    state = {key: value for key, value in full.state_dict().items() if not key.endswith("num_batches_tracked")}  # as old files are
    torch.save({wrapper: state} if wrapper else state, tmp_path / "full.pth")
    encoder = build_encoder("resnet18", 96, weights=tmp_path / "full.pth")
    with torch.no_grad():
        expected = full.eval().forward_head(full.forward_features(torch.ones(1, 3, 96, 96)), pre_logits=True)
        assert torch.equal(encoder.eval()(torch.ones(1, 3, 96, 96)), expected)


def test_a_file_that_does_not_fit_is_refused_whole(tmp_path):
    path = export(build_encoder("resnet_tiny", 32, stem="imagenet"), tmp_path / "encoder.safetensors")
    encoder = build_encoder("resnet_tiny", 32)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.raises(UserError) as error:
        load_weights(encoder, path)
    assert all(word in str(error.value) for word in ("conv1.weight", "(24, 3, 7, 7)", "(24, 3, 3, 3)", "stem imagenet", "stem stride2"))
    with pytest.raises(UserError, match="patch_embed") as error:
        build_encoder("vit_micro", 32, weights=path)
    assert "missing" in str(error.value) and "more" in str(error.value) and len(str(error.value)) < 700
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())


def test_missing_and_damaged_files(tmp_path):
    encoder = build_encoder("resnet_tiny", 32)
    with pytest.raises(UserError, match="No weights at nowhere.safetensors"):
        load_weights(encoder, tmp_path / "nowhere.safetensors")
    path = export(encoder, tmp_path / "cut.safetensors")
    whole = path.read_bytes()
    torch.save(encoder.net.state_dict(), tmp_path / "cut.pth")
    for length in (0, 5, 400, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        for read in (lambda: load_weights(encoder, path), lambda: from_export(path)):
            with pytest.raises(DataError, match="cut.safetensors") as error:
                read()
            assert str(tmp_path) not in str(error.value)
    pth = tmp_path / "cut.pth"
    whole = pth.read_bytes()
    for length in (0, 5, len(whole) // 2, len(whole) - 1):
        pth.write_bytes(whole[:length])
        with pytest.raises((DataError, UserError), match="cut.pth") as error:
            load_weights(encoder, pth)
        assert str(tmp_path) not in str(error.value)


class Trap:
    def __reduce__(self):
        return (open, ("/dev/null",))


def test_nothing_is_unpickled(tmp_path):
    encoder = build_encoder("resnet_tiny", 32)
    torch.save({"conv1.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(UserError, match="more than tensors"):
        load_weights(encoder, tmp_path / "trap.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="state dict"):
        load_weights(encoder, tmp_path / "list.pth")


def test_a_file_without_our_metadata_is_not_rebuilt(tmp_path):
    save_file({"conv1.weight": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="does not say which encoder"):
        from_export(tmp_path / "foreign.safetensors")


def test_the_same_encoder_is_the_same_bytes_in_every_process(tmp_path):
    code = (
        "import sys, torch; from helpers.models import build_encoder, export; torch.manual_seed(0); "
        "export(build_encoder('resnet_tiny', 16, stem='stride2', zero_init_last=False), sys.argv[1])"
    )
    files = [tmp_path / f"{number}.safetensors" for number in range(3)]
    started = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for path in files]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert len({path.read_bytes() for path in files}) == 1
    assert from_export(files[0]).options == {"zero_init_last": False}
