"""The grid of the backbone contest: backbones under optimizers, the fairness test, wrong rates, and one longer run."""

from helpers.runs.config import RangeTest, RunConfig
from helpers.runs.plan import Cell
from helpers.studies.backbone_contest.settings import ALONE, REFERENCE, RELEASED, TRIPLE, Settings


def cells(s: Settings) -> list[Cell]:
    evaluation = {"probe_every": s.probe_every, "probe_bank": s.probe_bank, "maps": s.map_images, "every": s.read_every}
    base = {"data": s.data(), "views": {"recipe": "contest"}, "evaluation": evaluation}
    common = {"epochs": s.epochs, "batch_size": s.batch_size}
    steps = {"seeds": s.range_seeds, "coarse_steps": s.range_steps, "fine_steps": s.range_steps, "default": s.default_rate}
    radam = {"optimizer": "radam"}
    adamw = {"optimizer": "adamw", "weight_decay": s.adamw_weight_decay}
    training = {
        "LAMB": {"optimizer": "lamb", "rate": s.lamb_rate, "weight_decay": s.lamb_weight_decay, "schedule": "constant"},
        "RAdam @3/8": radam | {"rate": RangeTest(factor=3 / 8, **steps)},
        "AdamW @3/8": adamw | {"rate": RangeTest(factor=3 / 8, **steps)},
        "AdamW @1/10": adamw | {"rate": RangeTest(factor=1 / 10, **steps)},
    }

    def rate(factor: float) -> RangeTest:
        return RangeTest(factor=3 / 8 * factor, **steps)

    def run(backbone: str, seed: int, method: str = "simclr", compared: bool = False, form: dict | None = None, **changes) -> RunConfig:
        method = {"name": method, "options": {"temperature": s.temperature, **s.heads[backbone], **(form or {})}}
        read = {"evaluation": evaluation | ({} if compared or s.features == "all" else {"cka": False})}
        return RunConfig(**base | read, encoder=s.encoders[backbone], method=method, training=common | changes, seed=seed)

    def contest(optimizers: list[str]) -> list[Cell]:
        return [
            Cell(run(backbone, seed, compared=name == REFERENCE, **training[name]), place("contest", backbone, name))
            for name in optimizers
            for seed in range(s.seeds if name == REFERENCE else s.optimizer_seeds)
            for backbone in s.backbones
        ]

    found = contest([name for name in s.optimizers if name == REFERENCE])
    found += [  # a wrong rate: one-cycle against a fixed rate, one backbone at multiples of its own maximum
        Cell(
            # the right rate under one cycle is the contest's own run
            run(s.sensitive, seed, compared=(name, factor) == ("one-cycle", 1.0), **radam, schedule=schedule, rate=rate(factor)),
            place("sensitivity", s.sensitive, schedule=name, rate_factor=factor),
        )
        for seed in range(s.sensitivity_seeds)
        for name, schedule in (("one-cycle", "one_cycle"), ("fixed", "constant"))
        for factor in s.sensitivity_factors
        if s.sensitive in s.backbones
    ]
    found += [  # the fairness test: SiT's three pretexts at once, on the ViT and on its rival
        Cell(run(backbone, seed, "sit", **training[REFERENCE]), place("fairness", backbone, pretext=TRIPLE))
        for backbone in ("ViT", "ResNet")
        if backbone in s.backbones
        for seed in range(s.fairness_seeds if backbone == "ViT" else min(s.fairness_seeds, s.optimizer_seeds))
    ]
    found += [  # and once more on the ViT in the form that SiT's authors released
        Cell(run("ViT", seed, "sit", form={"released": True}, **training[REFERENCE]), place("fairness", "ViT", pretext=RELEASED))
        for seed in range(s.released_seeds)
        if "ViT" in s.backbones
    ]
    found += contest([name for name in s.optimizers if name != REFERENCE])
    return found + ([Cell(headline(s, base), place("headline", "ResNet", s.headline["optimizer"]))] if s.headline else [])


def headline(s: Settings, base: dict) -> RunConfig:
    """One longer run of a larger net, beside its own untrained encoder."""
    h = s.headline
    return RunConfig(
        data=base["data"] | {"train_images": h["train_images"], "test_images": None},
        views={"recipe": h["views"]},
        evaluation=base["evaluation"] | {"untrained": True} | ({} if s.features == "all" else {"cka": False}),
        encoder=h["encoder"],
        method={"name": "simclr", "options": {"temperature": h["temperature"], "hidden": 512, "out": 128}},
        training={name: h[name] for name in ("epochs", "batch_size", "optimizer", "rate", "weight_decay")},
    )


def place(
    part: str, backbone: str, optimizer: str = REFERENCE, pretext: str = ALONE, schedule: str = "one-cycle", rate_factor: float = 1.0
):
    return dict(part=part, backbone=backbone, optimizer=optimizer, pretext=pretext, schedule=schedule, rate_factor=rate_factor)
