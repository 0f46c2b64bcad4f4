"""The encoders the studies name: which net, with which settings, and which stem at small and at large images."""

import re
from dataclasses import dataclass, field

from helpers.core.errors import UserError, nearest, unknown

# Images up to this many pixels get the small-image stem when the stem is "auto".
SMALL_IMAGE = 64

STEMS = {
    "resnet": ("imagenet", "cifar", "stride2"),
    "convnext": ("patch4", "patch2", "patch1"),
    "light": ("imagenet", "cifar"),
    "cifar_resnet": ("cifar", "stride2"),
    "other": ("imagenet",),
}
# These take images of other sizes than their own, as views of several sizes need: convolutions with a mean over the map behind them, and
# ViTs, whose positions helpers.models.vit lays over another number of patches.
ANY_SIZE = ("resnet", "convnext", "light", "cifar_resnet", "vit")


@dataclass(frozen=True)
class Spec:
    """One encoder: its family (which decides the stems), the library and name it is built from, what differs from that net."""

    family: str
    base: str
    about: str
    library: str = "timm"
    settings: dict = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    small: str = "cifar"
    large: str = "imagenet"


def _resnets() -> dict[str, Spec]:
    specs = {}
    for depth in (18, 34, 50, 101, 152, 200):
        base = f"resnet{depth}"
        specs[base] = Spec("resnet", base, f"ResNet-{depth} (He et al. 2016)")
        for times in (2, 4):
            widths = tuple(times * width for width in (64, 128, 256, 512))
            about = f"ResNet-{depth}, every layer {times} times as wide, the stem too, as in SimCLR and BYOL"
            specs[f"{base}_x{times}"] = Spec("resnet", base, about, settings={"channels": widths})
    return specs


def _vit(base: str, about: str, small: str = "patch8", **options) -> Spec:
    return Spec("vit", base, about, options=options, small=small, large="patch16")


def _convnext(base: str, about: str, **settings) -> Spec:
    return Spec("convnext", base, about, settings=settings, small="patch2", large="patch4")


# The small ones: about 10 (tiny, micro) and 36 (mini) million multiply-adds and 0.7 and 2.5 million parameters at 32 px, alike in
# all three families. Layer scale starts at 0.1, CaiT's value for shallow nets: from 1e-6 a short run hardly uses its blocks.
_SMALL_CONVNEXT = {"depths": (1, 2, 3, 1), "ls_init_value": 0.1}

ENCODERS: dict[str, Spec] = {
    **_resnets(),
    "resnet_tiny": Spec(
        "resnet",
        "resnet18",
        "one basic block a stage, widths 24 to 192, for demos",
        settings={"layers": (1, 1, 1, 1), "channels": (24, 48, 96, 192)},
        small="stride2",
    ),
    "resnet_mini": Spec(
        "resnet",
        "resnet18",
        "ResNet-18 at half its width, 32 to 256",
        settings={"layers": (2, 2, 2, 2), "channels": (32, 64, 128, 256)},
        small="stride2",
    ),
    "resnet56_cifar": Spec(
        "cifar_resnet", "resnet56_cifar", "the CIFAR ResNet-56 of He et al.: 3 stages of 9 blocks, widths 16, 32, 64", "ours", large="cifar"
    ),
    "resnet_fast": Spec(
        "cifar_resnet",
        "resnet_fast",
        "three stages of one basic block, widths 64, 128 and 256, for minutes of a CPU",
        "ours",
        settings={"blocks": 1, "widths": (64, 128, 256)},
        small="stride2",
        large="stride2",
    ),
    "vit_micro": _vit("vit_tiny_patch16_224", "ViT of width 128, 3 blocks, 2 heads, for demos", dim=128, depth=3, heads=2),
    "vit_mini": _vit("vit_tiny_patch16_224", "ViT of width 192, 5 blocks, 3 heads", dim=192, depth=5, heads=3),
    "vit_tiny": _vit("vit_tiny_patch16_224", "ViT-Ti: width 192, 12 blocks, 3 heads"),
    "vit_small": _vit("vit_small_patch16_224", "ViT-S: width 384, 12 blocks, 6 heads"),
    "vit_base": _vit("vit_base_patch16_224", "ViT-B: width 768, 12 blocks, 12 heads"),
    "vit_large": _vit("vit_large_patch16_224", "ViT-L: width 1024, 24 blocks, 16 heads"),
    "vit_contest": _vit(
        "vit_base_patch16_224",
        "the 'ViT-B' that the contest's authors ran: 6 blocks, all tokens concatenated and mapped to 2048",
        dim=1024,
        depth=6,
        heads=16,
        mlp=2.0,
        dropout=0.1,
        positions="normal",
        pool="concat",
        feature_width=2048,
    ),
    "convnext_micro": _convnext(
        "convnext_tiny", "ConvNeXt of 1-2-3-1 blocks, widths 24 to 192, for demos", dims=(24, 48, 96, 192), **_SMALL_CONVNEXT
    ),
    "convnext_mini": _convnext("convnext_tiny", "ConvNeXt of 1-2-3-1 blocks, widths 48 to 384", dims=(48, 96, 192, 384), **_SMALL_CONVNEXT),
    "convnext_tiny": _convnext("convnext_tiny", "ConvNeXt-T: 3-3-9-3 blocks, widths 96 to 768"),
    "convnext_small": _convnext("convnext_small", "ConvNeXt-S: 3-3-27-3 blocks; what the contest's authors ran as 'ConvNeXt-T'"),
    "efficientnet_lite0": Spec("light", "efficientnet_lite0", "EfficientNet-Lite0: inverted residuals without squeeze-and-excitation"),
    "mobilenetv2": Spec("light", "mobilenetv2_100", "MobileNetV2 at width 1.0: inverted residuals, linear bottlenecks"),
    "shufflenetv2": Spec("light", "shufflenet_v2_x0_5", "ShuffleNetV2 at width 0.5: channel split and shuffle", "torchvision"),
    "squeezenet": Spec("light", "squeezenet1_1", "SqueezeNet 1.1: fire modules, no normalisation", "torchvision"),
    "vgg11_bn": Spec("light", "vgg11_bn", "VGG-11 with batch normalisation: no skip connections", "torchvision"),
    "alexnet": Spec("light", "alexnet", "AlexNet: five convolutions, no normalisation, no skip connections", "torchvision"),
}

