"""The tables of the study of MoCo v3, from records alone: each returns (table, runs behind it). What was not run stands there, missing."""

from dataclasses import replace

import pandas as pd

from helpers.core.devices import device_words
from helpers.judging.arms import Arm, accuracy, arm, before, contrast, measured
from helpers.judging.dips import WINDOW, area_lost, spikes
from helpers.judging.wording import in_words
from helpers.studies.moco_v3_stability import claims, transfers
from helpers.studies.moco_v3_stability.curves import (
    PARTS,
    USUAL,
    average,
    dips_of,
    every_vit,
    lag_of,
    last_reading,
    norms,
    seen,
    usual_of,
)
from helpers.studies.moco_v3_stability.runs import epochs_of, passes
from helpers.studies.moco_v3_stability.settings import (
    ADAMW,
    BATCH_NORM,
    CHANGES,
    CLIPPED,
    EQUAL,
    FROZEN,
    LINE,
    LONG,
    OTHERS,
    PUBLISHED,
    SHORT,
    SIMCLR,
    SUPERVISED,
    V3,
    Settings,
    middle,
)

Table = tuple[pd.DataFrame, list[str]]
KNN = "knn20_t0.1"
IMAGENET = 1_281_167  # training images


def rate_table(cells: pd.DataFrame, s: Settings) -> Table:
    """Every rate that was tried, read on training images that were held out, the best of them and the preset's."""
    tried = cells[cells["part"] == "rates"]
    rows, runs = [], []
    for name, optimizer in dict.fromkeys(zip(tried["arm"], tried["optimizer"], strict=True)):
        own = tried[(tried["arm"] == name) & (tried["optimizer"] == optimizer)].sort_values("rate")
        of_vit = middle(s.vit.rates[optimizer]) if optimizer in s.vit.rates else None
        preset = s.vit.others.get(name) if name in OTHERS else s.line.rates.get(name) if name else of_vit
        told, found = [], {}
        for each in own.itertuples():
            top1 = getattr(each.record, "evaluations", {}).get("linear", {}).get("top1")
            lost = "diverged" if getattr(each.record, "manifest", {}).get("diverged") else "missing"
            told.append(f"{each.rate:g}: {lost if top1 is None else f'{top1:.2f}'}")
            found |= {} if top1 is None else {each.rate: top1}
            runs += [each.run] if hasattr(each.record, "manifest") else []
        best = max(found, key=found.get, default=None)
        words = {own["rate"].iloc[0]: "lowest", own["rate"].iloc[-1]: "highest"}
        row = {"trained": f"ViT, {name or optimizer}" if optimizer else name, "accuracy by rate": ", ".join(told), "best rate": best}
        row |= {"accuracy": found.get(best), "preset's rate": preset}
        notes = [f"the best is the {words[best]} that was tried"] if best in words else []
        notes += [] if best is None or preset is None or abs(best - preset) < 1e-12 else ["the preset takes another than the best"]
        rows.append(row | {"note": ", ".join(notes) if found else "missing"})
    return pd.DataFrame(rows, columns=None if rows else ["trained", "preset's rate"]), runs


def line_table(cells: pd.DataFrame, s: Settings) -> Table:
    """Each method after both schedules, and after about as many operations as SimCLR's long one where that is another number of epochs."""
    rows, runs = [], []
    for method in LINE:
        for length in (SHORT, LONG, EQUAL):
            if length == EQUAL and passes(method) == passes(SIMCLR):
                continue
            found = claims.line(cells, method, length)
            epochs = epochs_of(s, method, length)
            row = {"method": method, "schedule": length, "epochs": epochs, "passes an image": passes(method)}
            row |= {"passes, of SimCLR's long (%)": 100 * epochs * passes(method) / (s.line.long * passes(SIMCLR))}
            row |= {"training PFLOP": _mean(found, "training_flops", 1e15), "minutes": _mean(found, "training_seconds", 60)}
            row |= measured(found, s.readout) | {"kNN": accuracy(found, KNN)[0].mean, "untrained": before(found, s.readout)}
            rows.append(row | {"note": note(found, s.readout)})
            runs += found.runs
    return pd.DataFrame(rows), runs


