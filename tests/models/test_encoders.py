"""Every encoder by name: its stems and sizes, forward and backward, the same weights from the same seed, clear refusals."""

import copy

import pytest
import torch

from helpers.core.errors import UserError
from helpers.models import ENCODERS, build_encoder, macs, parameters, resolve_stem
from helpers.models.nets import Shortcut

SMALL = ["resnet_tiny", "resnet_mini", "resnet56_cifar", "vit_micro", "vit_mini", "convnext_micro", "convnext_mini"]
LIGHT = ["efficientnet_lite0", "mobilenetv2", "shufflenetv2", "squeezenet", "vgg11_bn", "alexnet"]
REAL = [*SMALL, *LIGHT, "resnet18", "vit_tiny"]
# Too large for quick arithmetic: their shapes and gradients' shapes are followed on the meta device.
LARGE = [name for name in ENCODERS if name not in REAL]

WIDTHS = {"resnet18": 512, "resnet50": 2048, "resnet50_x2": 4096, "resnet200_x4": 8192, "resnet34_x2": 1024, "resnet56_cifar": 64}
WIDTHS |= {"vit_tiny": 192, "vit_small": 384, "vit_base": 768, "vit_large": 1024, "vit_contest": 2048, "convnext_tiny": 768}
WIDTHS |= {"efficientnet_lite0": 1280, "mobilenetv2": 1280, "shufflenetv2": 1024, "squeezenet": 512, "vgg11_bn": 512, "alexnet": 256}


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", REAL)
def test_forward_and_backward(name, images):
    encoder = build_encoder(name, 32)
    assert encoder.training and encoder.stem != "auto" and encoder.image_size == 32
    features, feature_map = encoder.features_and_map(images)
    assert features.shape == (4, encoder.width) == (4, WIDTHS.get(name, encoder.width))
    assert feature_map.ndim == 4 and feature_map.shape[0] == 4 and feature_map.shape[2] >= 2
    features.square().mean().backward()
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    assert encoder.first_layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", LARGE)
def test_forward_and_backward_of_the_large_ones(name):
    with torch.device("meta"):
        encoder = build_encoder(name, 32)
        features = encoder(torch.zeros(2, 3, 32, 32))
    assert features.shape == (2, encoder.width) == (2, WIDTHS.get(name, encoder.width))
    features.sum().backward()
    assert all(parameter.grad.shape == parameter.shape for parameter in encoder.parameters())


def test_every_entry_is_readable():
    assert all(len(spec.about) > 10 for spec in ENCODERS.values())
    expected = {f"resnet{depth}{times}" for depth in (18, 34, 50, 101, 152, 200) for times in ("", "_x2", "_x4")}
    assert expected | set(SMALL) | set(LIGHT) | {"vit_tiny", "vit_small", "vit_base", "vit_large", "convnext_tiny"} <= set(ENCODERS)


@pytest.mark.parametrize("name", ["resnet_tiny", "vit_micro", "convnext_micro", "shufflenetv2"])
def test_bf16_channels_last_agrees(name, images):
    encoder = build_encoder(name, 32).eval()
    with torch.no_grad():
        plain = encoder(images)
        fast = encoder.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
        torch.testing.assert_close(fast(images), plain, rtol=1e-4, atol=1e-4)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            low = fast(images).float()
    assert torch.nn.functional.cosine_similarity(low, plain).min() > 0.98
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = fast.train()(images).float().square().mean()
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in fast.parameters())