_TIMM_FAMILIES = {
    "timm.models.resnet": "resnet",
    "timm.models.convnext": "convnext",
    "timm.models.vision_transformer": "vit",
    "timm.models.efficientnet": "light",
    "timm.models.mobilenetv3": "light",
}
# torchvision nets that are a plain chain of named parts. They go before timm's: timm's VGG keeps two 4096-wide layers in its features.
TRUNKS = {
    "alexnet": ("features",),
    "vgg": ("features",),
    "squeezenet": ("features",),
    "shufflenet": ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"),
}


def trunk_parts(name: str) -> tuple[str, ...] | None:
    """The parts of a torchvision net that make its feature map, where they are a plain chain."""
    return next((parts for start, parts in TRUNKS.items() if name.startswith(start)), None)


def find(name: str) -> Spec:
    """The spec of our own name, else of a timm name, else of a torchvision name; else an error with the nearest names."""
    if name in ENCODERS:
        return ENCODERS[name]
    import timm  # seconds that a name of our own does not cost
    import torchvision

    from_torchvision = torchvision.models.list_models(module=torchvision.models)
    if name in from_torchvision and trunk_parts(name):
        return Spec("light", name, f"torchvision's {name}", "torchvision")
    if timm.is_model(name):
        return _from_timm(name)
    if name in from_torchvision:
        return Spec("other", name, f"torchvision's {name}", "torchvision", small="imagenet")
    close = nearest(name, [*ENCODERS, *timm.list_models(), *from_torchvision])
    others = [other for other in close if other not in ENCODERS] if len(close) <= 3 else []
    raise unknown("encoder", name, [*ENCODERS, *others])


def _from_timm(name: str) -> Spec:
    import timm

    family = _TIMM_FAMILIES.get(timm.model_entrypoint(name).__module__, "other")
    about = f"timm's {name}"
    if family == "vit":  # a ViT that says its patch keeps it
        patch = re.search(r"_patch(\d+)", name)
        stem = f"patch{patch[1]}" if patch else "patch16"
        return Spec("vit", name, about, small=stem, large=stem)
    if family == "convnext":  # "_ols": an overlapping stem, which is not patches
        return Spec("other", name, about, small="imagenet") if "_ols" in name else _convnext(name, about)
    return Spec(family, name, about, small="imagenet" if family == "other" else "cifar")


def resolve_stem(name: str, image_size: int, stem: str = "auto", patch: int | None = None) -> str:
    """The stem an encoder gets, never "auto": checked without building the net, so a config can be refused before any work."""
    spec = find(name)
    if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 1:
        raise UserError(f"Image size {image_size!r} for {name}: give a positive whole number of pixels.")
    if spec.family == "vit":
        return _vit_stem(name, spec, image_size, stem, patch)
    if patch is not None:
        raise UserError(f"{name} takes no patch={patch!r}: only a ViT does. Choose its stem instead: {', '.join(STEMS[spec.family])}.")
    if stem == "auto":
        return spec.small if image_size <= SMALL_IMAGE else spec.large
    if stem not in STEMS[spec.family]:
        raise unknown(f"stem for {name}", stem, STEMS[spec.family])
    return stem


def _vit_stem(name: str, spec: Spec, image_size: int, stem: str, patch: int | None) -> str:
    divisors = [d for d in range(1, image_size + 1) if image_size % d == 0]
    if patch is not None and stem not in ("auto", f"patch{patch}"):
        raise UserError(f"{name}: stem={stem!r} and patch={patch!r} contradict each other. Give one of them.")
    if patch is not None:
        stem = f"patch{patch}"
    if stem == "auto":
        usual = patch_of(spec.small if image_size <= SMALL_IMAGE else spec.large)
        fits = [d for d in divisors if 1 < d <= usual]
        stem = f"patch{fits[-1] if fits else usual}"
    if not re.fullmatch(r"patch[1-9]\d*", stem):
        raise unknown(f"stem for {name}", stem, [f"patch{d}" for d in divisors])
    if patch_of(stem) not in divisors:
        valid = ", ".join(map(str, divisors))
        raise UserError(f"{name}: a patch of {patch_of(stem)} does not divide the image size {image_size}. Patches that do: {valid}.")
    return stem


def patch_of(stem: str) -> int:
    return int(stem.removeprefix("patch"))
