"""The page of methods: what each is, one short run of each under a shared protocol, and the best published figure beside it."""

import functools
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from helpers.core.errors import UserError, pick, unknown
from helpers.core.files import results_dir
from helpers.judging.arms import Arm, accuracy
from helpers.methods import METHODS, method_options
from helpers.pages.pitfalls import pitfall_list
from helpers.report.recipe_words import in_words
from helpers.report.report import MISSING, markdown
from helpers.runs import records
from helpers.runs.config import RangeTest, RunConfig
from helpers.runs.run import build
from helpers.views import RECIPES, ViewSettings

PROTOCOLS = Path(__file__).with_name("methods.toml")
PUBLISHED = Path(__file__).with_name("published.toml")
SECTIONS = tuple(name for name in RunConfig.model_fields if name != "seed")
READ = {"untrained": True, "probe_every": 0, "maps": None, "cka": False}  # what this page shows of a run, and no more
MAIN = "cpu"  # the preset that is committed
NONE_FOUND = "none found"
HANDED = ("classes", "images")  # options that the run fills in from its data


@dataclass(frozen=True)
class Entry:
    """A method with the runs asked for and those that have a record."""

    name: str
    configs: tuple[RunConfig, ...]
    arm: Arm

    @property
    def card(self):
        return METHODS[self.name].card

    @property
    def config(self) -> RunConfig:
        return self.configs[0]


@functools.cache
def presets() -> dict[str, dict]:
    return tomllib.loads(PROTOCOLS.read_text(encoding="utf-8"))


@functools.cache
def published() -> dict[str, list[dict]]:
    """Every method's published figures on CIFAR-10, the best first."""
    found = tomllib.loads(PUBLISHED.read_text(encoding="utf-8"))
    return {name: sorted(figures, key=lambda figure: -figure["top1"]) for name, figures in found.items()}


def configs_of(name: str, preset: str) -> tuple[RunConfig, ...]:
    """The runs of one method, a seed each: the preset's sections, and what the method needs otherwise laid over them."""
    kind, shared = pick("method", name, METHODS), pick("preset of the page of methods", preset, presets())
    own = shared.get("methods", {}).get(name, {})
    for section in own:
        if section not in SECTIONS:
            raise unknown(f"section of {preset}.methods.{name} in {PROTOCOLS.name}", section, SECTIONS)
    given = {"views": {"recipe": kind.card.recipe}, "method": {"name": name}, "evaluation": READ}
    values = {section: given.get(section, {}) | shared.get(section, {}) | own.get(section, {}) for section in SECTIONS}
    try:
        return tuple(RunConfig(**values, seed=seed) for seed in range(shared["seeds"]))
    except UserError as error:
        raise UserError(f"{PROTOCOLS.name}, preset {preset}, method {name}: {error}") from error


def entries(preset: str, names: Iterable[str] | None = None) -> list[Entry]:
    """Every method, or those named, with the records that are there."""
    found = []
    for name in METHODS if names is None else dict.fromkeys(names):
        configs = configs_of(name, preset)
        made = {config.seed: records.find(config.id) for config in configs}
        found.append(Entry(name, configs, Arm(name, {seed: record for seed, record in made.items() if record is not None})))
    return found


def check(configs: Iterable[RunConfig]) -> None:
    """Build each method on its images, so that what cannot work is said before the first is trained."""
    for config in configs:
        try:
            method, batches = build(config, torch.device("cpu"))
            method.check(len(batches.positions), batches.batch_size * config.training.accumulate, config.training.accumulate)
        except UserError as error:
            raise UserError(f"{config.method.name} cannot be trained on {config.encoder.name}: {error}") from error


def page_path(preset: str) -> Path:
    """results/methods.md, and for other presets a folder that is not committed."""
    return results_dir() / "methods.md" if preset == MAIN else results_dir() / "methods" / preset / "methods.md"


def command(preset: str) -> str:
    return f"make methods PRESET={preset}"


# -- tables -------------------------------------------------------------------------------------------------------------


