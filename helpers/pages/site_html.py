"""HTML that needs nothing but the site's stylesheet: the frame of a page, Markdown, tables and figures, an executed notebook.

mistune comes with what the requirements name; nbconvert's own page brings a stylesheet of 300 kB, scripts, and code before text.
"""

import html
import re
from collections.abc import Callable
from pathlib import Path

import mistune

from helpers.core.files import read_json

GENERATOR = "self-supervised-studies"  # by which a folder is known as one that may be written anew
LONG = 160  # characters of a reason that stand open; the parts of a longer one are folded
ROWS = 30  # of a table, beyond which it scrolls within its box and the page stays short
PHONE = 360  # pixels across of a small screen, less its margins
PAGES = {
    "index.html": "Studies",
    "claims.html": "Claims",
    "methods.html": "Methods",
    "results.html": "Results",
    "running.html": "How to run",
    "code.html": "The code",
}
LEGIBLE = 0.7  # of a figure's width on paper, below which its text gets too small; a narrower screen scrolls it
FRAME = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="{generator}">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{up}site.css">
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header><nav aria-label="Site"><ul>{links}</ul></nav></header>
<main id="content">
<h1>{heading}</h1>
{body}
</main>
</body>
</html>
"""


def frame(page: str, title: str, body: str) -> str:
    """A whole page; `page` is its path in the site, `title` its one first heading, in Markdown's inline marks."""
    up = "../" * page.count("/")
    here = {page: ' aria-current="page"'}
    links = "".join(f'<li><a href="{up}{name}"{here.get(name, "")}>{label}</a></li>' for name, label in PAGES.items())
    plain = title.replace("`", "")
    heading = re.sub(r"^<p>|</p>\s*$", "", mistune.html(html.escape(title)))
    return FRAME.format(generator=GENERATOR, title=html.escape(plain), up=up, links=links, heading=heading, body=body)


def slug(text: str) -> str:
    """The anchor of a heading as code hosts make it, so that links written for them hold here."""
    return re.sub(r"[^\w\- ]", "", html.unescape(re.sub(r"<[^>]+>", "", text)).strip().lower()).replace(" ", "-")


def split_title(text: str) -> tuple[str, str]:
    """(first heading, the rest) of a Markdown text."""
    found = re.match(r"\s*# +(.+)\n?", text)
    return (found[1].strip(), text[found.end() :]) if found else ("", text)


class Text(mistune.HTMLRenderer):
    """Markdown as HTML: headings with anchors, tables in boxes that scroll, links led to where the site has their target."""

    def __init__(self, lead: Callable[[str], str | None], sizes: Callable[[str], tuple[int, int] | None], prefix: str = ""):
        super().__init__(escape=True)
        self.lead, self.sizes, self.prefix = lead, sizes, prefix
        self.headings: list[tuple[int, str, str]] = []  # (level, anchor, HTML)
        self.tables = 0
        self.markdown = mistune.create_markdown(renderer=self, plugins=["table"])

    def html(self, text: str) -> str:
        return self.markdown(re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL))

    def heading(self, text: str, level: int, **_) -> str:
        anchor = self.prefix + slug(text)
        used = [each for _, each, _ in self.headings]
        anchor = next(name for name in (anchor, *(f"{anchor}-{number}" for number in range(1, len(used) + 2))) if name not in used)
        level = max(level, 2)  # the frame has the first one
        self.headings.append((level, anchor, text))
        return f'<h{level} id="{anchor}">{text}</h{level}>\n'

    def table(self, text: str) -> str:
        self.tables += 1
        return boxed(f"<table>{text}</table>", f"Table {self.tables}")

    def link(self, text: str, url: str, title: str | None = None) -> str:
        target = self.lead(url)
        return text if target is None else super().link(text, target, title)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        target = self.lead(url)
        return text if target is None else picture(target, html.unescape(text), self.sizes(url))


def folded(words: str) -> str:
    """A plain text of parts between semicolons as HTML: a long one shows its first part and folds the others."""
    first, *rest = words.split("; ")
    if len(words) <= LONG or not rest:
        return html.escape(words)
    items = "".join(f"<li>{html.escape(each)}</li>" for each in rest)
    return f"{html.escape(first)}<details><summary>{len(rest)} more</summary><ul>{items}</ul></details>"


def boxed(table: str, label: str) -> str:
    """A table in a box that scrolls, also by keyboard, instead of widening the page; long cells are folded."""
    content = re.sub(r"(<td[^>]*>)([^<]+)(?=</td>)", lambda found: found[1] + folded(html.unescape(found[2])), table)
    kind = "scroll long" if content.count("<tr") > ROWS else "scroll"
    return f'<div class="{kind}" role="region" tabindex="0" aria-label="{html.escape(label)}">{content}</div>'


def picture(source: str, alt: str, size: tuple[int, int] | None) -> str:
    """An image with its alt text. A narrow screen shrinks it as far as its text stays legible, then scrolls."""
    wide, high = size or (700, 400)
    about = f'alt="{html.escape(alt)}" width="{wide}" height="{high}" style="min-width: {LEGIBLE * wide:.0f}px" loading="lazy"'
    kind = 'class="scroll wide" role="group" tabindex="0" aria-label="Figure"' if LEGIBLE * wide > PHONE else 'class="scroll"'
    return f'<span {kind}><img src="{html.escape(source)}" {about}></span>'


