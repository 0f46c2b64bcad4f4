"""The ledger of claims on the site, where each claim leads to its evidence."""

import html
from pathlib import Path

import pandas as pd

from helpers.core.files import read_json
from helpers.judging.claims import read_claims
from helpers.judging.tables import NOTHING, TAKES
from helpers.pages.blocks import count, found_verdicts, priced_verdicts
from helpers.pages.site_html import badge, boxed, folded, listed, plural


def place_of(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def page_of(path: Path) -> str:
    return f"{place_of(path)}/{path.parent.name}.html"


def entries(path: Path) -> list[dict]:
    return read_json(path / "index.json") if (path / "index.json").is_file() else []


def counted(path: Path) -> str:
    return count(found_verdicts(path))


def ledger(paths: list[Path], titles: dict[str, str]) -> str:
    """Every claim with its verdict in every variant, and links to where its evidence stands; studies in the order of `titles`."""
    claims = read_claims()
    judged = {path: found_verdicts(path) for path in paths}
    parts = [f"<p>A verdict holds for its scope only. Behind each stands where its evidence is; {badge('undecided')} says why.</p>"]
    parts += [] if paths else ["<p>No study was executed yet.</p>"]
    for study in (name for name in titles if any(path.parent.name == name for path in paths)):
        frames = {path: frame for path, frame in judged.items() if path.parent.name == study}
        names = [name for name in claims if any(name in set(frame["claim"]) for frame in frames.values())]
        parts += [f'<section><h2 id="{study}">{html.escape(titles[study])}</h2>', overview(names, frames)]
        told = {path: dict(zip(frame["claim"], priced_verdicts(frame).to_dict("records"), strict=True)) for path, frame in frames.items()}
        runs = {path: dict(zip(frame["claim"], frame["runs"].fillna("").str.split(), strict=True)) for path, frame in frames.items()}
        for name in names:
            claim = claims[name]
            own = " (ours: no paper says it)" if claim.ours else ""
            about = f"Published: {claim.published}. Judged: {claim.estimand}; margin {claim.margin:g} {claim.unit}."
            parts.append(f'<section class="claim" id="{name}"><h3>{name}: {html.escape(claim.statement + own)}</h3>')
            parts.append(f'<p class="quiet">{html.escape(about)}</p>')
            parts += [one_verdict(path, told[path][name], runs[path][name]) for path in frames if name in told[path]]
            parts.append("</section>")
        parts.append("</section>")
    return "\n".join(parts)


def overview(names: list[str], frames: dict[Path, pd.DataFrame]) -> str:
    head = "".join(f'<th scope="col"><a href="{page_of(path)}">{path.name}</a>: {count(frame)}</th>' for path, frame in frames.items())
    rows = ""
    for name in names:
        verdicts = [dict(zip(frame["claim"], frame["verdict"], strict=True)).get(name) for frame in frames.values()]
        cells = "".join(f"<td>{badge(verdict) if verdict else '—'}</td>" for verdict in verdicts)
        rows += f'<tr><th scope="row"><a href="#{name}">{name}</a></th>{cells}</tr>'
    study = next(iter(frames)).parent.name
    return boxed(
        f'<table><thead><tr><th scope="col">claim</th>{head}</tr></thead><tbody>{rows}</tbody></table>', f"Verdicts of {study} by variant"
    )


def one_verdict(path: Path, told: dict, runs: list[str]) -> str:
    known = {entry["name"]: entry["kind"] for entry in entries(path)}
    shown = read_claims()[told["claim"]].figure
    links = [f'<a href="{page_of(path)}#{shown}">{known[shown]} {shown}</a>'] if shown in known else []
    links.append(f'<a href="{page_of(path)}#claim-{told["claim"]}">row of the verdict</a>')
    ours = f"ours {told['ours [95 %]']}, {plural(told['seeds'], 'seed')}, scope {told['scope']}"
    takes = f"<p>What would decide it: {html.escape(told[TAKES])}</p>" if told[TAKES] != NOTHING else ""
    return (
        f'<div class="judged"><p>{badge(told["verdict"])} <strong>{path.name}</strong>: {ours}</p>'
        f'<div class="quiet">{folded(str(told["reason"]))}</div>{takes}'
        f"<p>Evidence: {', '.join(links)}</p>{listed(plural(len(runs), 'run'), runs) if runs else ''}</div>"
    )
