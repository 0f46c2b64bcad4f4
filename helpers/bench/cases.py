"""What is measured: a case is a method on a net at a size and batch. Which cases by default, and a case's method built."""

from dataclasses import dataclass

import torch

from helpers.core.errors import UserError, pick
from helpers.methods import METHODS, Method, method_options
from helpers.models import build_encoder, resolve_stem
from helpers.views import make_views

FORM = "method:backbone:stem:size:batch"
CLASSES = 10
# Every other method sees the contest's views. ReLICv2's are those of its study, masks included.
RECIPES = {"supervised": ("supervised", {}), "relic_v2": ("relic_v2_small", {"count": 4, "small": 2})}
OPTIONS = {"simclr": {"temperature": 0.1}}


@dataclass(frozen=True)
class Case:
    method: str
    backbone: str
    stem: str
    size: int
    batch: int

    def __str__(self) -> str:
        return f"{self.method}, {self.backbone} ({self.stem}), {self.size} px, batch {self.batch}"

    def build(self) -> Method:
        """The method with its views and weights drawn from a fixed seed: every competitor starts from the same ones."""
        torch.manual_seed(0)
        options = dict(OPTIONS.get(self.method, {}))
        if "classes" in method_options(self.method):
            options["classes"] = CLASSES
        recipe, changes = RECIPES.get(self.method, ("contest", {}))
        views = make_views(recipe, self.size, **changes)
        return METHODS[self.method](build_encoder(self.backbone, self.size, stem=self.stem), views, **options)


def make_case(method: str, backbone: str, stem: str, size: int, batch: int) -> Case:
    """A case that can be built, its stem never "auto"; else an error that names the nearest names."""
    pick("method", method, METHODS)
    if batch < 2:
        raise UserError(f"batch = {batch}: a case needs at least 2 images a step.")
    return Case(method, backbone, resolve_stem(backbone, size, stem), size, batch)


def parse_case(text: str) -> Case:
    parts = text.split(":")
    if len(parts) != 5 or not (parts[3].isdigit() and parts[4].isdigit()):
        raise UserError(f"--case {text!r}: give {FORM}, such as simclr:resnet18:cifar:32:256; the stem may be auto.")
    return make_case(*parts[:3], int(parts[3]), int(parts[4]))


def default_cases(device: torch.device) -> list[Case]:
    """The nets of the study at 32 px. On a CPU ResNet-18 and ConvNeXt take smaller batches: a step of the slowest competitor is to
    stay within some seconds."""
    if device.type != "cuda":
        wanted = [("resnet_fast", 256), ("resnet18", 128), ("mobilenetv2", 256), ("vit_tiny", 256), ("convnext_tiny", 64)]
    else:
        wanted = [(net, batch) for net in ("resnet18", "resnet50") for batch in (512, 128)]
        wanted += [(net, batch) for net in ("vit_tiny", "convnext_tiny") for batch in (256, 128)]
        wanted += [("resnet18", 256), ("mobilenetv2", 256)]
    several = [make_case("moco_v3", "vit_tiny", "patch8", 32, 128)]
    if device.type != "cuda":
        several.append(make_case("relic_v2", "resnet_tiny", "stride2", 32, 128))
    return [make_case("simclr", net, "auto", 32, batch) for net, batch in wanted] + several