def published_table(cells: pd.DataFrame, s: Settings) -> Table:
    """Ours beside the published accuracies by epochs, then MoCo's three as its paper has them; ranks within each of the two."""
    theirs, own = claims.published()["line"], claims.published()["moco"]
    epochs = sorted({each for row in theirs.values() for each in row if each.isdigit()}, key=int)
    own_paper, ends = "published, its own paper", [f"published, {each} epochs" for each in claims.SCHEDULES.values()]
    ranked = [f"ours, {SHORT}", f"ours, {LONG}", *ends, own_paper]
    frames, runs = [], []
    for group, methods, lengths in (("the line", PUBLISHED, (SHORT, LONG)), ("MoCo", own, (LONG,))):
        rows = []
        for method in methods:
            found = {length: claims.line(cells, method, length) for length in lengths}
            row = {f"ours, {length}": accuracy(found[length], s.readout)[0].mean if length in found else None for length in (SHORT, LONG)}
            in_line = group == "the line"
            row |= {f"published, {each} epochs": theirs[method].get(each) if in_line else None for each in epochs}
            row |= {own_paper: None if in_line else own[method]}
            notes = {f"note, {length}": note(found[length], s.readout) if length in found else "" for length in (SHORT, LONG)}
            rows.append({"compared": group, "method": method} | row | notes)
            runs += [run for each in found.values() for run in each.runs]
        frame = pd.DataFrame(rows).astype(dict.fromkeys(row, float))
        for column in ranked:
            frame[f"rank, {column}"] = frame[column].rank(ascending=False, method="min")
        frames.append(frame.astype(object))
    whole = pd.concat(frames, ignore_index=True).astype(dict.fromkeys(row, float))
    ranks = [f"rank, {column}" for column in ranked]
    ordered = whole[["compared", "method", *row, *ranks, *(name for name in whole if name.startswith("note"))]]
    return whole_numbers(ordered, *ranks), list(dict.fromkeys(runs))


def stability_table(cells: pd.DataFrame, s: Settings) -> Table:
    """Every ViT that MoCo v3 trains: what it reached, and what dips took on the way, means over all its runs, collapsed ones too."""
    rows, runs = [], []
    for place, found in every_vit(cells, s):
        records = [record for record in found.records.values() if dips_of(record) is not None]
        each = [dips_of(record) for record in records]
        row = {"optimizer": place.optimizer, "patches": place.patches, "rate": f"{place.rate:g}", "batch": place.batch, "change": place.arm}
        row |= measured(found, s.readout) | {"last kNN": average(last_reading(found))}
        depths = [max((dip.depth for dip in own), default=0.0) for own in each]
        row |= {"dips a run": average(list(map(len, each))), "deepest (points)": average(depths)}
        row |= {"area lost (points)": average([area_lost(*claims.curve(record)) for record in records])}
        row |= {"unstable": f"{sum(map(bool, each))} of {len(each)}" if each else None, "diverged or not run": len(found.lacking)}
        rows.append(row | {"note": note(found, s.readout)})
        runs += found.runs
    return pd.DataFrame(rows), runs


def lag_table(cells: pd.DataFrame, s: Settings) -> Table:
    """Spikes of the gradient by part of the net, and how many steps they come after those of the first part that learns, in the median of
    the spikes that both have in common, those of all runs together."""
    rows, runs = [], []
    for place, found in every_vit(cells, s):
        if place.arm:
            continue
        records = [record for record in found.records.values() if norms(record, "heads") is not None]
        first, *behind = list(PARTS)[1:] if place.patches == FROZEN else PARTS
        row = {"optimizer": place.optimizer, "patches": place.patches, "rate": f"{place.rate:g}", "batch": place.batch, "n": len(records)}
        row |= {"steps": len(norms(records[0], "heads")) if records else None}
        for part in PARTS:
            known = [norms(record, part) for record in records if norms(record, part) is not None]
            row[f"spikes a run, {part}"] = average([len(spikes(each)) for each in known if len(each) > WINDOW / 2])
        spiking = [part for part in PARTS if row[f"spikes a run, {part}"]]
        row["lag behind"] = first
        for part in list(PARTS)[1:]:
            told = lag_of(records, first, part) if {first, part} <= {*spiking} else (None, 0)
            row[f"lag of {part} (steps)"], row[f"pairs, {part}"] = told if part in behind else (None, None)
        rows.append(row | {"note": "" if records else "missing"})
        runs += [record.id for record in records]
    return whole_numbers(pd.DataFrame(rows), "steps", *(f"pairs, {part}" for part in list(PARTS)[1:])), runs


