"""The grid of label efficiency: one run a seed, SimCLR and everything that is read out before, on the way and after."""

from helpers.core.errors import UserError
from helpers.runs import labels
from helpers.runs.config import LabelDraws, RunConfig
from helpers.runs.material import material
from helpers.runs.plan import Cell
from helpers.studies.label_efficiency.settings import Settings


def cells(s: Settings) -> list[Cell]:
    few = LabelDraws(
        fractions=s.fractions,
        draws=s.draws,
        reference=s.reference,
        on_the_way=sorted(set(s.checkpoints)),
        epochs=s.label_epochs,
        steps=s.label_steps,
        batch_size=s.label_batch_size,
        rate=s.label_rate,
        weight_decay=s.label_weight_decay,
        recipe=s.label_recipe,
    )
    shared = {"data": s.data(), "encoder": s.encoder, "views": s.views, "method": s.method, "training": s.training}
    read = {"probe_every": 0, "maps": None, "cka": False}
    return [
        Cell(
            RunConfig(**shared, evaluation=read | {"labels": few.model_copy(update={"pictures": seed == 0})}, seed=seed),
            {"part": "SimCLR"},
        )
        for seed in range(s.seeds)
    ]


def check(s: Settings) -> None:
    """Read the images and see that every fraction leaves each class a label, before anything is trained."""
    config = cells(s)[0].config
    images = material(config.data)
    labels.check(config.evaluation.labels, images)
    if config.training.batch_size > len(images.train_indices):
        raise UserError(
            f"training.batch_size = {config.training.batch_size} is larger than the {len(images.train_indices)} training images. Lower it."
        )
