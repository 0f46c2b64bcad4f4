"""What tables and figures read from records (kNN on the way, gradient norms at every step), and the figures of the curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.judging.arms import Arm, arm
from helpers.judging.dips import READINGS_NEEDED, WINDOW, Dip, dips, lag
from helpers.report import style
from helpers.report.marks import key, unlearned
from helpers.report.style import canvas, say_missing
from helpers.studies.moco_v3_stability import claims
from helpers.studies.moco_v3_stability.runs import Place, places
from helpers.studies.moco_v3_stability.settings import ADAMW, FROZEN, LAMB, LARS, LEARNED, Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTS = {name.replace("_", " "): f"gradient.{name}" for name in ("first_layer", "first_block", "rest", "heads")}
USUAL = "as it is"
OPTIMIZERS = (ADAMW, LAMB, LARS)
LOOKS = {(ADAMW, LEARNED): (style.BLUE, "o"), (ADAMW, FROZEN): (style.ORANGE, "s")}
LOOKS |= {(LAMB, LEARNED): (style.GREEN, "^"), (LARS, LEARNED): (style.PURPLE, "D")}
OTHER_MARKS = {"another batch": "P", "one thing changed": "X"}
BETWEEN = (style.BLUE, style.PURPLE, style.GREEN, style.ORANGE, style.BLACK, style.GREY)  # rates that are neither lowest nor highest
SHOWN = 200  # places along a line of gradients; more would not be told apart


# -- what is read -----------------------------------------------------------------------------------------------------------


def every_vit(cells: pd.DataFrame, s: Settings) -> list[tuple[Place, Arm]]:
    """Every ViT that MoCo v3 trains in this variant, run or not: rates by optimizer and patches, then batches, then what was changed."""
    asked = dict.fromkeys(replace(place, seed=0) for place in places(s) if place.part == "stability")

    def order(place: Place) -> tuple:
        return bool(place.arm), place.batch != s.vit.batches[0], OPTIMIZERS.index(place.optimizer), place.patches == FROZEN, place.rate

    return [(place, _arm(cells, place)) for place in sorted(asked, key=order)]


def _arm(cells: pd.DataFrame, place: Place) -> Arm:
    where = {name: getattr(place, name) for name in ("part", "arm", "optimizer", "patches", "batch")}
    name = place.arm or f"{place.optimizer}, rate {place.rate:g}, {place.patches} patches, batch {place.batch}"
    return arm(cells, name, rate=float(place.rate), **where)


def usual_of(cells: pd.DataFrame, s: Settings) -> Arm:
    """MoCo v3 as it is, by the settings, so that it can be asked for where nothing was run."""
    return replace(claims.vit(cells, ADAMW, s.vit.middle, batch=s.vit.batches[0]), name=USUAL)


def seen(record) -> pd.Series:
    """How many images a run had seen after each epoch."""
    training = record.config["training"]
    return record.metrics["step"] * training["batch_size"] * training.get("accumulate", 1)


def reading_of(record) -> pd.DataFrame:
    """The kNN accuracies that a run was read at on the way, with step and images seen; none where it was not read."""
    if "knn" not in record.metrics:
        return pd.DataFrame(columns=["step", "seen", "knn"], dtype=float)
    return record.metrics.assign(seen=seen(record))[["step", "seen", "knn"]].dropna()


def last_reading(found: Arm) -> list[float]:
    return [float(each["knn"].iloc[-1]) for each in map(reading_of, found.sound) if len(each)]


def dips_of(record) -> list[Dip] | None:
    """The dips of a run's curve; None where it was read too seldom to say."""
    return dips(*claims.curve(record)) if len(reading_of(record)) >= READINGS_NEEDED else None