def overview(found: list[Entry], preset: str) -> pd.DataFrame:
    """A row a method: ours with what it is made of, then the best published figure with the same."""
    return pd.DataFrame([_ours(entry, preset) | _theirs(entry.name) for entry in found])


def _ours(entry: Entry, preset: str) -> dict:
    return {
        "method": f"[{entry.card.title}](#{anchor(entry.card.title)})",
        "linear, ours [95 %]": measured(entry.arm, "linear") if entry.arm.records else "not run yet",
        "untrained": accuracy(entry.arm, "linear_untrained")[0].mean,
        "best block": " ".join(filter(None, (measured(entry.arm, "linear_block", interval=False), _block(entry.arm)))) or MISSING,
        "kNN 10": accuracy(entry.arm, "knn10")[0].mean,
        "epochs, images, net": f"{entry.config.training.epochs}, {_images(entry.config)}, {_net(entry.config)}",
    }


def _theirs(name: str) -> dict:
    best = published().get(name, [{}])[0]
    return {
        "published": f"{best['top1']:g}" if best else NONE_FOUND,
        "protocol": best.get("protocol"),
        "epochs, net": f"{best.get('epochs', 'not stated')}, {best['net']}" if best else None,
        "who": best.get("source"),
    }


def block(preset: str = MAIN) -> str:
    """What the README shows: every method, ours beside the best published."""
    found = entries(preset)
    table = overview(found, preset)[["method", "linear, ours [95 %]", "untrained", "published", "protocol"]]
    table["method"] = [f"[{entry.card.title}]({page_path(preset).name}#{anchor(entry.card.title)})" for entry in found]
    table.insert(1, "in configs", [f"`{entry.name}`" for entry in found])
    return f"{scale(found[0], preset)}\n\n{markdown(table)}\n\n{_to_do(found, preset)}".rstrip()


def scale(entry: Entry, preset: str) -> str:
    """What ours is, in a sentence that every table carries."""
    config = entry.config
    return (
        f"Ours: {config.training.epochs} epochs on {_images(config)} images of {config.data.dataset} with {_net(config)}, one protocol for "
        f"all but for what `helpers/pages/{PROTOCOLS.name}` excepts. A short run of a tiny net: **not comparable by level** with the "
        "published figures beside it, which come from all of CIFAR-10, larger nets and hundreds of epochs, and no ranking of methods."
    )


def _to_do(found: list[Entry], preset: str) -> str:
    missing = sum(not entry.arm.records for entry in found)
    return f"*{missing} of {len(found)} not run yet: `{command(preset)}`*" if missing else ""


# -- the page -----------------------------------------------------------------------------------------------------------


def page(preset: str = MAIN) -> str:
    found = entries(preset)
    others = [f"{entry.card.title} ({_net(entry.config)})" for entry in found if _net(entry.config) != _net(found[0].config)]
    parts = [
        "# The methods",
        f"Written by `{command(preset)}` and `make results-tables`. {scale(found[0], preset)}",
        f"Accuracy is top-1 in percent on {_tested(found)} test images, with intervals (95 %) over test images where a method has one run "
        "and over seeds where it has several. *Untrained* is the same probe on the same encoder before training; *best block* the probe "
        "on the block that held-out training images chose. *Published* is the best figure found, with its own protocol."
        + (f" Another net than the rest: {', '.join(others)}." if others else ""),
        *filter(None, [_to_do(found, preset)]),
        markdown(overview(found, preset)),
        *(section(entry, preset) for entry in found),
        "## How methods go wrong",
        "What published code is known to get wrong, and what stands in its way here: a reason, or tests that fail where it happens.",
        pitfall_list(),
    ]
    return "\n\n".join(parts) + "\n"