def page_size(svg: Path) -> tuple[int, int]:
    """Width and height at which a figure's text has the size it was drawn with; the file tells them in points."""
    found = re.search(r'<svg[^>]*? height="([\d.]+)pt"[^>]*? width="([\d.]+)pt"', svg.read_text(encoding="utf-8"), re.DOTALL)
    high, wide = map(float, found.groups()) if found else (288, 504)
    return round(wide * 100 / 72), round(high * 100 / 72)


def badge(verdict: str) -> str:
    return f'<span class="verdict {html.escape(verdict)}">{html.escape(verdict)}</span>'


def plural(number: int, thing: str) -> str:
    return f"{number} {thing}" + "s" * (number != 1)


def listed(summary: str, names: list[str]) -> str:
    return f"<details><summary>{html.escape(summary)}</summary><p>{html.escape(', '.join(names))}</p></details>"


class Notebook:
    """An executed notebook as the body of a page: text, figures and tables in their order, code folded."""

    def __init__(self, path: Path, lead: Callable[[str], str | None], ledger: str):
        self.folder, self.ledger = path.parent, ledger
        self.cells = read_json(path)["cells"]
        index = path.with_name("index.json")
        self.entries = {entry.get("alt") or entry.get("caption"): entry for entry in (read_json(index) if index.is_file() else [])}
        self.text = Text(lead, lambda url: None, prefix="part-")
        self.title, self.tables = "", 0

    def body(self) -> str:
        parts = [self.cell(number, cell) for number, cell in enumerate(self.cells, 1)]
        links = "".join(f'<li><a href="#{anchor}">{text}</a></li>' for level, anchor, text in self.text.headings if level == 2)
        return f'<nav aria-label="Parts of this page" class="parts"><ul>{links}</ul></nav>\n' + "\n".join(parts)

    def cell(self, number: int, cell: dict) -> str:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            title, rest = split_title(source)
            self.title = self.title or title
            return self.text.html(rest)
        names = []
        shown = "\n".join(self.output(output, names) for output in cell.get("outputs", []))
        what = ", ".join(names) or f"cell {number}"
        code = f'<pre tabindex="0"><code>{html.escape(source)}</code></pre>'
        return f'{shown}\n<details class="code"><summary>Code of {html.escape(what)}</summary>{code}</details>'

    def output(self, output: dict, names: list[str]) -> str:
        """One output; the name of a figure or table is put into `names`."""
        if output["output_type"] == "stream":
            return _plain("".join(output["text"]))
        if output["output_type"] == "error":
            return _plain(f"{output['ename']}: {output['evalue']}")
        data = output["data"]
        if "image/png" in data:
            return self.figure("".join(data["image/png"]), output.get("metadata", {}).get("image/png", {}), names)
        if "text/html" in data:
            return self.tabled("".join(data["text/html"]), names)
        return _plain("".join(data.get("text/plain", "")))

    def figure(self, content: str, about: dict, names: list[str]) -> str:
        """The file that lies beside the notebook, which has all colours, or else the picture inside the notebook."""
        under = self.text.headings[-1][2] if self.text.headings else self.title
        alt = about.get("alt") or f"Picture under: {under}"
        entry = self.entries.get(alt)
        if entry is None:
            width = int(about.get("width", 700))
            return f"<figure>{picture('data:image/png;base64,' + content.strip(), alt, (width, width * 2 // 3))}</figure>"
        name = entry["name"]
        names.append(name)
        links = f'<a href="{name}.svg">{name} by itself</a>'
        runs = listed(f"{plural(len(entry['runs']), 'run')} behind this figure", entry["runs"]) if entry["runs"] else ""
        shown = picture(f"{name}.svg", alt, page_size(self.folder / f"{name}.svg"))
        return f'<figure id="{name}">{shown}<figcaption>{links}{runs}</figcaption></figure>'

    def tabled(self, content: str, names: list[str]) -> str:
        """HTML of an output without styles and scripts of its own; captions stand above the box, where they need no scrolling."""
        content = re.sub(r"<(style|script)\b.*?</\1>", "", content, flags=re.DOTALL)
        return re.sub(r"<table\b.*?</table>", lambda found: self.one_table(found[0], names), content, flags=re.DOTALL)

    def one_table(self, table: str, names: list[str]) -> str:
        self.tables += 1
        caption = re.search(r"<caption[^>]*>(.*?)</caption>", table, re.DOTALL)
        if not caption:
            return boxed(table, f"Table {self.tables}")
        words = html.unescape(caption[1])
        table, entry = table.replace(caption[0], ""), self.entries.get(words)
        if entry is None:
            return f"<figure><figcaption><strong>{caption[1]}</strong></figcaption>{boxed(table, words)}</figure>"
        name = entry["name"]
        names.append(name)
        if name == "verdicts":
            table = self.judged(table)
        head = f'<figcaption><strong>{caption[1]}</strong> <a href="{name}.csv">{name} (CSV)</a></figcaption>'
        return f'<figure id="{name}">{head}{boxed(table, words)}</figure>'

    def judged(self, table: str) -> str:
        """The table of verdicts with an anchor for each claim, a link to its place in the ledger, and marked verdicts."""
        row = re.compile(r"<tr>(<td[^>]*>)(\w+)</td>")
        table = row.sub(lambda found: f'<tr id="claim-{found[2]}">{found[1]}<a href="{self.ledger}#{found[2]}">{found[2]}</a></td>', table)
        return re.sub(r"(?<=>)(supported|contradicted|undecided)(?=</td>)", lambda found: badge(found[1]), table)


def _plain(text: str) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", text).strip("\n")
    return f'<pre class="output" tabindex="0">{html.escape(text)}</pre>' if text.strip() else ""
