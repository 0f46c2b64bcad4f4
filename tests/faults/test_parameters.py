"""What is mistyped or impossible is refused in the first cell, before any data is read."""

import nbformat
import pytest

from helpers.core.errors import UserError
from helpers.core.files import REPOSITORY
from helpers.runs.config import RunConfig
from helpers.studies import names
from helpers.studies.open import open_study

OWN = 'preset = "demo"\ndevice = "auto"\nepochs = 3\n'
VIT = {"name": "vit_micro", "stem": "patch5"}
RESNET = {"name": "resnet_tiny", "stem": "cifar"}


def opened(*cells, **namespace):
    return open_study("backbone_contest", {"In": ["", *cells]} | namespace)


@pytest.mark.parametrize("line", ["epcohs = 3", "epcohs: int = 3", "seeds, epcohs = 1, 3"])
def test_a_typo_in_the_parameters_cell_itself_is_found(line):
    with pytest.raises(UserError, match="'epcohs'.*epochs"):
        opened(OWN + line)


@pytest.mark.parametrize("name", names())
def test_every_notebook_knows_its_own_parameters_and_no_others(name):
    book = nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", as_version=4)
    (own,) = [cell.source for cell in book.cells if "parameters" in cell.metadata.get("tags", ())]
    values = {}
    exec(own, values)
    del values["__builtins__"]
    assert open_study(name, {"In": ["", own]} | values).preset == "demo"
    with pytest.raises(UserError, match="'sedes'.*seeds"):
        open_study(name, {"In": ["", own + "\nsedes = 3"]} | values)


def test_a_mended_typo_is_forgotten_and_other_cells_may_name_what_they_like():
    study = opened(OWN + "epcohs = 3", "study = open_study('backbone_contest', globals())", "%matplotlib inline", OWN, "mine = 3", epochs=3)
    assert study.settings.epochs == 3


def test_a_typo_that_papermill_injects_is_found_beside_the_parameters_cell():
    with pytest.raises(UserError, match="'sedes'.*seeds"):
        opened(OWN, "# Parameters\nsedes = 3\n")


@pytest.mark.parametrize(
    ("namespace", "says"),
    [
        ({"readout": "knn200_t01"}, "readout 'knn200_t01'.*'knn200_t0.1'"),
        ({"optimizers": ["RAdam"]}, "'RAdam'.*'RAdam @3/8'"),
        ({"backbones": []}, "backbones"),
        ({"backbones": "ResNet"}, "backbones = 'ResNet'.*list"),
        ({"encoders": {"ResNet": RESNET}}, "encoders has no entry for ConvNeXt, ViT"),
        ({"backbones": ["ViT"], "encoders": {"ViT": VIT}, "image_size": 32}, "patch of 5 does not divide the image size 32"),
        ({"backbones": ["ResNet"], "encoders": {"ResNet": RESNET | {"name": "resnet_tny"}}}, "'resnet_tny'.*'resnet_tiny'"),
        ({"backbones": ["ResNet"], "encoders": {"ResNet": RESNET | {"stm": "cifar"}}}, "'stm'.*stem"),
        ({"backbones": ["ResNet"], "heads": {"ResNet": {"hiden": 3}}}, "'hiden'.*hidden"),
        ({"time_budget": "nan"}, "time_budget = 'nan'"),
    ],
)
def test_what_cannot_be_is_refused(namespace, says):
    with pytest.raises(UserError, match=says):
        opened(OWN, **namespace)


def test_a_device_of_none_is_the_default():
    assert opened(OWN, device=None).device == "auto"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"encoder": {"name": "resnet_tny"}}, "encoder.name.*'resnet_tiny'"),
        ({"encoder": VIT, "data": {"image_size": 32}}, "patch of 5 does not divide"),
        ({"encoder": {"name": "resnet18", "stem": "patch4"}, "data": {"image_size": 32}}, "'patch4'.*'cifar'|'patch4'.*cifar"),
        ({"training": {"schedule": "one_cycel"}}, "'one_cycel'.*'one_cycle'"),
        ({"data": {"datset": "cifar10"}}, "'datset'.*dataset"),
    ],
)
def test_a_config_that_cannot_be_is_refused_when_it_is_written(changes, says):
    with pytest.raises(UserError, match=says):
        RunConfig(**changes)


def test_a_stem_is_checked_later_where_the_image_size_is_not_yet_known():
    assert RunConfig(encoder=VIT).id
