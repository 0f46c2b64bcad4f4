"""Write the committed results as web pages that need no network and no scripts: python -m helpers.commands.site [--to FOLDER]."""

import argparse
import posixpath
import re
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from helpers import studies
from helpers.core.errors import RecordError, UserError, answered
from helpers.core.files import REPOSITORY, cache_dir, results_dir, shown, write_text
from helpers.pages import study_page
from helpers.pages.blocks import variants, words
from helpers.pages.site_claims import counted, entries, ledger, page_of, place_of
from helpers.pages.site_html import GENERATOR, Notebook, Text, frame, page_size, split_title

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
        self.texts: dict[str, tuple[str, str]] = {}  # a text of the repository -> (its Markdown, its page)
        for name, page in {"README.md": "index", "notebooks/README.md": "running", "helpers/README.md": "code"}.items():
            self.texts[name] = ((REPOSITORY / name).read_text(encoding="utf-8"), f"{page}.html")
        for path in (path for name in ("README.md", "methods.md", "bench/*.md") for path in sorted(results_dir().glob(name))):
            name = path.relative_to(results_dir()).with_suffix("").as_posix()
            self.texts[f"results/{name}.md"] = (path.read_text(encoding="utf-8"), f"{name.replace('README', 'results')}.html")
        for study in studies.names():
            self.texts[f"results/{study}/README.md"] = (study_page.page(study), f"{study}/index.html")
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
        for source, (markdown, page) in self.texts.items():
            title, rest = split_title(markdown)
            self.put(page, title, Text(partial(self.lead, source, page), partial(self.size, source)).html(rest))
        written = {page for _, page in self.texts.values()}
        for page, heading, command in (
            ("methods.html", "The methods", "make methods PRESET=cpu"),
            ("results.html", "Results", "make claims"),
        ):
            if page not in written:
                self.put(page, heading, f"<p>Not written yet: <code>{command}</code></p>")
        judged = [path for path in self.variants if (path / "claims.csv").is_file()]
        self.put("claims.html", "Ledger of claims", ledger(judged, {name: study_page.opening(name)[0] for name in studies.names()}))
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
        about.append('<a href="../index.html">the study</a>')
        return book.title or study, f'<p class="quiet">{"; ".join(about)}.</p>\n{body}'


def copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise RecordError(f"{shown(source)} is named in index.json and missing. `git checkout` restores it, or execute the study again.")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


if __name__ == "__main__":
    sys.exit(main())
