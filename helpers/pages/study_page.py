"""The page of each study, results/STUDY/README.md: its question, its main figures and tables, every verdict, and where all of it lies."""

from pathlib import Path

import pandas as pd

from helpers import studies
from helpers.core.files import REPOSITORY, read_json, results_dir
from helpers.judging.claims import read_claims
from helpers.judging.wording import in_words
from helpers.pages.blocks import (
    command,
    count,
    entry,
    found_verdicts,
    missing,
    missing_variants,
    read_table,
    short_verdicts,
    title,
    variants,
    words,
)
from helpers.pages.ledger import after_holm
from helpers.report.report import MISSING, markdown
from helpers.studies.open import preset_values
from helpers.studies.variants import presets_of

SHOWN_OF_A_PRESET = ("scope", "dataset", "train_images", "test_images", "image_size", "epochs", "batch_size", "seeds")
UNSAID = dict.fromkeys(SHOWN_OF_A_PRESET, "as usual") | {"train_images": "all", "test_images": "all", "image_size": "its own"}


def main_variant(study: str) -> str:
    """The first of those that the study names that has an estimate of the claim it is about; else the first that was executed, or of all."""
    settings = studies.part(study, "settings")
    place, about = results_dir() / study, getattr(settings, "ABOUT", None)
    executed = [name for name in settings.VARIANTS if (place / name / "index.json").is_file()]
    rows = {name: about and _judged(place / name, about) for name in executed}
    told = [name for name, row in rows.items() if about is None or (row is not None and not pd.isna(row.ours))]
    return next(iter([*told, *executed, *settings.VARIANTS]))


def opening(study: str) -> tuple[str, str]:
    """(title, question and what follows it) of a study, as its notebook begins."""
    heading, _, rest = "".join(read_json(REPOSITORY / "notebooks" / f"{study}.ipynb")["cells"][0]["source"]).partition("\n")
    return heading.lstrip("# ").strip(), rest.strip()


def answer(study: str) -> str:
    """What came out, in one sentence: of the claim that the study is about, or what the study's own `answer` makes of its tables."""
    folder = results_dir() / study / main_variant(study)
    if not folder.is_dir():
        return missing(study, main_variant(study))
    settings = studies.part(study, "settings")
    if not hasattr(settings, "ABOUT"):
        return studies.part(study, "tables").answer(folder)
    claim = read_claims()[settings.ABOUT]
    found = {each.name: row for each in variants(study) if (row := _judged(each, claim.id)) is not None}
    row = found.pop(folder.name)
    ours = f"Ours {in_words(row.ours, row.low, row.high, row.level)} {claim.unit}, published {claim.published}."
    others = [
        f"In the {words(name)}: {other.verdict}, {in_words(other.ours, other.low, other.high, other.level)}."
        for name, other in found.items()
        if other.verdict != row.verdict and not pd.isna(other.ours)  # one whose runs are yet to come says nothing
    ]
    place = f"{row.scope}, preset {folder.name.partition('-')[0]}, n = {row.seeds}"
    corrected = "; undecided after Holm" if row.verdict != "undecided" and after_holm().get((claim.id, folder.name)) == "undecided" else ""
    return " ".join([f"**{row.verdict.capitalize()}** ({place}{corrected}): {claim.statement} {ours}", *others])


def _judged(folder: Path, claim: str):
    """A variant's row of that claim, None where it judged none."""
    if not (folder / "claims.csv").is_file():
        return None
    rows = found_verdicts(folder)
    return next(rows[rows["claim"] == claim].itertuples(), None)


def page(study: str) -> str:
    heading, text = opening(study)
    place, held = results_dir() / study, after_holm()
    about = f"Written by `make claims` from the records; `{command(study, main_variant(study))}` computes it."
    parts = [f"# {heading}", about, text, f"## What came out\n\n{answer(study)}"]
    for name in studies.part(study, "settings").SHOWN:
        parts.append(_shown(place / main_variant(study), name))
    for folder in variants(study):
        parts += [f"## {title(folder.name)}", _about(folder)]
        if (folder / "claims.csv").is_file():
            parts += [
                f"{count(found_verdicts(folder))}. Every reason in full: [the ledger](../claims.md).",
                markdown(_with_holm(folder, held)),
            ]
    parts += [f"*Not computed yet: {title(variant)}: `{command(study, variant)}`*" for variant in missing_variants(study)]
    parts += [
        "## Presets",
        presets(study),
        f"A reading changes some of these; all values stand in [presets.toml](../../helpers/studies/{study}/presets.toml).",
    ]
    return "\n\n".join(parts) + "\n"


def _with_holm(folder: Path, held: dict[tuple[str, str], str]) -> pd.DataFrame:
    """The verdicts, and what is left of each when all of the ledger share one chance to be wrong."""
    found = short_verdicts(folder)
    found.insert(list(found).index("verdict") + 1, "after Holm", [held.get((claim, folder.name)) or MISSING for claim in found["claim"]])
    return found


def _shown(folder: Path, name: str) -> str:
    """A figure, or a table with its caption."""
    if not (folder / "index.json").is_file():
        return missing(folder.parent.name, folder.name)
    found = entry(folder, name)
    if found["kind"] == "figure":
        return f"![{found['alt']}]({folder.name}/{name}.svg)"
    return f"**{found['caption']}** [The runs behind it]({folder.name}/{name}.md).\n\n{markdown(read_table(folder / f'{name}.csv'))}"


def _about(folder: Path) -> str:
    study = folder.parent.name
    book = f"[The executed notebook]({folder.name}/{study}.ipynb), [its tables and figures]({folder.name})"
    costs = folder / "cost.csv"
    if not costs.is_file():
        return f"{book}."
    spent = read_table(costs, ("run", "seconds"))["seconds"]
    return f"{book}; {spent.notna().sum()} of {len(spent)} runs, {spent.sum() / 3600:.2f} hours of training and reading."


def presets(study: str) -> str:
    rows = []
    for preset in presets_of(study):
        values = preset_values(study, preset, "as_written")
        training = values.get("recipe", {}).get("training", {}) | values.get("training", {})  # where it is not said a level above
        told = {name: values.get(name, training.get(name)) for name in SHOWN_OF_A_PRESET}
        rows.append(
            {"preset": f"`{preset}`"} | {name.replace("_", " "): UNSAID[name] if told[name] is None else str(told[name]) for name in told}
        )
    frame = pd.DataFrame(rows)
    return markdown(
        frame[[name for name in frame if name == "preset" or frame[name].nunique() > 1 or frame[name].iloc[0] not in UNSAID.values()]]
    )