def change_table(cells: pd.DataFrame, s: Settings) -> Table:
    """The usual ViT, and what one change, another batch or another method makes of it."""
    rows, runs = [], []
    for group, name, found, beside, theirs in changes_of(cells, s):
        row = {"what": group, "arm": name} | measured(found, s.readout)
        row |= {"minus": beside.name if beside else None, "difference [95 %]": None, "published difference": theirs}
        if beside:
            part = contrast(f"{name} − {beside.name}", [(found, 1.0), (beside, -1.0)], s.readout)
            told = part.estimate is not None and part.estimate.low is not None
            row["difference [95 %]"] = in_words(part.estimate.value, part.estimate.low, part.estimate.high) if told else "missing"
        rows.append(row | {"note": note(found, s.readout)})
        runs += found.runs
    return pd.DataFrame(rows).astype({"published difference": float}), runs


def transfer_table(cells: pd.DataFrame, s: Settings) -> Table:
    """Fine-tuned on other images from each start, and frozen; then the published ViT-B."""
    rows, runs = [], []
    for (dataset, fraction, start), found in fine_tuned(cells, s).items():
        row = {"source": "ours", "net": s.vit.called, "dataset": dataset, "labels": f"{100 * fraction:g} %", "start": start}
        told = measured(found, "finetune")
        row |= {"fine-tuned": told.pop("accuracy")} | told | {"frozen, linear": accuracy(found, "linear")[0].mean}
        lost = sum("top1" not in record.evaluations.get("finetune", {}) for record in found.records.values())
        words = [f"{lost} diverged" if lost else "", (origin := origin_of(cells, s, start)) and origin.flagged(s.readout)]
        rows.append(row | {"note": ", ".join(filter(None, words)) if found.records else "missing"})
        runs += found.runs
    for dataset, row in claims.published()["transfer"].items():
        for start in transfers.STARTS:
            published = {"source": "published", "net": "ViT-B", "dataset": dataset, "labels": "100 %", "start": start}
            rows.append(published | {"fine-tuned": row.get(start), "note": ""})
    columns = ["source", "net", "dataset", "labels", "start", "fine-tuned", "95 %", "over", "n", "frozen, linear", "note"]
    return whole_numbers(pd.DataFrame(rows, columns=columns), "n"), runs


def cost_table(cells: pd.DataFrame, s: Settings) -> Table:
    """What each ViT costs at the image size that it was trained at, what it reached, and for how long this device would see ImageNet's
    images at that size; then the published ones."""
    main = s.vit.called
    asked = [(main, V3, usual_of(cells, s)), *((name, V3, arm(cells, name, part="sizes", arm=name)) for name in s.sizes)]
    asked += [(main, name, claims.other(cells, name)) for name in s.vit.others]
    asked += [(name, f"{V3}, a few steps", arm(cells, name, part="priced", arm=name)) for name in s.priced]
    normed = claims.changed(cells, BATCH_NORM)
    rows, runs = [], [*normed.runs]
    for place, (net, method, found) in enumerate(asked):
        priced = place >= len(asked) - len(s.priced)
        seconds = _settled_seconds(found) if priced else _an_image(found, "training_seconds")
        flops = _an_image(found, "training_flops")
        row = {"source": "ours", "net": net, "trained by": method, "parameters (M)": _mean(found, "parameters", 1e6)}
        row |= {"multiply-adds a view (M)": _mean(found, "macs", 1e6), "training GFLOP an image": flops and flops / 1e9}
        row |= {"seconds for 1,000 images": seconds and 1000 * seconds}
        row |= {"hours for 100 epochs of ImageNet": seconds and seconds * 100 * IMAGENET / 3600}
        row |= {"accuracy": None if priced else accuracy(found, s.readout)[0].mean}
        row |= {"with batch norm": None if place else accuracy(normed, s.readout)[0].mean}
        about = next(iter(found.records.values())).manifest if found.records else {}
        row |= {"image size": about.get("image_size"), "device": device_words(about["device"]) if about.get("device") else ""}
        rows.append(row | {"note": note(found, s.readout) if not priced else "" if found.records else "missing"})
        runs += found.runs
    for net, row in claims.published()["sizes"].items():
        told = {"source": "published", "net": net, "trained by": V3, "multiply-adds a view (M)": 1000 * row["gmacs"], "device": "TPUs"}
        told |= {"hours for 100 epochs of ImageNet": row["hours"], "accuracy": row["linear"], "with batch norm": row["with_batch_norm"]}
        rows.append(told | {"note": ""})
    return whole_numbers(pd.DataFrame(rows), "image size"), runs


