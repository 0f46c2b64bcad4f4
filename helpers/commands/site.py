"""Write the committed results as web pages that need no network and no scripts: python -m helpers.commands.site [--to FOLDER]."""

import argparse
import html
import posixpath
import re
import shutil
import sys
import tempfile
import tomllib
from functools import partial
from pathlib import Path

import pandas as pd

from helpers.commands.readme_blocks import EXPECTED, MAIN, READINGS, count, interval, missing, read_table, read_verdicts, variants
from helpers.commands.site_html import GENERATOR, Notebook, Text, badge, boxed, frame, listed, page_size, picture, split_title
from helpers.core.errors import RecordError, UserError
from helpers.core.files import REPOSITORY, cache_dir, read_json, results_dir, shown, write_text
from helpers.study.claims import Claim, read_claims, verdict_table
from helpers.study.report import markdown

HERE = Path(__file__)
SETTINGS = tomllib.loads(HERE.with_suffix(".toml").read_text(encoding="utf-8"))
TELLING = 4  # verdicts of a study on the first page; the ledger has all
LONG = 160  # characters of a reason that stand open; more are folded


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 written, 2 the results cannot be read or the folder is not ours to write."""
    parser = argparse.ArgumentParser(prog="python -m helpers.commands.site", description="Write the results as web pages.")
    parser.add_argument("--to", type=Path, default=cache_dir() / "site", metavar="FOLDER", help="where to (default: .cache/site)")
    given = parser.parse_args(arguments)
    try:
        pages = build(given.to.expanduser().resolve())
    except (UserError, RecordError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print(f"{pages} pages. Read them in any browser, no network needed: {shown(given.to / 'index.html')}")
    return 0


def build(folder: Path) -> int:
    """Write the whole site in place of the one before; returns the number of pages."""
    if folder.exists() and not _ours(folder):
        raise UserError(f"{folder} is neither empty nor a site written before. Name another folder, or empty this one.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".site-") as parts:
        made = Site(Path(parts) / "site")
        pages = made.write()
        if folder.exists():
            shutil.rmtree(folder)
        made.folder.rename(folder)
    return pages


def _ours(folder: Path) -> bool:
    first = folder / "index.html"
    if first.is_file():
        return f'content="{GENERATOR}"' in first.read_text(encoding="utf-8", errors="replace")
    return folder.is_dir() and not any(folder.iterdir())


class Site:
    """The pages, and `targets`: what the site has of each file of the repository, by which links of Markdown texts are led."""

    def __init__(self, folder: Path):
        self.folder, self.pages = folder, 0
        self.variants = [path for path in variants() if (path / f"{path.parent.name}.ipynb").is_file()]
        texts = [path for name in ("methods.md", "bench/*.md") for path in sorted(results_dir().glob(name))]
        self.texts = {"README.md": (REPOSITORY / "README.md", "about.html")}
        for path in texts:
            name = path.relative_to(results_dir()).with_suffix("").as_posix()
            self.texts[f"results/{name}.md"] = (path, f"{name}.html")
        self.targets = {source: page for source, (_, page) in self.texts.items()} | {"results/claims.md": "claims.html"}
        for path in self.variants:
            place, page = place_of(path), page_of(path)
            self.targets |= {f"results/{name}": page for name in (place, page, page.replace(".html", ".ipynb"))}
            for entry in entries(path):
                self.targets |= {f"results/{place}/{name}": f"{place}/{name}" for name in entry["files"]}
                self.targets[f"results/{place}/{entry['name']}.md"] = f"{page}#{entry['name']}"

    def write(self) -> int:
        for path in self.variants:
            for name in (name for entry in entries(path) for name in entry["files"] if not name.endswith(".md")):
                copy(path / name, self.folder / place_of(path) / name)
            self.put(page_of(path), *self.notebook(path))
        for source, (path, page) in self.texts.items():
            title, rest = split_title(path.read_text(encoding="utf-8"))
            text = Text(partial(self.lead, source, page), partial(self.size, source))
            self.put(page, title, text.html(rest))
        self.put("claims.html", "Ledger of claims", ledger([path for path in self.variants if (path / "claims.csv").is_file()]))
        self.put("index.html", "Self-supervised studies", self.first_page())
        copy(HERE.with_suffix(".css"), self.folder / "site.css")
        return self.pages

    def put(self, page: str, title: str, body: str) -> None:
        write_text(self.folder / page, frame(page, title, body))
        self.pages += 1

    def lead(self, source: str, page: str, url: str) -> str | None:
        """Where a link of the text `source` leads on `page`; None where the site has nothing of it."""
        if re.match(r"[a-z]+:|#", url):
            return url
        path, _, anchor = url.partition("#")
        target = self.targets.get(posixpath.normpath(posixpath.join(posixpath.dirname(source), path)))
        if target is None:
            return None
        return posixpath.relpath(target, posixpath.dirname(page) or ".") + (f"#{anchor}" if anchor else "")

    def size(self, source: str, url: str) -> tuple[int, int]:
        return page_size(self.folder / self.lead(source, "index.html", url))

    def notebook(self, path: Path) -> tuple[str, str]:
        """(title, body) of a variant's page."""
        study, page = path.parent.name, page_of(path)
        book = Notebook(path / f"{study}.ipynb", partial(self.lead, f"notebooks/{study}.ipynb", page), "../../claims.html")
        body = book.body()
        about = [words(path.name)]
        if (path / "claims.csv").is_file():
            about.append(f'{counted(path)} (<a href="#verdicts">their table</a>, <a href="../../claims.html#{study}">the ledger</a>)')
        others = [other for other in self.variants if other.parent == path.parent and other != path]
        about += [f'also: <a href="../{other.name}/{study}.html">{words(other.name)}</a>' for other in others]
        return book.title or study, f'<p class="quiet">{"; ".join(about)}.</p>\n{body}'

    def first_page(self) -> str:
        _, rest = split_title((REPOSITORY / "README.md").read_text(encoding="utf-8"))
        opening = Text(partial(self.lead, "README.md", "index.html"), lambda url: None).html(rest.strip().partition("\n\n")[0])
        names = sorted(path.stem for path in (REPOSITORY / "notebooks").glob("*.ipynb"))
        order = [*(name for name in SETTINGS["main"] if name in names), *(name for name in names if name not in SETTINGS["main"])]
        return "\n".join([opening, *(self.study(name) for name in order)])

    def study(self, study: str) -> str:
        """A study's part of the first page."""
        cell = "".join(read_json(REPOSITORY / "notebooks" / f"{study}.ipynb")["cells"][0]["source"])
        title, rest = split_title(cell)
        text = Text(partial(self.lead, f"notebooks/{study}.ipynb", "index.html"), lambda url: None)
        paragraphs = rest.strip().split("\n\n")
        question = next((each for each in paragraphs if each.startswith("**Question")), paragraphs[0])
        here = [path for path in self.variants if path.parent.name == study]
        lacking = [name for name in EXPECTED.get(study, (MAIN,)) if name not in [path.name for path in here]]
        parts = [f'<section><h2 id="{study}">{html.escape(title or study)}</h2>', text.html(question)]
        if here:
            first = next((path for path in here if path.name == MAIN), here[0])
            parts += [main_figure(first), telling([path for path in here if (path / "claims.csv").is_file()]), result(first)]
            parts.append(f"<ul>{''.join(self.variant(path) for path in here)}</ul>")
        parts += [text.html(f"{words(name)}: {missing(name, study=study)}") for name in lacking]
        return "\n".join([*parts, "</section>"])

    def variant(self, path: Path) -> str:
        known = (path / "claims.csv").is_file()
        links = f': {counted(path)} (<a href="claims.html#{path.parent.name}">ledger</a>)' if known else ""
        if "results/methods.md" in self.targets:
            links += ', <a href="methods.html">methods</a>'
        return f'<li><a href="{page_of(path)}">The executed notebook, {words(path.name)}</a>{links}</li>'


