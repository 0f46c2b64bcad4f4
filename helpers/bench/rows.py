"""What the bench reports: a row's arithmetic, its file, its page, and the summary that page and README share."""

import re
import statistics
from pathlib import Path

from helpers.core.devices import device_words
from helpers.core.files import read_json, results_dir, shown, write_json, write_text

# What is measured in images a second: an image counts once, however many views are made of it.
RATES = {
    "bound": "training step alone, on views that lie ready, fastest setting",
    "end_to_end": "all of it: data, views, loss, backward, optimizer; default settings",
    "end_to_end_compiled": "the same, compiled",
    "plain": "the same in fp32, without anything that makes it fast",
    "standard": "standard approach, all of it: PIL transforms in {workers} DataLoader workers, fp32",
    "lightly": "lightly's SimCLR, all of it: its transforms in {workers} workers, a forward a view, fp32",
    "views": "data and views alone",
    "views_standard": "standard approach, data and views alone",
    "views_lightly": "lightly's transforms, data and views alone",
    "views_kornia": "kornia's augmentations on the same batches",
}
RATIOS = {
    "ratio_to_bound": ("end_to_end", "bound"),
    "compiled_ratio_to_bound": ("end_to_end_compiled", "bound"),
    "ratio_to_standard": ("end_to_end", "standard"),
    "ratio_to_lightly": ("end_to_end", "lightly"),
    "ratio_to_plain": ("end_to_end", "plain"),
    "ratio_of_views": ("views", "views_standard"),
    "ratio_of_views_to_lightly": ("views", "views_lightly"),
    "ratio_of_views_to_kornia": ("views", "views_kornia"),
    "share_of_data_and_views": ("bound", "views"),  # their seconds over those of the bare step
}
KEY = ("method", "backbone", "stem", "size", "batch")
MISSING = "—"


def row(case: dict, rounds: dict[str, list[float]], *, precision, flops: int, tried: list[dict], fresh: dict, device: dict, versions: dict):
    """Medians, the spread of each (largest minus smallest over the median), ratios taken round by round; None: not measured."""
    medians = {name: statistics.median(rates) for name, rates in rounds.items()}
    achieved = flops * medians["end_to_end"] / case["batch"]
    return {
        **case,
        "precision": precision,
        **{name: round(medians[name], 1) if name in medians else None for name in RATES},
        **{name: _ratio(rounds, *pair) for name, pair in RATIOS.items()},
        "flops_per_step": flops,
        "flops_per_second": round(achieved),
        "matrix_rate": round(medians["matrix"]),
        "share_of_matrix_rate": round(achieved / medians["matrix"], 3),
        "setting": {name: tried[0][name] for name in ("precision", "layout", "tuned", "compile")},
        "settings_tried": tried,
        **fresh,
        "spread": {name: round((max(rates) - min(rates)) / medians[name], 3) for name, rates in rounds.items()},
        "rounds": len(rounds["bound"]),
        "device": device,
        "versions": versions,
    }


def _ratio(rounds: dict[str, list[float]], one: str, other: str) -> float | None:
    if one not in rounds or other not in rounds:
        return None
    return round(statistics.median(a / b for a, b in zip(rounds[one], rounds[other], strict=True)), 4)


def bench_files() -> dict[Path, list[dict]]:
    """Every file of rows in results/bench/, one a device. Other files lie there too."""
    found = {path: read_json(path) for path in sorted((results_dir() / "bench").glob("*.json"))}
    return {path: rows for path, rows in found.items() if isinstance(rows, list) and rows and "end_to_end" in rows[0]}


def file_of(device: dict, suffix: str = "") -> Path:
    """Where what was measured on that device (core.devices.describe) is written: results/bench/<device><suffix>.json."""
    slug = re.sub(r"[^a-z0-9]+", "-", device["name"].lower()).strip("-") or device["type"]
    return results_dir() / "bench" / f"{slug}{suffix}.json"


def save(new: dict) -> tuple[str, str]:
    """Into results/bench/<device>.json and .md, in place of the earlier row of the same case."""
    path = file_of(new["device"])
    # A row of the earlier form lacks what a page shows, so it goes.
    old = [row for row in (read_json(path) if path.exists() else []) if "settings_tried" in row]
    rows = [row for row in old if [row[k] for k in KEY] != [new[k] for k in KEY]]
    rows = sorted([*rows, new], key=lambda r: (r["method"], r["backbone"], r["size"], r["batch"]))
    return written(path, rows, page(rows))