# -- what tables and figures share ------------------------------------------------------------------------------------------


def changes_of(cells: pd.DataFrame, s: Settings) -> list[tuple[str, str, Arm, Arm | None, float | None]]:
    """(kind, name, arm, the arm that it is held against, the published difference): the usual ViT, changes, batches, other methods."""
    usual, theirs = usual_of(cells, s), claims.published()
    found = [("usual", USUAL, usual, None, None)]
    found += [("change", name, claims.changed(cells, name), usual, theirs["changes"].get(name)) for name in CHANGES]
    low, high = s.vit.middle, s.vit.rates[ADAMW][-1]
    if s.vit.clip:
        highest = replace(claims.vit(cells, ADAMW, high, batch=s.vit.batches[0]), name=f"rate {high:g}")
        if high != low:
            found.append(("rate", highest.name, highest, usual, _apart(theirs["rates"][ADAMW], high, low)))
        found.append(("change", f"{CLIPPED}, rate {high:g}", claims.changed(cells, CLIPPED), highest, None))
    for batch in s.vit.batches[1:]:
        one = claims.vit(cells, ADAMW, low, batch=batch)
        found.append(("batch", f"batch {batch:,}", one, usual, _apart(theirs["batches"], batch, s.vit.batches[0])))
    return found + [("method", name, claims.other(cells, name), usual, None) for name in s.vit.others]


def _apart(published: dict[str, float], one: float, other: float) -> float | None:
    """The published difference of two rates or batches, where both were published."""
    known = {float(name): value for name, value in published.items()}
    return round(known[one] - known[other], 6) if one in known and other in known else None


def fine_tuned(cells: pd.DataFrame, s: Settings) -> dict[tuple[str, float, str], Arm]:
    """What was fine-tuned, by (dataset, share of labels, start). It is read elsewhere, so the gate is that of the ViT it began from."""
    places = {(data.dataset, fraction, start): {} for data in s.transfer for fraction in s.fractions for start in transfers.STARTS}
    for asked, record in transfers.records_of(s, cells) if places else ():
        places[asked.dataset, asked.fraction, asked.start][asked.seed] = record
    return {place: Arm(f"{place[2]} on {place[0]}", records, before_training=True) for place, records in places.items()}


def origin_of(cells: pd.DataFrame, s: Settings, start: str) -> Arm | None:
    """The ViT that was fine-tuned; None of one that was not trained before."""
    return {V3: usual_of(cells, s), SUPERVISED: claims.other(cells, SUPERVISED)}.get(start)


def note(found: Arm, readout: str) -> str:
    """What is to be said of an arm beside its numbers; runs without a record diverged, or nobody trained them."""
    if not found.records:
        return "missing"
    return ", ".join(filter(None, [found.flagged(readout), f"{len(found.lacking)} missing" if found.lacking else ""]))


def _mean(found: Arm, key: str, unit: float) -> float | None:
    """Of what the manifests say; nothing where they do not."""
    told = [record.manifest.get(key) for record in found.records.values()]
    return average(each / unit for each in told if each is not None)


def _an_image(found: Arm, key: str) -> float | None:
    """What the manifests say of the training, over the images that were seen."""
    told = [(record.manifest.get(key), seen(record)) for record in found.sound if len(record.metrics)]
    return average(value / images.iloc[-1] for value, images in told if value is not None)


def _settled_seconds(found: Arm) -> float | None:
    """Seconds an image without the first step, in which memory is found: of four steps it would be much."""
    each = []
    for record in found.sound:
        steps, first = len(record.metrics) and int(record.metrics["step"].iloc[-1]), record.manifest["startup"]["first_step_seconds"]
        if steps > 1 and first:
            each.append((record.manifest["training_seconds"] - first) / (steps - 1) / record.config["training"]["batch_size"])
    return average(each)


def whole_numbers(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Numbers that are counted stay whole beside missing ones."""
    whole = {name: pd.Series([None if pd.isna(each) else int(each) for each in frame[name]], dtype=object) for name in columns}
    return frame.assign(**whole)
