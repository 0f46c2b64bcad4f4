"""The contest's tables. Each function returns (frame, ids of the runs behind it); what was not run stands there, marked missing."""

import pandas as pd

from helpers.judging.arms import Arm, accuracy
from helpers.report.costs import found_by, framed
from helpers.studies.backbone_contest import claims as contest
from helpers.studies.backbone_contest.settings import ALONE, BACKBONES, REFERENCE, TRIPLE

PROTOCOLS = ("linear", "knn10", "knn20", "knn200", "knn10_t0.1", "knn20_t0.1", "knn200_t0.1", "finetune")
Table = tuple[pd.DataFrame, list[str]]


def optimizer_table(cells: pd.DataFrame, readout: str = "linear") -> Table:
    """Every backbone under every optimizer, published beside ours."""
    rows, runs = [], []
    for backbone in BACKBONES:
        for optimizer in contest.optimizers(cells):
            arm = contest.entrant(cells, backbone, optimizer)
            theirs = contest.published()["accuracy"][backbone].get(optimizer)
            rows.append(
                {
                    "backbone": backbone,
                    "optimizer": optimizer,
                    "published": theirs,
                    **_measured(arm, readout),
                    **_setting(cells, arm, backbone),
                }
            )
            runs += arm.runs
    return framed(rows), runs


def range_table(cells: pd.DataFrame) -> Table:
    """The maximum rate of every backbone and optimizer and how it came about; a default taken for want of a minimum says so."""
    rows, runs = [], []
    for backbone in BACKBONES:
        for optimizer in contest.optimizers(cells):
            arm = contest.entrant(cells, backbone, optimizer)
            resolved = next((record.manifest["resolved"] for record in arm.records.values()), {})
            rows.append(
                {
                    "backbone": backbone,
                    "optimizer": optimizer,
                    "published max rate": contest.published()["maximum_rate"][backbone] if optimizer == REFERENCE else None,
                    "max rate": resolved.get("rate"),
                    "rate at lowest loss": resolved.get("rate_at_minimum"),
                    "factor": f"{resolved['factor']:.3g}" if "factor" in resolved else "",
                    "found by": found_by(resolved),
                }
            )
            runs += [*arm.runs, *([resolved["range_test"]] if resolved.get("range_test") else [])]
    return framed(rows), list(dict.fromkeys(runs))


def fairness_table(cells: pd.DataFrame, readout: str = "linear") -> Table:
    """ViT under contrast alone and under SiT's three pretexts, ResNet under both; SiT's released form where it was asked for."""
    prior = contest.published()["prior"]
    theirs = {("ViT", TRIPLE): prior["sit_vit"], ("ResNet", ALONE): prior["simclr_resnet56"]}
    rows, runs = [], []
    for backbone, pretext in contest.fairness_arms(cells):
        arm, prior = contest.pretext_arm(cells, backbone, pretext), theirs.get((backbone, pretext), {})
        row = {"backbone": backbone, "pretext": pretext, "published": prior.get("accuracy"), "published by": prior.get("says")}
        if (backbone, pretext) == ("ViT", ALONE):
            row |= {"published": contest.published()["accuracy"]["ViT"][REFERENCE], "published by": "the contest, RAdam @3/8"}
        rows.append(row | _measured(arm, readout) | _setting(cells, arm, backbone))
        runs += arm.runs
    return framed(rows), runs


def readout_table(cells: pd.DataFrame, optimizer: str = REFERENCE) -> Table:
    """Every protocol that was measured, each by its name, after training and (where asked for) before."""
    arms = [contest.entrant(cells, backbone, optimizer) for backbone in BACKBONES]
    names = dict.fromkeys(
        name for arm in arms for record in arm.records.values() for name, found in record.evaluations.items() if "top1" in found
    )
    ordered = [name for protocol in PROTOCOLS for name in (protocol, f"{protocol}_untrained") if name in names]
    rows = [
        {"protocol": name, **{arm.name: accuracy(arm, name)[0].mean for arm in arms}}
        for name in [*ordered, *(name for name in names if name not in ordered)]
    ]
    frame = framed(rows or [{"protocol": "missing", **{arm.name: None for arm in arms}}])
    for arm, backbone in zip(arms, BACKBONES, strict=True):
        frame = frame.rename(columns={arm.name: f"{backbone} (n = {len(arm.records)})"})
    return frame, [run for arm in arms for run in arm.runs]


def peak_table(cells: pd.DataFrame) -> Table:
    """The best epoch on the test set beside the last one, in the paper's own measure (kNN, k = 200, temperature 0.1)."""
    logged = {(each["backbone"], each["optimizer"]): each for each in contest.published()["logged"]}
    rows, runs = [], []
    for backbone in BACKBONES:
        for optimizer in contest.optimizers(cells):
            arm, theirs = contest.entrant(cells, backbone, optimizer), logged.get((backbone, optimizer), {})
            ends = contest.ends(arm)
            peak, last = (sum(each) / len(ends) for each in zip(*ends, strict=True)) if ends else (None, None)
            ours = {"best epoch": peak, "last epoch": last, "flattery": peak - last if ends else None, "n": len(ends)}
            published = {"published best epoch": theirs.get("maximum"), "published last epoch": theirs.get("last")}
            rows.append({"backbone": backbone, "optimizer": optimizer, **published, **ours, "note": "" if ends else "missing"})
            runs += arm.runs
    return framed(rows), runs


def headline_table(cells: pd.DataFrame) -> Table:
    """The headline run by every protocol, its own encoder before training beside it; intervals over test images."""
    planned = cells[cells["part"] == "headline"]
    arm = contest.arm(planned, "headline")
    rows = []
    for protocol in PROTOCOLS:
        after, over = accuracy(arm, protocol)
        before, _ = accuracy(arm, f"{protocol}_untrained")
        if after.n:
            gain = after.mean - before.mean if before.n else None
            ours = {"untrained": before.mean, "ours": after.mean, "low": after.low, "high": after.high, "gain": gain, "interval over": over}
            rows.append({"protocol": protocol, **ours, **_setting(planned, arm, "ResNet")})
    nothing = {"protocol": "missing" if len(planned) else "not part of this variant", "untrained": None, "ours": None, "gain": None}
    return framed(rows or [nothing | _setting(planned, arm, "ResNet")]), list(arm.runs)


def _measured(arm: Arm, readout: str) -> dict:
    found, over = accuracy(arm, readout)
    note = arm.flag if found.n else "missing" if not arm.records else f"not measured: {readout}"
    return {"ours": found.mean, "low": found.low, "high": found.high, "sd": found.sd, "n": found.n, "interval over": over, "note": note}


def _setting(cells: pd.DataFrame, arm: Arm, backbone: str) -> dict:
    """What stood in the cell: encoder, stem, size, compute and rate; encoder and stem are known without a record too."""
    manifest = next((record.manifest for record in arm.records.values()), {})
    planned = cells[cells["backbone"] == backbone]
    encoder, stem = (planned[column].iloc[0] if len(planned) and column in planned else None for column in ("encoder", "stem"))
    parameters, macs = manifest.get("parameters"), manifest.get("macs")
    return {
        "encoder": manifest.get("encoder", encoder),
        "stem": manifest.get("stem", stem),
        "parameters (M)": parameters / 1e6 if parameters else None,
        "MACs (G)": macs / 1e9 if macs else None,
        "max rate": manifest.get("resolved", {}).get("rate"),
    }
