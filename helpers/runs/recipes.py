"""Recipes by name: an encoder, views, a method and its training that were chosen together, for whoever wants what works.

Each was chosen on images held out from training; the study that chose it says how (`small_fast`: the race, preset cpu).
"""

from helpers.core.errors import pick

RECIPES: dict[str, dict] = {
    # Images of about 32 px on a CPU: two processes of a thread each, a net as wide as its matrix unit likes and as shallow as minutes ask,
    # eight views of half the side beside two whole ones. An epoch is 5,000 images: set training.epochs by the time.
    "small_fast": {
        "encoder": {"name": "resnet_fast"},
        "views": {"recipe": "simclr_small", "options": {"count": 2, "small": 8, "small_side": 0.5, "small_scale": [0.25, 1.0]}},
        "method": {"name": "simclr", "options": {"temperature": 0.1}},
        "training": {
            "epoch_images": 5000,
            "batch_size": 128,
            "processes": 2,
            "optimizer": "muon",
            "rate": 0.02,
            "weight_decay": 1e-4,
        },
    },
}


def recipe(name: str, **changes) -> dict:
    """The sections of a RunConfig, with changes laid over them: RunConfig(**recipe("small_fast", training={"epochs": 40}))."""
    return merged(pick("recipe", name, RECIPES), changes)


def merged(base: dict, changes: dict) -> dict:
    """The nested tables of `changes` laid over those of `base`."""
    both = {
        key: merged(base[key], value) if isinstance(base.get(key), dict) and isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return base | both
