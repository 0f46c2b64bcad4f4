"""The bare nets, without classifier and with the asked-for stem: timm's and torchvision's own, and the CIFAR ResNet.

timm and torchvision take seconds to import, so each is imported where a net of it is built.
"""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional

from helpers.core.errors import UserError, unknown
from helpers.models.catalogue import Spec, patch_of, trunk_parts
from helpers.models.slim import check_width, scaled, slim_light, slim_shufflenet, slim_squeezenet, stage_settings, takes_width
from helpers.models.vit import MISSING, alter, check_vit_options

# Our names for timm's ViT arguments; the pooling options are the Encoder's.
VIT_ARGUMENTS = {"dim": "embed_dim", "depth": "depth", "heads": "num_heads", "mlp": "mlp_ratio"}
VIT_OPTIONS = (*VIT_ARGUMENTS, "dropout", "positions", "mlp_norm", "freeze_patches", "pool", "feature_width")


def build_net(name: str, spec: Spec, image_size: int, stem: str, options: dict) -> nn.Module:
    """The net of a spec with its stem in place. It has forward_features and forward_head as timm's nets do, where it can."""
    if spec.library == "timm":
        net = _from_timm(name, spec, image_size, stem, options)
    elif spec.library == "torchvision":
        net = _from_torchvision(spec, image_size, options.get("width", 1))
    else:
        widths = stage_settings(spec, options.get("width", 1))
        net = cifar_resnet(**{"blocks": 9, **spec.settings, **widths}, stride=2 if stem == "stride2" else 1)
    if spec.family == "resnet":
        _resnet_stem(net, stem)
    elif spec.family == "convnext":
        _convnext_stem(net, patch_of(stem))
    elif spec.family == "light" and stem == "cifar":
        first_layer(net).stride = (1, 1)
        _drop_first_pool(net)
    return net


def timm_arguments(name: str, spec: Spec, image_size: int, stem: str, options: dict) -> dict:
    """What timm.create_model is given beside the name; exports carry it, so that plain timm can build the same net."""
    arguments = {"num_classes": 0, **spec.settings, **stage_settings(spec, options.get("width", 1))}
    if "channels" in arguments:
        # timm's plain stem is 64 wide whatever the stages are; its deep stem follows stem_width, and we put one convolution in its place.
        arguments |= {"stem_type": "deep", "stem_width": arguments["channels"][0] // 2}
    if "zero_init_last" in options:
        arguments["zero_init_last"] = options["zero_init_last"]
    if spec.family == "vit":
        arguments |= {"img_size": image_size, "patch_size": patch_of(stem)}
        arguments |= {VIT_ARGUMENTS[key]: options[key] for key in VIT_ARGUMENTS if key in options}
        if "dropout" in options:
            arguments |= {"pos_drop_rate": options["dropout"], "proj_drop_rate": options["dropout"]}
        if options.get("pool", "concat") != "concat":
            arguments["global_pool"] = options["pool"]
    elif spec.family == "other":
        import timm

        if getattr(timm.get_pretrained_cfg(spec.base), "fixed_input_size", False):
            arguments["img_size"] = image_size
    return arguments


def library_of(spec: Spec, options: dict) -> str:
    """The library that builds the net by name and arguments alone: "ours" where only build_encoder does."""
    slim = spec.family == "light" and options.get("width", 1) != 1
    return "ours" if slim or "mlp_norm" in options else spec.library


def check_options(name: str, spec: Spec, options: dict) -> None:
    """Refuses options the family does not know and values that cannot work, before any weight is drawn."""
    if options.get("feature_norm", "layer") != "layer":
        raise unknown(f"feature_norm for {name}", options["feature_norm"], ("layer",))
    if "width" in options:
        check_width(name, spec, options["width"])
    for key in options:
        if key in ("feature_norm", "width") or (key == "zero_init_last" and spec.family == "resnet"):
            continue
        if spec.family != "vit":
            more = (", width" if takes_width(name, spec) else "") + (", zero_init_last" if spec.family == "resnet" else "")
            lacks = "its net is taken as its library builds it" if spec.family == "other" else MISSING.get(key)
            why = f"{lacks}. It takes" if key in MISSING else "only"
            raise UserError(f"{name} takes no option {key!r}: {why} feature_norm{more}; ViTs have {', '.join(VIT_OPTIONS)}.")
        if key not in VIT_OPTIONS:
            raise unknown(f"option for {name}", key, VIT_OPTIONS)
    if options.get("pool", "token") not in ("token", "avg", "concat"):
        raise unknown(f"pool for {name}", options["pool"], ("token", "avg", "concat"))
    if not isinstance(options.get("zero_init_last", True), bool):
        raise UserError(f"{name}: zero_init_last={options['zero_init_last']!r} must be true or false.")
    check_vit_options(name, options)
    if "feature_width" in options and options.get("pool") != "concat":
        raise UserError(f"{name}: feature_width needs pool='concat', the pooling that it maps to that width.")
    for key in ("dim", "depth", "heads", "mlp", "feature_width"):
        if key in options and not (isinstance(options[key], int | float) and options[key] > 0):
            raise UserError(f"{name}: {key}={options[key]!r} must be a number above 0.")
    if not isinstance(options.get("dropout", 0), int | float) or not 0 <= options.get("dropout", 0) < 1:
        raise UserError(f"{name}: dropout={options['dropout']!r} must be at least 0 and below 1.")


def first_layer(net: nn.Module) -> nn.Module:
    """The first convolution (or patch projection)."""
    return next(module for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear))