@pytest.mark.parametrize("name", ["resnet_tiny", "vit_micro", "convnext_micro", "resnet56_cifar", "squeezenet"])
def test_same_seed_same_weights(name):
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(build_encoder(name, 32).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_building_leaves_statistics_and_mode_alone():
    encoder = build_encoder("resnet_tiny", 32)
    assert encoder.training and int(encoder.net.bn1.num_batches_tracked) == 0
    macs(encoder.eval())
    assert not encoder.training and not encoder.net.bn1.training
    assert copy.deepcopy(encoder).width == encoder.width


@pytest.mark.parametrize(
    ("name", "stem", "side"),
    [
        ("resnet_tiny", "imagenet", 1),
        ("resnet_tiny", "stride2", 2),
        ("resnet_tiny", "cifar", 4),
        ("convnext_micro", "patch4", 1),
        ("convnext_micro", "patch2", 2),
        ("convnext_micro", "patch1", 4),
        ("vit_micro", "patch16", 2),
        ("vit_micro", "patch8", 4),
        ("vit_micro", "patch4", 8),
        ("mobilenetv2", "imagenet", 1),
        ("mobilenetv2", "cifar", 2),
        ("shufflenetv2", "cifar", 4),
        ("squeezenet", "cifar", 7),
        ("vgg11_bn", "imagenet", 1),
        ("vgg11_bn", "cifar", 2),
        ("alexnet", "cifar", 5),
    ],
)
def test_stems_decide_the_map(name, stem, side, images):
    encoder = build_encoder(name, 32, stem=stem).eval()
    with torch.no_grad():
        assert encoder.feature_map(images).shape[-2:] == (side, side)
    assert encoder.stem == stem


def test_auto_stem():
    assert [resolve_stem(name, 32) for name in ("resnet50", "resnet_tiny", "convnext_tiny", "vit_base", "alexnet")] == [
        "cifar", "stride2", "patch2", "patch8", "cifar"
    ]  # fmt: skip
    assert [resolve_stem(name, 224) for name in ("resnet50", "resnet_tiny", "convnext_tiny", "vit_base", "resnet56_cifar")] == [
        "imagenet", "imagenet", "patch4", "patch16", "cifar"
    ]  # fmt: skip
    assert resolve_stem("vit_base", 28) == "patch7"  # 8 does not divide 28
    assert resolve_stem("resnet18", 64) == "cifar" and resolve_stem("resnet18", 96) == "imagenet"


def test_resnet_stem_layers():
    for stem, kernel, stride in (("imagenet", 7, 2), ("cifar", 3, 1), ("stride2", 3, 2)):
        encoder = build_encoder("resnet_tiny", 32, stem=stem)
        assert (encoder.first_layer.kernel_size[0], encoder.first_layer.stride[0]) == (kernel, stride)
        assert isinstance(encoder.net.maxpool, torch.nn.MaxPool2d) == (stem == "imagenet")


def test_wide_resnets_widen_the_stem():
    with torch.device("meta"):
        assert build_encoder("resnet18_x2", 32).first_layer.out_channels == 128
        assert build_encoder("resnet50_x4", 64).first_layer.out_channels == 256
        # The parameter counts that SimCLR gives for ResNet-50 at two and four times its width, without classifier.
        assert parameters(build_encoder("resnet50_x2", 224)) == pytest.approx(94e6, rel=0.01)
        assert parameters(build_encoder("resnet50_x4", 224)) == pytest.approx(375e6, rel=0.01)


def test_vit_options_and_pools(images):
    options = {"dim": 64, "depth": 2, "heads": 2, "mlp": 2.0}
    token = build_encoder("vit_micro", 32, patch=16, **options)
    assert token.stem == "patch16" and token.width == 64 and len(token.net.blocks) == 2
    average = build_encoder("vit_micro", 32, patch=16, pool="avg", **options).eval()
    features, feature_map = average.features_and_map(images)
    torch.testing.assert_close(features, average.net.fc_norm(feature_map.mean((2, 3))))
    assert build_encoder("vit_micro", 32, patch=16, pool="concat", **options).width == 5 * 64
    mapped = build_encoder("vit_micro", 32, patch=16, pool="concat", feature_width=24, **options)
    assert mapped.width == 24 and mapped(images).shape == (4, 24)
    with torch.no_grad():  # the tokens of the map lie where their patches are
        changed = images.clone()
        changed[:, :, :16, 16:] += 3
        shallow = build_encoder("vit_micro", 32, patch=16, dim=64, depth=1, heads=2).eval()
        moved = (shallow.feature_map(changed) - shallow.feature_map(images)).abs().sum((0, 1))
    assert moved.argmax() == 1


def test_contest_vit_is_the_authors():
    with torch.device("meta"):
        encoder = build_encoder("vit_contest", 32)
    block = encoder.net.blocks[0]
    assert (len(encoder.net.blocks), block.attn.num_heads, block.mlp.fc1.out_features) == (6, 16, 2048)
    assert encoder.feature.in_features == 17_408 and encoder.width == 2048 and encoder.stem == "patch8"
    assert encoder.net.pos_drop.p == 0.1 and block.attn.proj_drop.p == 0.1
    small = build_encoder("vit_contest", 32, dim=64, depth=1, heads=2)
    assert small.net.pos_embed.std().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "members", [("resnet_tiny", "vit_micro", "convnext_micro"), ("resnet_mini", "vit_mini", "convnext_mini")], ids=["micro", "mini"]
)
def test_small_members_cost_alike(members):
    with torch.device("meta"):
        encoders = [build_encoder(name, 32) for name in members]
    costs, sizes = [macs(e) for e in encoders], [parameters(e) for e in encoders]
    assert max(costs) < 1.25 * min(costs) and max(sizes) < 1.25 * min(sizes)


def test_vit_macs_count_attention():
    with torch.device("meta"):
        encoder = build_encoder("vit_micro", 32)
    by_hand = 16 * 192 * 128 + 3 * (17 * 12 * 128 * 128 + 2 * 17 * 17 * 128)
    assert macs(encoder) == by_hand


