"""What the page of results says of speed: read from results/bench/, never typed."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from helpers.bench import speed_table
from helpers.bench.rows import bench_files, lines, summary
from helpers.core.errors import RecordError
from helpers.core.files import json_lines, read_json, results_dir, shown
from helpers.gpu_day import page as gpu_day_page


def link(path: Path) -> str:
    """A path as results/README.md names it."""
    return Path(path).relative_to(results_dir()).as_posix()


def speed() -> str:
    """What was measured, a table a device; what was only projected; then what the other measurements found."""
    parts = []
    for path, rows in bench_files().items():
        page = path.with_suffix(".md")
        parts += [f"**[{rows[0]['device']['name']}]({link(page)})**, medians over {rows[0]['rounds']} rounds.", lines(summary(rows))]
    if not parts:
        parts.append("*Not measured yet: `make bench`*")
    for path in sorted((results_dir() / "bench").glob("projection-*.json")):
        page = path.with_suffix(".md")
        parts += [
            f"**[{read_json(path)['chip']['name']}]({link(page)}): a projection, never measured.**",
            lines(_projected(read_json(path))),
        ]
    said = [text for text in (*_readouts(), *_together(), *_same_numbers()) if text]
    if said:
        parts.append("\n".join(f"* {text}" for text in said))
    return "\n\n".join(parts)


def gpu_day() -> str:
    """The newest day on a GPU: what came of each step, and its speed table."""
    days = [folder for folder in gpu_day_page.days() if not folder.name.endswith("-toy")]
    if not days:
        return "*No day on a GPU has been recorded yet: every GPU time on this page is a projection. `make gpu-day` on the first card writes it.*"
    folder = days[-1]
    state = read_json(folder / gpu_day_page.STATE)
    title = f"**[{state['device']['name']}, {state['started'][:10]}]({link(folder / gpu_day_page.REPORT)})**, {state['minutes']:g} minutes, torch {state['versions']['torch']}."
    table = speed_table.table(json_lines(folder / gpu_day_page.SPEED))
    return "\n\n".join(filter(None, [title, lines(gpu_day_page.steps(state)), lines(table)]))


def _projected(projection: dict) -> list[dict]:
    return [
        {
            "case": f"simclr, {row['backbone']} ({row['stem']}), batch {row['batch']}",
            "s an epoch, projected": f"{row['seconds_an_epoch_eager']:.1f}",
            "as one CUDA graph, projected": f"{row['seconds_an_epoch_graph']:.1f}",
        }
        for row in projection["rows"]
    ]


def _readouts() -> Iterator[str]:
    for path in sorted((results_dir() / "bench").glob("*-readouts.json")):
        r = read_json(path)
        yield (
            f"[Linear probe and kNN]({link(path.with_suffix('.md'))}), {r['count']:,} x {r['width']} features on {r['device']['name']}: one fit "
            f"{r['fit_times_sklearn']:.1f} times as fast as scikit-learn's LogisticRegression ({r['points_from_sklearn']['fit']:+.2f} points), the "
            f"whole search and refit {r['probe_times_sklearn']:.1f} times; kNN of {r['test']:,} takes {r['knn_over_product']:.2f} times the bare "
            "matrix product."
        )


def _together() -> Iterator[str]:
    for path in sorted((results_dir() / "bench").glob("*-together.json")):
        rows = read_json(path)
        found = ", ".join(f"{r['backbone']} {r['ratio']:.2f}" for r in rows)
        yield (
            f"[Several small runs at once]({link(path.with_suffix('.md'))}), {rows[0]['workers']} processes on {rows[0]['device']['name']}, times "
            f"one process with all threads: {found}."
        )


def _same_numbers() -> Iterator[str]:
    path = results_dir() / "bench" / "same-numbers.csv"
    if not path.is_file():
        return
    try:
        frame = pd.read_csv(path)
        parts = [
            f"{r['encoder']} {r['fast − plain']:+.2f} (seeds spread over {r['spread of seeds']:.2f}, n = {r['n']})"
            for _, r in frame[frame["n"] > 1].iterrows()
        ]
    except (ValueError, KeyError) as error:
        raise RecordError(f"Cannot read {shown(path)} ({error}). Write it again: `make same-numbers`; finished runs are kept.") from error
    if parts:
        yield f"[The same numbers]({link(path.with_suffix('.md'))}), kNN points of full speed less those of plain fp32: {'; '.join(parts)}."
