"""The grid of lightweight architectures: every technique on every net, and on plain nets beside them."""

from helpers.runs.config import RunConfig
from helpers.runs.plan import Cell
from helpers.studies.lightweight_architectures.settings import Settings


def cells(s: Settings) -> list[Cell]:
    def place(technique: str, net: str) -> dict:
        optimizer = s.recipes[technique]["training"]["optimizer"]
        return {"part": "main" if net in s.nets else "plain", "backbone": net, "pretext": technique, "optimizer": optimizer}

    return [
        Cell(run(s, technique, net, seed), place(technique, net))
        for seed in range(max(s.seeds, s.plain_seeds))
        for net in s.nets * (seed < s.seeds) + s.plain_nets * (seed < s.plain_seeds)
        for technique in s.techniques
    ]


def run(s: Settings, technique: str, net: str, seed: int) -> RunConfig:
    recipe = s.recipes[technique]
    rate = {"rate": s.rates[net]} if net in s.rates else {}
    read = {"probe_every": 0, "every": s.checkpoint_every, "maps": s.map_images, "cka": False, "tints": True}
    if seed < s.finetune_seeds and s.finetune_epochs:
        read |= {f"finetune_{name}": getattr(s, f"finetune_{name}") for name in ("epochs", "every", "rate", "recipe", "steps")}
    read |= {"blocks": seed == 0 and technique in ("RotNet", "Split-Brain"), "pictures": seed == 0}
    read |= {"untrained": technique in ("Split-Brain", s.techniques[-1])}  # the others begin from the last one's weights
    return RunConfig(
        data=s.data() | {"train_split": s.train_split, "label_split": s.label_split},
        encoder=s.encoders[net],
        views=recipe["views"],
        method=recipe["method"],
        training={"epochs": s.epochs, "batch_size": s.batch_size} | recipe["training"] | rate,
        evaluation=read,
        seed=seed,
    )