@pytest.mark.parametrize(
    ("name", "width"), [("regnetx_002", 368), ("resnet10t", 512), ("mobilenet_v2", 1280), ("deit_tiny_patch16_224", 192)]
)
def test_any_timm_or_torchvision_name(name, width):
    with torch.device("meta"):
        encoder = build_encoder(name, 32)
        assert encoder.width == width and encoder(torch.zeros(2, 3, 32, 32)).shape == (2, width)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnet19", {}, ["'resnet18'"]),
        ("nothing_like_it_qqq", {}, ["Unknown encoder", "resnet50"]),
        ("resnet18", {"stem": "cifer"}, ["'cifar'"]),
        ("resnet18", {"dim": 8}, ["no option 'dim'"]),
        ("resnet18", {"patch": 8}, ["patch=8", "cifar"]),
        ("vit_micro", {"patch": 5}, ["5", "32", "1, 2, 4, 8, 16, 32"]),
        ("vit_micro", {"stem": "patch7"}, ["7", "32", "1, 2, 4, 8, 16, 32"]),
        ("vit_micro", {"stem": "cifar"}, ["patch8"]),
        ("vit_micro", {"stem": "patch4", "patch": 8}, ["contradict"]),
        ("vit_micro", {"heads": 5}, ["heads", "divisible"]),
        ("vit_micro", {"dims": 64}, ["'dim'"]),
        ("vit_micro", {"pool": "tokens"}, ["'token'"]),
        ("vit_micro", {"feature_width": 64}, ["pool='concat'"]),
        ("vit_micro", {"dropout": 2.0}, ["dropout=2.0"]),
        ("vit_micro", {"depth": 0}, ["depth=0"]),
        ("convnext_micro", {"stem": "patch8"}, ["patch4", "patch2", "patch1"]),
        ("alexnet", {"stem": "imagenet"}, ["alexnet", "32 px", "cifar"]),
    ],
)
def test_refusals_say_what_and_what_to_do(name, options, words):
    with pytest.raises(UserError) as error:
        build_encoder(name, 32, **options)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("name", ["resnet_tiny", "vit_micro", "convnext_micro"])
def test_impossible_image_sizes_are_refused(name):
    with pytest.raises(UserError, match="positive whole number"):
        build_encoder(name, 0)


@pytest.mark.parametrize("name", ["resnet_tiny", "convnext_micro", "vit_micro", "vit_contest"])
def test_feature_norm_leaves_every_feature_with_mean_zero_and_deviation_one(name):
    small = {"dim": 64, "depth": 1, "heads": 1, "feature_width": 32} if name == "vit_contest" else {}
    encoder = build_encoder(name, 32, feature_norm="layer", **small).eval()
    images = torch.randn(4, 3, 32, 32)
    features, maps = encoder.features_and_map(images)
    assert torch.equal(features, encoder(images))
    assert features.mean(1).abs().max() < 1e-4
    assert torch.allclose(features.std(1, unbiased=False), torch.ones(4), atol=1e-2)
    plain = build_encoder(name, 32, **small)
    assert encoder.width == plain.width and sum(p.numel() for p in encoder.parameters()) == sum(p.numel() for p in plain.parameters())


def test_a_resnets_residual_branches_may_begin_awake():
    def asleep(**options):
        net = build_encoder("resnet_tiny", 32, **options)
        return sum(isinstance(module, torch.nn.BatchNorm2d) and not module.weight.any() for module in net.modules())

    assert (asleep(), asleep(zero_init_last=True), asleep(zero_init_last=False)) == (4, 4, 0)
    with pytest.raises(UserError, match="zero_init_last='no'"):
        build_encoder("resnet_tiny", 32, zero_init_last="no")
    with pytest.raises(UserError, match="convnext_micro takes no option"):
        build_encoder("convnext_micro", 32, zero_init_last=False)


def test_the_fast_resnet_has_three_stages_and_either_small_stem():
    encoder = build_encoder("resnet_fast", 32)
    assert (encoder.stem, encoder.width) == ("stride2", 256)
    assert [tuple(encoder.feature_map(torch.zeros(1, 3, side, side)).shape[1:]) for side in (32, 16)] == [(256, 4, 4), (256, 2, 2)]
    assert build_encoder("resnet_fast", 32, stem="cifar").feature_map(torch.zeros(1, 3, 32, 32)).shape[-1] == 8


@pytest.mark.parametrize("name", ["resnet_fast", "resnet_tiny", "mobilenetv2"])
def test_gradients_come_back_in_the_layout_of_their_maps(name):
    """Where they do not, a CPU goes through them element by element."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Layouts(TorchDispatchMode):
        met = []

        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            if operator in (torch.ops.aten.threshold_backward.default, torch.ops.aten.native_batch_norm_backward.default):
                self.met.append([value.is_contiguous(memory_format=torch.channels_last) for value in args[:2]])
            return operator(*args, **(kwargs or {}))

    encoder = build_encoder(name, 32).to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 32, 32).to(memory_format=torch.channels_last)
    with Layouts() as layouts:
        encoder(images).square().mean().backward()
    assert len(layouts.met) > 3 and all(gradient and map_ for gradient, map_ in layouts.met)


def test_a_shortcut_takes_every_second_pixel_and_pads_channels():
    images = torch.randn(2, 4, 6, 6).to(memory_format=torch.channels_last).requires_grad_()
    made = Shortcut()(images)
    assert made.shape == (2, 8, 3, 3) and torch.equal(made[:, 2:6], images[:, :, ::2, ::2])
    assert not made[:, :2].any() and not made[:, 6:].any() and made.is_contiguous(memory_format=torch.channels_last)
    made.sum().backward()
    assert images.grad.sum() == 2 * 4 * 9 and images.grad.is_contiguous(memory_format=torch.channels_last)