def section(entry: Entry, preset: str) -> str:
    card, config = entry.card, entry.config
    settings = ViewSettings(**(RECIPES[config.views.recipe].model_dump() | config.views.options))
    rows = [
        f"**Loss:** `{card.loss}`",
        f"**Views:** recipe `{config.views.recipe}`{_changes(config.views.options)}: {in_words(settings)}",
        f"**Options:** {_options(entry.name)}{_changes(config.method.options, ', here ')}",
        f"**A checkpoint keeps:** {card.kept}",
        f"**Our run:** {_run(config)}",
        f"**Ours:** {_told(entry, preset)}",
    ]
    cited = [_cited(figure) for figure in published().get(entry.name, [])]
    rows += [f"**Published:** {'' if cited else NONE_FOUND}".rstrip()]
    return f"## {card.title}\n\n`{entry.name}`: {card.paper}.\n\n" + "\n".join(
        [*(f"* {row}" for row in rows), *(f"  * {row}" for row in cited)]
    )


def _told(entry: Entry, preset: str) -> str:
    if not entry.arm.records:
        return f"not run yet: `{command(preset)}`"
    blocks = _block(entry.arm)
    said = [
        f"linear {measured(entry.arm, 'linear')} (untrained {measured(entry.arm, 'linear_untrained', interval=False)})",
        f"best block {measured(entry.arm, 'linear_block')} {blocks}" if blocks else "",
        f"kNN 10 {measured(entry.arm, 'knn10')} (untrained {measured(entry.arm, 'knn10_untrained', interval=False)})",
        *(_watched(record) for record in entry.arm.records.values()),
    ]
    return "; ".join(filter(None, said))


def _run(config: RunConfig) -> str:
    t = config.training
    rate = "the rate of a range test" if isinstance(t.rate, RangeTest) else f"{t.rate:g}"
    return (
        f"{t.epochs} epochs on {_images(config)} images of {config.data.dataset} with {_net(config)}{_changes(config.encoder.options, ', ')}, "
        f"batch {t.batch_size}, {t.optimizer} at {rate}, weight decay {t.weight_decay:g}, {t.schedule}"
    )


def _watched(record) -> str:
    """The collapse watch of one run, as its last epoch logged it."""
    last = record.metrics.iloc[-1] if len(record.metrics) else {}
    signs = [f"{name.replace('_', ' ')} {last[name]:.2f}" for name in ("spread", "effective_rank") if name in last]
    collapsed = "**collapsed**" if record.manifest.get("collapsed") else "not collapsed"
    return f"run `{record.id}`: {', '.join([*signs, collapsed if 'collapsed' in record.manifest else 'collapse not watched'])}"


def measured(arm: Arm, readout: str, interval: bool = True) -> str:
    """An accuracy with its interval and a word where the embedding collapsed; empty where it was not measured."""
    found, _ = accuracy(arm, readout)
    if not found.n:
        return ""
    limits = f" [{found.low:.2f}, {found.high:.2f}]" if interval and found.low is not None else ""
    return f"{found.mean:.2f}{limits}" + (f" **({arm.flag})**" if interval and arm.flag else "")


def _block(arm: Arm) -> str:
    """Which block was best, in every sound run."""
    names = [r.evaluations["linear_block"]["block"] for r in arm.sound if "block" in r.evaluations.get("linear_block", {})]
    return f"({', '.join(dict.fromkeys(names))})" if names else ""


def _options(name: str) -> str:
    """Every option of a method with its default."""
    options = [(key, p.default) for key, p in method_options(name).items() if key not in HANDED]
    return ", ".join(f"`{key}` {_value(default)}" for key, default in options) or "none"


def _changes(options: dict, before: str = " with ") -> str:
    return before + ", ".join(f"`{key}` {_value(value)}" for key, value in options.items()) if options else ""


def _value(value) -> str:
    if isinstance(value, list | tuple):
        return " + ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _cited(figure: dict) -> str:
    epochs = f"{figure['epochs']} epochs" if "epochs" in figure else "epochs not stated"
    return f"{figure['top1']:g}: {figure['protocol']}; {figure['net']}, {epochs}; {figure['source']}"


def _net(config: RunConfig) -> str:
    return f"{config.encoder.name} ({config.encoder.stem})"


def _images(config: RunConfig) -> str:
    return "all" if config.data.train_images is None else f"{config.data.train_images:,}"


def _tested(found: list[Entry]) -> str:
    count = found[0].config.data.test_images
    return "all" if count is None else f"{count:,}"


def anchor(title: str) -> str:
    """The place of a heading, as GitHub names it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