def norms(record, part: str) -> np.ndarray | None:
    """How long a part's gradient was at every step; None of a part in which nothing learns, or of which nothing was kept. Of very long
    runs a record keeps the longest of some steps in a row, which here stands for each of them."""
    kept = record.arrays.get(PARTS[part])
    if kept is None:
        return None
    total = max(int(record.metrics["step"].iloc[-1]), len(kept))
    return np.repeat(10.0 ** np.asarray(kept, dtype=float), -(-total // len(kept)))[:total]


def lag_of(records: list, first: str, other: str) -> tuple[float | None, int]:
    """The lag of one part's spikes behind another's, and in how many pairs. The runs are laid end to end with a gap in which nothing is
    known, so that all their pairs have one median and none reaches into the next run."""
    both = [(norms(record, first), norms(record, other)) for record in records]
    both = [pair for pair in both if all(each is not None for each in pair)]
    gap = np.full(WINDOW, np.nan)
    return lag(*(np.concatenate([each for pair in both for each in (pair[side], gap)]) for side in (0, 1))) if both else (None, 0)


def average(values) -> float | None:
    values = list(values)
    return float(np.mean(values)) if values else None


def count(found: Arm) -> str:
    """How many runs a mean is made of; a dagger where some collapsed and were left out, two where all did."""
    lost = found.collapsed
    return f"n = {len(found.sound)}{'' if not lost else '‡' if lost == len(found.records) else '†'}"


def ranked(rates: Sequence[float]) -> list[tuple[str, str]]:
    """(word, colour) of each rate of an optimizer, from the lowest to the highest."""
    if len(rates) == 1:
        return [("the one rate", style.BLUE)]
    many = len(rates)
    words = ["middle rate"] if many == 3 else [f"rate {place} of {many}" for place in range(2, many)]
    between = [(each, BETWEEN[place % len(BETWEEN)]) for place, each in enumerate(words)]
    return [("lowest rate", style.SKY), *between, ("highest rate", style.VERMILION)]


# -- figures ----------------------------------------------------------------------------------------------------------------


def stability_plot(cells: pd.DataFrame, s: Settings, scope: str) -> Figure:
    """A column a rate of AdamW: kNN on the way above, gradient norms below, with learned patches and with frozen ones."""
    rates = s.vit.rates[ADAMW]
    figure, axes = canvas(2, len(rates), height=6.4, width=max(style.WIDTH, 3.1 * len(rates)), sharex=True, sharey="row")
    steps = 0
    for (above, below), rate in zip(axes.T, rates, strict=True):
        told = []
        for patches in (LEARNED, FROZEN):
            found = claims.vit(cells, ADAMW, rate, patches, batch=s.vit.batches[0])
            told.append(f"{patches} {count(found)}" if found.records else f"{patches} missing")
            _way(above, found, "step", *LOOKS[ADAMW, patches], s.readout)
            for part, colour in _shown(patches).items():
                steps = max(steps, _lengths(below, found, part, colour))
        above.set_title(f"rate {rate:g}\n{', '.join(told)}", fontsize=10)
        below.set_xlabel("steps")
        for ax, what in ((above, "kNN on the way"), (below, "gradient norms")):
            if not ax.lines:
                say_missing(ax, what, shared=True)
    if any(ax.lines for ax in axes[1]):
        axes[1, 0].set_yscale("log")
    axes[0, 0].set_ylabel("kNN accuracy, test (%)")
    axes[1, 0].set_ylabel("gradient norm")
    handles = [key(f"kNN, {patches} patches", LOOKS[ADAMW, patches][0], LOOKS[ADAMW, patches][1], "-") for patches in (LEARNED, FROZEN)]
    handles += [key("a dip by the rule", style.GREY, "v")]
    names = {LEARNED: "learned patches", FROZEN: "behind frozen patches"}
    handles += [key(f"{part}, {names[patches]}", colour, "", "-") for patches in names for part, colour in _shown(patches).items()]
    every = f", each point the highest of {-(-steps // SHOWN)} steps" if steps > SHOWN else ""
    title = f"thick: mean over seeds, thin: single seeds; gradients: shaded from the lowest seed to the highest{every}"
    figure.legend(handles=handles, loc="outside lower center", ncols=3, title=title, title_fontsize=9.5)
    figure.suptitle(f"Does the ViT wobble, and where does it begin?\n[{scope}]")
    return figure


def _shown(patches: str) -> dict[str, str]:
    """The parts whose gradient is drawn, with their colours."""
    return (
        {"first block": LOOKS[ADAMW, FROZEN][0]}
        if patches == FROZEN
        else {"first layer": LOOKS[ADAMW, LEARNED][0], "first block": style.SKY}
    )


def _way(ax: Axes, found: Arm, against: str, colour: str, marker: str, readout: str, thin: float = 0.3) -> None:
    """Each run's readings thin, dashed where it collapsed, their mean thick, a triangle at each dip."""
    lines = {id(record): reading_of(record) for record in found.records.values()}
    for record in found.records.values():
        told = lines[id(record)]
        collapsed = all(record is not each for each in found.sound)
        ax.plot(told[against], told["knn"], "--" if collapsed else "-", color=colour, lw=0.8, alpha=thin) if len(told) else None
        fallen = record.metrics.index[[dip.at for dip in dips_of(record) or ()]]
        ax.plot(told[against][fallen], told["knn"][fallen], "v", color=colour, ms=7, mec=style.BLACK, mew=0.8, zorder=4)
    means = [lines[id(record)].set_index(against)["knn"] for record in found.sound if len(lines[id(record)])]
    if not means:
        return
    mean = pd.concat(means, axis=1).mean(axis=1)
    ax.plot(mean.index, mean, color=colour, lw=2, marker=marker, ms=4.5, markevery=max(1, len(mean) // 6))
    if replace(found, excused=()).doubts(readout):
        unlearned(ax, mean.index[-1], mean.iloc[-1])


def _lengths(ax: Axes, found: Arm, part: str, colour: str) -> int:
    """Gradient norms by step, shaded from the lowest run to the highest and their geometric mean thick; how many steps there are. Of
    several steps that share a place the highest is drawn, so that no spike is lost."""
    rows, steps = [], 0
    for record in found.records.values():
        if (own := norms(record, part)) is None or not (own > 0).any():
            continue
        steps, each = max(steps, len(own)), -(-len(own) // SHOWN)
        own = np.append(np.where(own > 0, own, np.nan), np.full(-len(own) % each, np.nan)).reshape(-1, each)
        rows.append(pd.Series(np.fmax.reduce(own, axis=1), index=1 + each * np.arange(len(own))))
    if rows:
        lines = pd.concat(rows, axis=1)
        ax.fill_between(lines.index, lines.min(axis=1), lines.max(axis=1), color=colour, lw=0, alpha=0.3)
        mean = np.exp(np.log(lines).mean(axis=1))
        ax.plot(mean.index, mean, color=colour, lw=1.6)
    return steps


def lost_plot(cells: pd.DataFrame, s: Settings, scope: str) -> Figure:
    """A mark a run: what it reached against how deep it dipped on the way."""
    figure, ((ax,),) = canvas(height=4.6, width=8)
    for place, found in every_vit(cells, s):
        rates = s.vit.rates[place.optimizer]
        colour = ranked(rates)[int(np.abs(np.array(rates) - place.rate).argmin())][1]
        marker = LOOKS[place.optimizer, place.patches][1]
        if place.arm or place.batch != s.vit.batches[0]:
            marker = OTHER_MARKS["one thing changed" if place.arm else "another batch"]
        for record in found.records.values():
            if dips_of(record) is not None and "top1" in record.evaluations.get(s.readout, {}):
                ax.plot(claims.depth(record), record.evaluations[s.readout]["top1"], marker, color=colour, mec="white", mew=0.5, ms=7)
    runs = len(ax.lines)
    if not runs:
        say_missing(ax, "runs that were read often enough on the way")
    ax.set(xlabel="deepest dip on the way (points of kNN accuracy)", ylabel=f"test accuracy, {s.readout} (%)")
    most = max(s.vit.rates.values(), key=len)
    handles = [key(word, colour, "o") for word, colour in ranked(most)]
    handles += [
        key(f"{optimizer}, {patches}", style.GREY, LOOKS[optimizer, patches][1]) for optimizer, patches in LOOKS if optimizer in s.vit.rates
    ]
    handles += [key(words, style.GREY, marker) for words, marker in OTHER_MARKS.items()]
    figure.legend(handles=handles, loc="outside right upper")
    ax.set_title(f"How deep runs dip, and what is left at the end; a mark a run, n = {runs}\n[{scope}]")
    return figure


def curve_plot(cells: pd.DataFrame, s: Settings, scope: str) -> Figure:
    """A panel a question: rates of LAMB, rates of LARS, batches, one thing changed; a line an arm."""
    from matplotlib.ticker import MaxNLocator

    vits, usual_batch = every_vit(cells, s), s.vit.batches[0]
    usual = [(place, found) for place, found in vits if _is_usual(s, place)]
    panels = {f"rates of {name}": [pair for pair in vits if pair[0].optimizer == name] for name in (LAMB, LARS)}
    panels["batches"] = usual + [pair for pair in vits if pair[0].batch != usual_batch]
    panels["one thing changed"] = usual + [pair for pair in vits if pair[0].arm]
    figure, axes = canvas(2, 2, height=8.4, width=9, sharey=True)
    for ax, (title, arms) in zip(axes.flat, panels.items(), strict=True):
        looks, handles = [look for _, look in ranked(arms)] if title.startswith("rates") and arms else style.SERIES, []
        for place, (asked, found) in enumerate(arms):
            colour, marker = looks[place % len(looks)], style.MARKERS[place % len(style.MARKERS)]
            _way(ax, found, "seen", colour, marker, s.readout)
            words = f"{asked.rate:g}" if title.startswith("rates") else f"{asked.batch:,}" if title == "batches" else asked.arm or USUAL
            handles.append(key(f"{words} ({count(found) if found.records else 'missing'})", colour, marker, "-"))
        if not ax.lines:
            say_missing(ax, title, shared=True)
        ax.set(title=title, xlabel="images seen (thousands)")
        if ax.lines:
            ax.xaxis.set_major_locator(MaxNLocator(5))
            ax.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:,.4g}")
        if handles:
            ax.legend(
                handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=1 if title == "one thing changed" else 3, fontsize=9
            )
    for ax in axes[:, 0]:
        ax.set_ylabel("kNN accuracy, test (%)")
    figure.suptitle(f"kNN on the way; thick: mean over seeds, thin: single seeds, triangles: dips\n[{scope}]")
    return figure


def _is_usual(s: Settings, place: Place) -> bool:
    wanted = (ADAMW, LEARNED, s.vit.batches[0], "", s.vit.middle)
    return (place.optimizer, place.patches, place.batch, place.arm, place.rate) == wanted