def written(path: Path, content: object, text: str) -> tuple[str, str]:
    """What was measured and the page that tells it, side by side; their names."""
    return shown(write_json(path, content)), shown(write_text(path.with_suffix(".md"), text))


def summary(rows: list[dict]) -> list[dict]:
    """A line a case, for the page's first table and for the README; what a row lacks shows as missing."""
    return [
        {
            "case": f"{r.get('method', 'simclr')}, {r['backbone']} ({r['stem']}), batch {r['batch']}",
            "images/s": _plain(r["end_to_end"]),
            "of the bound": _times(r.get("ratio_to_bound")),
            "x standard": _times(r.get("ratio_to_standard")),
            "x lightly": _times(r.get("ratio_to_lightly")),
            "x plain fp32": _times(r.get("ratio_to_plain")),
            "views, x PIL": _times(r.get("ratio_of_views"), 1),
            "views, x kornia": _times(r.get("ratio_of_views_to_kornia"), 1),
            "GFLOP/s (of the matrix rate)": _work(r),
            "memory, GB": _times(r["peak_memory"] / 1e9) if r.get("peak_memory") else MISSING,
            "start-up, s": _times(sum(v for k, v in r["startup"].items() if k != "compile"), 1) if "startup" in r else MISSING,
        }
        for r in rows
    ]


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _times(value: float | None, digits: int = 2) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def _work(r: dict) -> str:
    share = r.get("share_of_matrix_rate")
    return MISSING if "flops_per_second" not in r else f"{r['flops_per_second'] / 1e9:,.0f}" + (f" ({share:.0%})" if share else "")


def lines(rows: list[dict]) -> str:
    """Rows as a Markdown table."""
    if not rows:
        return ""
    head = "| " + " | ".join(rows[0]) + " |\n|" + " --- |" + " ---: |" * (len(rows[0]) - 1)
    return "\n".join([head, *("| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows)])


def page(rows: list[dict]) -> str:
    """A device's page: the summary, then a section a case."""
    parts = [
        f"# Speed and memory on {device_words(rows[0]['device'])}",
        "Written by `make bench`. Source images a second, medians over rounds in which all took turns; an image counts once, however many "
        "views are made of it. *Of the bound*: our whole training at its default settings over the bare step at the fastest setting found.",
        lines(summary(rows)),
        *(section(row) for row in rows),
    ]
    return "\n\n".join(parts) + "\n"


def section(r: dict) -> str:
    """Everything measured about a case."""
    rates = [
        {
            "what": text.format(workers=r["device"].get("workers", "")),
            "images/s": f"{r[name]:,.1f}",
            "spread": f"{r['spread'][name]:.0%}",
        }
        for name, text in RATES.items()
        if r[name] is not None
    ]
    tried = [
        {
            "setting": _setting(each),
            "images/s": f"{each['images_per_second']:,.1f}" if not each["failed"] else each["failed"],
            "first step, s": _times(each["first_step_seconds"]),
            "compiling pays back after": _payback(each),
        }
        for each in r["settings_tried"]
    ]
    stages = ", ".join(f"{name.replace('_', ' ')} {seconds:.2f}" for name, seconds in r["startup"].items() if seconds is not None)
    packages = ", ".join(f"{name} {number}" for name, number in r["versions"].items())
    return "\n\n".join(
        [
            f"## {r['method']}, {r['backbone']} ({r['stem']}), {r['size']} px, batch {r['batch']}",
            lines(rates),
            f"Data and views cost {r['share_of_data_and_views']:.1%} of a bare step. {r['flops_per_second'] / 1e9:,.0f} GFLOP/s end to end; the "
            f"device's own {r['precision']} matrix product reaches {r['matrix_rate'] / 1e9:,.0f}. Seconds before training: {stages}. Peak memory "
            f"{r['peak_memory'] / 1e9:.2f} GB. Rounds: {r['rounds']}; {packages}.",
            "Settings tried on the bare step, the fastest being the bound's:",
            lines(tried),
        ]
    )


def _setting(each: dict) -> str:
    words = [each["precision"], each["layout"].replace("_", " "), *(["tuned kernels"] if each["tuned"] else [])]
    return ", ".join(words + ([f"compiled ({each['compile']})"] if each["compile"] else []))


def _payback(each: dict) -> str:
    if not each["compile"] or each["failed"]:
        return MISSING
    steps = each["pays_back_after_steps"]
    return "never" if steps is None else f"{steps:,} steps"
