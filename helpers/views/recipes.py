"""The recipes by name."""

from helpers.core.errors import UserError, pick
from helpers.views.settings import ViewSettings
from helpers.views.views import Views

_COLOURS = dict(jitter=0.8, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, grey=0.2, blur=0.5, flip=0.5)
_BYOL = dict(jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, grey=0.2, flip=0.5)
_SMALL = dict(jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, grey=0.2, flip=0.5)
_SMALL_CROPS = dict(small_side=0.5, small_scale=(0.1, 0.3))  # 16 px of 32, 32 of 64: a tenth of 32 px is a 10 px patch

RECIPES = {
    # SimCLR as published for ImageNet: colour strength 1, blur over a tenth of the image half of the time.
    "simclr": ViewSettings(crop_scale=(0.08, 1), **_COLOURS),
    # For 32 to 96 px: colour strength 0.5 and no blur, as SimCLR's own CIFAR-10 experiments. Crops keep at least a fifth
    # of the area: 8 % of a 32 px image is a 9 px patch, in which little of the object is left.
    "simclr_small": ViewSettings(crop_scale=(0.2, 1), **_SMALL),
    # The backbone contest's: small-image colours, but the full crop range.
    "contest": ViewSettings(crop_scale=(0.08, 1), **_SMALL),
    # One unaltered view; count=2 where a method wants a pair.
    "none": ViewSettings(count=1),
    # The usual training of supervised nets on small images: moved by up to an eighth (4 px of 32), flipped.
    "supervised": ViewSettings(count=1, shift=0.125, flip=0.5),
    # MoCo v2's and SimSiam's: milder colours than SimCLR's, blur half of the time. Small images take simclr_small, the same but for it.
    "moco_v2": ViewSettings(crop_scale=(0.2, 1), blur=0.5, **_SMALL),
    # BYOL's two distributions, also MoCo v3's and Barlow Twins': one view always blurred, the other hardly ever, but solarized.
    "byol": ViewSettings(crop_scale=(0.08, 1), blur=1.0, alternate=dict(blur=0.1, solarize=0.2), **_BYOL),
    # For 32 to 96 px: crops from a fifth and no blur, as in simclr_small.
    "byol_small": ViewSettings(crop_scale=(0.2, 1), alternate=dict(solarize=0.2), **_BYOL),
    # SwAV's multi-crop, 2 of 224 px and 6 of 96, with SimCLR's colours at full strength.
    "swav": ViewSettings(crop_scale=(0.14, 1), small=6, small_side=96 / 224, small_scale=(0.05, 0.14), **_COLOURS),
    "swav_small": ViewSettings(crop_scale=(0.3, 1), small=2, **_SMALL_CROPS, **_SMALL),
    # ReLIC compares two views of BYOL's framework: its two distributions.
    "relic": ViewSettings(crop_scale=(0.08, 1), blur=1.0, alternate=dict(blur=0.1, solarize=0.2), **_BYOL),
    # ReLICv2: 4 large and 2 small views, a tenth of the large ones masked. Each may meet each, so all are made alike: blur and
    # solarize at about the mean of BYOL's two sides; crops as SwAV's.
    "relic_v2": ViewSettings(
        count=4, crop_scale=(0.14, 1), small=2, small_side=96 / 224, small_scale=(0.05, 0.14), mask=0.1, blur=0.5, solarize=0.1, **_BYOL
    ),
    "relic_v2_small": ViewSettings(count=3, crop_scale=(0.3, 1), small=1, mask=0.15, **_SMALL_CROPS, **_SMALL),
    # RotNet turns the one view itself; a light crop leaves what is up in the picture.
    "rotnet": ViewSettings(count=1, crop_scale=(0.6, 1), flip=0.5),
    # Split-Brain predicts colours from lightness and back: nothing may change them.
    "split_brain": ViewSettings(count=1, crop_scale=(0.5, 1), flip=0.5),
    # One view is made in two steps that a study names (order), the other stays as it is: SimCLR's question which two teach most. All
    # steps always happen but for the colours, which are SimCLR's at full strength.
    "composition": ViewSettings(
        order=("crop", "colour"),
        alternate=dict(order=[]),
        crop_scale=(0.2, 1),
        quarter_turns=True,
        sobel=1.0,
        noise=1.0,
        cutout=1.0,
        **_COLOURS | dict(blur=1.0),
    ),
    # Masked patches are the whole task: MAE's crop and flip, no colours.
    "masked": ViewSettings(count=1, crop_scale=(0.2, 1), flip=0.5),
}


def make_views(name: str, size: int, **overrides) -> Views:
    """The recipe by name at an image size, with any of its settings changed: make_views("contest", 32, grey=0)."""
    recipe = pick("recipe", name, RECIPES)
    try:
        return Views(ViewSettings(**{**recipe.model_dump(), **overrides}), size)
    except UserError as error:
        raise UserError(f"Recipe {name!r}: " + str(error).removeprefix("ViewSettings: ")) from error
