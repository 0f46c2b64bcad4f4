"""Write the committed results as web pages that need no network and no scripts: python -m helpers.commands.site [--to FOLDER]."""

import argparse
import html
import posixpath
import re
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from helpers import studies
from helpers.core.errors import RecordError, UserError, answered
from helpers.core.files import REPOSITORY, cache_dir, read_json, results_dir, shown, write_text
from helpers.pages import study_page
from helpers.pages.blocks import missing, missing_variants, variants, words
from helpers.pages.site_claims import counted, entries, ledger, page_of, place_of, telling
from helpers.pages.site_html import GENERATOR, Notebook, Text, frame, page_size, picture, split_title

STYLE = Path(__file__).with_suffix(".css")


@answered
def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 written, 2 the results cannot be read or the folder is not ours to write."""
    parser = argparse.ArgumentParser(prog="python -m helpers.commands.site", description="Write the results as web pages.")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where to (default: site/ in CACHE_DIR)")
    given = parser.parse_args(arguments)
    folder = cache_dir() / "site" if given.to is None else given.to.expanduser().resolve()
    pages = build(folder)
    print(f"{pages} pages. Read them in any browser, no network needed: {given.to or shown(folder)}/index.html")
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
        guides = {"README.md": "about", "notebooks/README.md": "running", "helpers/README.md": "code", "results/README.md": "results"}
        places = {name: results_dir() / "README.md" if name.startswith("results/") else REPOSITORY / name for name in guides}
        self.texts = {name: (path, f"{guides[name]}.html") for name, path in places.items() if path.is_file()}
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
            self.put(page, "About" if source == "README.md" else title, text.html(rest))
        for source, heading, command in (("methods.md", "The methods", "make methods PRESET=cpu"), ("README.md", "Results", "make claims")):
            if f"results/{source}" not in self.texts:
                self.put(
                    "methods.html" if source == "methods.md" else "results.html", heading, f"<p>Not written yet: <code>{command}</code></p>"
                )
        judged = [path for path in self.variants if (path / "claims.csv").is_file()]
        self.put("claims.html", "Ledger of claims", ledger(judged, {name: title for name, (title, _) in self.studies().items()}))
        self.put("index.html", "Self-supervised studies", self.first_page())
        copy(STYLE, self.folder / "site.css")
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
        return "\n".join([opening, *(self.study(name, title, question) for name, (title, question) in self.studies().items())])

    def studies(self) -> dict[str, tuple[str, str]]:
        """Title and question of every study, from the first cell of its notebook, in the order of the settings."""
        found = {}
        for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb")):
            title, rest = split_title("".join(read_json(path)["cells"][0]["source"]))
            paragraphs = rest.strip().split("\n\n")
            question = next((each for each in paragraphs if each.startswith("**Question")), paragraphs[0])
            found[path.stem] = (title or path.stem, question)
        return {name: found[name] for name in studies.names() if name in found}

    def study(self, study: str, title: str, question: str) -> str:
        """A study's part of the first page."""
        text = Text(partial(self.lead, f"notebooks/{study}.ipynb", "index.html"), lambda url: None)
        here = [path for path in self.variants if path.parent.name == study]
        judged = [path for path in here if (path / "claims.csv").is_file()]
        lacking = missing_variants(study)
        parts = [f'<section><h2 id="{study}">{html.escape(title)}</h2>', text.html(question)]
        if here:
            first = here[0]
            links = [self.variant(path) for path in here]
            if judged:
                links.append(f'<a href="claims.html#{study}">The ledger of its claims, with all reasons and evidence</a>')
            links.append('<a href="methods.html">The methods, one by one</a>')
            parts += [
                main_figure(first),
                telling(judged) if judged else text.html(study_page.answer(study)),
                f"<ul>{''.join(f'<li>{link}</li>' for link in links)}</ul>",
            ]
        parts += [text.html(f"{words(name)}: {missing(study, name)}") for name in lacking]
        return "\n".join([*parts, "</section>"])

    def variant(self, path: Path) -> str:
        verdicts = f": {counted(path)}" if (path / "claims.csv").is_file() else ""
        return f'<a href="{page_of(path)}">The executed notebook, {words(path.name)}</a>{verdicts}'


def copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise RecordError(f"{shown(source)} is named in index.json and missing. `git checkout` restores it, or execute the study again.")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def main_figure(path: Path) -> str:
    figures = [entry for entry in entries(path) if entry["kind"] == "figure"]
    wanted = studies.part(path.parent.name, "settings").SHOWN[0]
    found = [entry for entry in figures if entry["name"] == wanted] or [entry for entry in figures if entry["runs"]]
    if not found:
        return ""
    name = found[0]["name"]
    shown_here = picture(f"{place_of(path)}/{name}.svg", found[0]["alt"], page_size(path / f"{name}.svg"))
    where = f'<a href="{page_of(path)}#{name}">This figure where it was drawn</a>, {words(path.name)}'
    return f"<figure>{shown_here}<figcaption>{where}</figcaption></figure>"


if __name__ == "__main__":
    sys.exit(main())