def place_of(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def page_of(path: Path) -> str:
    return f"{place_of(path)}/{path.parent.name}.html"


def entries(path: Path) -> list[dict]:
    return read_json(path / "index.json") if (path / "index.json").is_file() else []


def copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise RecordError(f"{shown(source)} is named in index.json and missing. `git checkout` restores it, or execute the study again.")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def words(variant: str) -> str:
    preset, _, reading = variant.partition("-")
    return f"preset {preset}, reading {READINGS.get(reading, reading)}"


def counted(path: Path) -> str:
    return count(read_verdicts(path / "claims.csv"))


def main_figure(path: Path) -> str:
    figures = [entry for entry in entries(path) if entry["kind"] == "figure"]
    wanted = SETTINGS["main"].get(path.parent.name)
    found = [entry for entry in figures if entry["name"] == wanted] or [entry for entry in figures if entry["runs"]]
    if not found:
        return ""
    name = found[0]["name"]
    shown_here = picture(f"{place_of(path)}/{name}.png", found[0]["alt"], page_size(path / f"{name}.png"))
    where = f'<a href="{page_of(path)}#{name}">This figure where it was drawn</a>, {words(path.name)}'
    return f"<figure>{shown_here}<figcaption>{where}</figcaption></figure>"


def result(path: Path) -> str:
    """What a race came to, which is judged by no claim."""
    if not (path / "result.csv").is_file():
        return ""
    frame = read_table(path / "result.csv", ("who", "target (%)", "seconds", "low", "high", "n", "device"))
    frame = frame.rename(columns={"seconds": "ours"})
    frame.insert(2, "seconds [95 %]", [interval(row) for _, row in frame.iterrows()])
    text = Text(lambda url: None, lambda url: None).html(markdown(frame.drop(columns=["ours", "low", "high"])))
    return text.replace('aria-label="Table 1"', 'aria-label="Seconds to the target"')


def telling(paths: list[Path]) -> str:
    """The decided verdicts of a study, clearest first: those whose interval lies furthest from the margin in its own widths."""
    claims, found = read_claims(), []
    for path in paths:
        frame = read_verdicts(path / "claims.csv")
        for row, (_, told) in zip(frame.itertuples(), verdict_table(frame).iterrows(), strict=True):
            if row.verdict != "undecided":
                found.append((clearness(claims[row.claim], row), path, told))
    if not paths:
        return ""
    if not found:
        return "<p>No claim is decided yet.</p>"
    found = sorted(found, key=lambda each: -each[0])
    items = "".join(
        f'<li>{badge(told["verdict"])} <a href="claims.html#{told["claim"]}">{told["claim"]}</a>: {html.escape(told["says"])} '
        f'<span class="quiet">Published: {html.escape(told["published"])}; ours: {told["ours [95 %]"]}, '
        f"margin {told['margin']}, {words(path.name)}.</span></li>"
        for _, path, told in found[:TELLING]
    )
    return f"<h3>The clearest verdicts, {min(TELLING, len(found))} of {len(found)} decided</h3><ul>{items}</ul>"


def clearness(claim: Claim, row) -> float:
    if pd.isna(row.low):
        return 0.0
    if claim.kind == "equivalence":
        beyond = claim.margin - max(abs(row.low), abs(row.high)) if row.verdict == "supported" else min(abs(row.low), abs(row.high))
    else:
        beyond = row.low - claim.margin if row.verdict == "supported" else claim.margin - row.high
    return beyond / max(row.high - row.low, 1e-9)


def ledger(paths: list[Path]) -> str:
    """Every claim with its verdict in every variant, and links to where its evidence stands."""
    claims = read_claims()
    judged = {path: read_verdicts(path / "claims.csv") for path in paths}
    parts = [f"<p>A verdict holds for its scope only. Behind each stands where its evidence is; {badge('undecided')} says why.</p>"]
    for study in dict.fromkeys(path.parent.name for path in paths):
        frames = {path: frame for path, frame in judged.items() if path.parent.name == study}
        names = [name for name in claims if any(name in set(frame["claim"]) for frame in frames.values())]
        parts += [f'<section><h2 id="{study}">{study}</h2>', overview(names, frames)]
        told = {path: dict(zip(frame["claim"], verdict_table(frame).to_dict("records"), strict=True)) for path, frame in frames.items()}
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
    names = [name for name in SETTINGS["evidence"].get(told["claim"], ()) if name in known]
    links = [f'<a href="{page_of(path)}#{name}">{known[name]} {name}</a>' for name in names]
    links.append(f'<a href="{page_of(path)}#claim-{told["claim"]}">row of the verdict</a>')
    reason = html.escape(str(told["reason"]))
    if len(reason) > LONG:
        first, *rest = reason.split("; ")
        reason = (
            f"{first}<details><summary>all {len(rest)} parts</summary><ul>{''.join(f'<li>{each}</li>' for each in rest)}</ul></details>"
        )
    ours = f"ours {told['ours [95 %]']}, {told['seeds']} seeds, scope {told['scope']}"
    return (
        f'<div class="judged"><p>{badge(told["verdict"])} <strong>{path.name}</strong>: {ours}</p><div class="quiet">{reason}</div>'
        f"<p>Evidence: {', '.join(links)}</p>{listed(f'{len(runs)} runs', runs) if runs else ''}</div>"
    )


if __name__ == "__main__":
    sys.exit(main())