def _from_timm(name: str, spec: Spec, image_size: int, stem: str, options: dict) -> nn.Module:
    import timm

    arguments = timm_arguments(name, spec, image_size, stem, options)
    if spec.family == "light" and options.get("width", 1) != 1:
        return slim_light(spec.base, options["width"], arguments)
    try:
        net = timm.create_model(spec.base, **arguments)
    except (AssertionError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"timm cannot build {name} at {image_size} px with {arguments}: {error}. Choose another size, stem or option."
        ) from error
    if spec.family == "vit":
        alter(name, net, options)
    if "channels" in arguments:
        net.conv1 = _convolution(arguments["channels"][0], kernel=7, stride=2)
    return net


def _from_torchvision(spec: Spec, image_size: int, width: float) -> nn.Module:
    import torchvision

    arguments = {"weights": None}
    if spec.base.startswith("vit_"):
        arguments["image_size"] = image_size
    if spec.base in ("googlenet", "inception_v3"):
        arguments |= {"aux_logits": False, "init_weights": True}
    if spec.base.startswith("maxvit"):
        arguments["input_size"] = (image_size, image_size)
    parts = trunk_parts(spec.base)
    if spec.base.startswith("vgg"):
        return Trunk({"features": _vgg_features(spec.base, width)})
    try:
        if width != 1:
            net = (slim_shufflenet if spec.base.startswith("shufflenet") else slim_squeezenet)(spec.base, width)
        else:
            net = torchvision.models.get_model(spec.base, **arguments)
    except (AssertionError, ValueError) as error:
        raise UserError(f"torchvision cannot build {spec.base} at {image_size} px: {error}. Choose another image size.") from error
    if parts:
        return Trunk({part: getattr(net, part) for part in parts})
    for head in ("fc", "classifier", "head", "heads"):
        if hasattr(net, head):
            setattr(net, head, nn.Identity())
    return net


def _vgg_features(base: str, width: float) -> nn.Sequential:
    """VGG's convolutions alone, with VGG's initial weights: its classifier's 120 million are never drawn."""
    import torchvision

    letter = {"vgg11": "A", "vgg13": "B", "vgg16": "D", "vgg19": "E"}[base.removesuffix("_bn")]
    layers = [layer if layer == "M" or width == 1 else scaled(layer, width) for layer in torchvision.models.vgg.cfgs[letter]]
    features = torchvision.models.vgg.make_layers(layers, batch_norm=base.endswith("_bn"))
    for module in features.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return features


class Trunk(nn.Sequential):
    """The convolutional parts of a net one after the other, under the net's own names, then the mean over the map."""

    def __init__(self, parts: dict[str, nn.Module]):
        super().__init__(OrderedDict(parts))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        for part in self:
            images = part(images)
        return images

    def forward_head(self, features: torch.Tensor, pre_logits: bool = True) -> torch.Tensor:
        return features.mean((2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(images))


class Shortcut(nn.Module):
    """He et al.'s parameter-free shortcut (option A): every second pixel, the new channels zero."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        half = images.shape[1] // 2
        pixels = images.permute(0, 2, 3, 1)[:, ::2, ::2]  # channels last: the gradient of a slice is laid out as what was sliced
        return functional.pad(pixels, (half, half)).permute(0, 3, 1, 2)


def cifar_resnet(blocks: int, widths: tuple[int, ...] = (16, 32, 64), stride: int = 1) -> Trunk:
    """He et al.'s ResNet for 32-px images, 6 * blocks + 2 layers in three stages of widths 16, 32 and 64, or of others."""
    from timm.models.resnet import BasicBlock

    stages = {}
    for index, (before, width) in enumerate(zip((widths[0], *widths), widths, strict=False)):
        first = BasicBlock(before, width, stride=1 if index == 0 else 2, downsample=None if index == 0 else Shortcut())
        stages[f"layer{index + 1}"] = nn.Sequential(first, *(BasicBlock(width, width) for _ in range(blocks - 1)))
    stem = nn.Conv2d(3, widths[0], 3, stride, padding=1, bias=False)
    net = Trunk({"conv1": stem, "bn1": nn.BatchNorm2d(widths[0]), "act1": nn.ReLU(inplace=True), **stages})
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net


def _convolution(width: int, kernel: int, stride: int) -> nn.Conv2d:
    layer = nn.Conv2d(3, width, kernel, stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def _resnet_stem(net: nn.Module, stem: str) -> None:
    if stem == "imagenet":
        return
    stride = 1 if stem == "cifar" else 2
    if isinstance(net.conv1, nn.Sequential):  # a deep stem (resnet50d and its like) keeps its three convolutions
        net.conv1[0].stride = (stride, stride)
    else:
        net.conv1 = _convolution(net.conv1.out_channels, kernel=3, stride=stride)
    net.maxpool = nn.Identity()


def _convnext_stem(net: nn.Module, patch: int) -> None:
    # Not timm's patch_size: with 2 it would add a stride-2 convolution to the first stage, and the stride would be 4 again.
    projection = net.stem[0]
    if projection.kernel_size != (patch, patch):
        net.stem[0] = nn.Conv2d(3, projection.out_channels, patch, patch)
        nn.init.trunc_normal_(net.stem[0].weight, std=0.02)
        nn.init.zeros_(net.stem[0].bias)


def _drop_first_pool(net: nn.Module) -> None:
    pool = next((name for name, module in net.named_modules() if isinstance(module, nn.MaxPool2d)), None)
    if pool is not None:
        net.set_submodule(pool, nn.Identity())
