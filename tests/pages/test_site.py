"""The site, built from the committed results: every link and picture is there, nothing comes from elsewhere, claims lead to evidence."""

import html
import posixpath
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pandas as pd
import pytest

from helpers import studies
from helpers.commands import site
from helpers.core.errors import UserError
from helpers.core.files import REPOSITORY
from helpers.judging.claims import read_claims
from helpers.pages.blocks import count, found_verdicts, variants
from helpers.pages.site_claims import entries
from helpers.pages.site_html import Text, boxed, folded, slug


class Page(HTMLParser):
    """What a page's markup says: its anchors, links, pictures, and whatever a browser would load by itself."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.pictures, self.loaded, self.tags = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        elif tag == "img":
            self.pictures.append(found)
        self.loaded += [found[name] for name in ("src", "srcset", "data", "poster") if name in found]
        if tag == "link":
            self.loaded.append(found["href"])

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


def read(folder):
    return {str(path.relative_to(folder)): Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}


def broken(folder, pages):
    """Links and resources that lead nowhere, as "page: target"."""
    found = []
    for name, page in pages.items():
        for target in [*page.links, *page.loaded]:
            if re.match(r"(https?|mailto|data):", target):
                continue
            path, _, anchor = target.partition("#")
            there = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(path))) if path else name
            if not (folder / there).is_file() or (anchor and anchor not in pages[there].ids):
                found.append(f"{name}: {target}")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "site"
    site.build(folder)
    return folder


@pytest.fixture(scope="module")
def pages(folder):
    return read(folder)


def test_every_link_anchor_and_picture_is_there(folder, pages):
    assert broken(folder, pages) == []
    assert sum(len(page.links) for page in pages.values()) > 100


def test_the_check_of_links_can_fail(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html">b</a><a href="#no">no</a><a href="#yes" id="yes">yes</a><img src="c.png" alt="c">')
    assert broken(tmp_path, read(tmp_path)) == ["a.html: b.html", "a.html: #no", "a.html: c.png"]


def test_nothing_comes_from_elsewhere(folder, pages):
    assert [(name, each) for name, page in pages.items() for each in page.loaded if re.match(r"(\w+:)?//", each)] == []
    assert [name for name, page in pages.items() if page.count("script") or page.count("iframe") or page.count("style")] == []
    assert not re.search(r"@import|url\(", (folder / "site.css").read_text())


def test_every_picture_has_words_and_every_page_its_frame(pages):
    assert sum(len(page.pictures) for page in pages.values()) > 20
    for name, page in pages.items():
        assert all(picture.get("alt", "").strip() for picture in page.pictures), name
        assert (page.count("h1"), page.count("title"), page.count("main")) == (1, 1, 1), name
        assert ("html", {"lang": "en"}) in page.tags and any(found.get("name") == "viewport" for _, found in page.tags), name
        assert page.links[0] == "#content" and len(page.ids) == len(set(page.ids)), name


def test_levels_of_headings_are_not_skipped(pages):
    for name, page in pages.items():
        levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
        assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)), name


def test_the_first_page_leads_to_every_study_and_its_page_has_its_counts(folder, pages):
    for study in studies.names():
        assert f"{study}/index.html" in pages["index.html"].links
    judged = [path for path in variants() if (path / "claims.csv").is_file()]
    assert judged
    for path in judged:
        text = (folder / path.parent.name / "index.html").read_text()
        assert count(found_verdicts(path)) in text and f'href="{path.name}/{path.parent.name}.html"' in text


def test_from_every_claim_its_evidence_is_one_click_away(folder):
    text = (folder / "claims.html").read_text()
    sections = dict(re.findall(r'<section class="claim" id="(\w+)">(.*?)</section>', text, re.DOTALL))
    for path in variants():
        if not (path / "claims.csv").is_file():
            continue
        page = f"{path.parent.name}/{path.name}/{path.parent.name}.html"
        known = {entry["name"] for entry in entries(path)}
        for claim, verdict, takes in found_verdicts(path)[["claim", "verdict", "takes"]].itertuples(index=False):
            assert f'href="{page}#claim-{claim}"' in sections[claim] and verdict in sections[claim]
            assert pd.isna(takes) or f"What would decide it: {html.escape(takes)}" in sections[claim]
            name = read_claims()[claim].figure
            assert name in known and f'href="{page}#{name}"' in sections[claim], f"{claim}: {path} has no {name}"


def test_every_study_shows_figures_and_tables_that_it_has():
    for path in variants():
        settings = studies.part(path.parent.name, "settings")
        assert path.name != settings.VARIANTS[0] or {*settings.SHOWN} <= {each["name"] for each in entries(path)}, path
    assert {path.stem for path in (REPOSITORY / "notebooks").glob("*.ipynb")} == {*studies.names()}


def test_notebooks_fold_their_code_and_box_their_tables(folder):
    text = (folder / "backbone_contest" / "quick" / "backbone_contest.html").read_text()
    unfolded = re.sub(r"<details.*?</details>", "", text, flags=re.DOTALL)
    assert "report.figure(" in text and "report.figure(" not in unfolded
    assert text.count("<table") == len(re.findall(r'<div class="scroll[^>]*><table', text)) > 5
    assert 'id="accuracy_by_backbone"' in text and '<a href="../../claims.html#C1">C1</a>' in text


def test_without_results_every_study_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "none"))
    site.build(tmp_path / "site")
    for study in studies.names():
        assert f"make study NAME={study} PRESET=cpu" in (tmp_path / "site" / study / "index.html").read_text()
    assert "No study was executed yet" in (tmp_path / "site" / "claims.html").read_text()
    assert broken(tmp_path / "site", read(tmp_path / "site")) == []


def test_a_site_is_written_anew_and_other_folders_are_left_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "none"))
    (tmp_path / "site").mkdir()
    assert site.main(["--to", str(tmp_path / "site")]) == 0
    (tmp_path / "site" / "old.html").write_text("from before")
    assert site.main(["--to", str(tmp_path / "site")]) == 0
    assert not (tmp_path / "site" / "old.html").exists() and (tmp_path / "site" / "index.html").is_file()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "index.html").write_text("mine")
    with pytest.raises(UserError, match="neither empty nor a site"):
        site.build(tmp_path / "thesis")
    assert site.main(["--to", str(tmp_path / "thesis")]) == 2 and (tmp_path / "thesis" / "index.html").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"site", "thesis"}


def test_markdown_leads_links_or_keeps_their_words():
    text = Text({"a.md": "a.html#b", "#c": "#c"}.get, lambda url: None)
    made = text.html(
        "<!-- begin: x -->\n## What, it *is*?\n\n[one](a.md) [two](helpers/x.py) <b>\n\n## What, it *is*?\n\n| a |\n| --- |\n| 1 |\n"
    )
    assert '<h2 id="what-it-is">' in made and '<h2 id="what-it-is-1">' in made and "begin" not in made
    assert '<a href="a.html#b">one</a> two &lt;b&gt;' in made
    assert re.search(r'<div class="scroll" role="region" tabindex="0" aria-label="Table 1"><table>', made)
    assert slug("The `a_b` race: 90 %") == "the-a_b-race-90-"


def test_long_reasons_show_their_first_part():
    parts = [f"ResNet - ViT under optimizer {number} 1.00 [0.50, 1.50]" for number in range(5)]
    assert folded("; ".join(parts[:2])) == "; ".join(parts[:2])
    made = boxed(f'<table><tr><td style="x">{"; ".join(parts)}</td><td>short</td></tr></table>', "Verdicts")
    assert f'<td style="x">{parts[0]}<details><summary>4 more</summary>' in made and made.count("<li>") == 4 and "<td>short</td>" in made
    assert folded("a < b; " * 3) == "a &lt; b; a &lt; b; a &lt; b; " and folded("a < b; " * 40).startswith("a &lt; b<details>")
    assert 'class="scroll"' in made and 'class="scroll long"' in boxed("<table>" + "<tr></tr>" * 40 + "</table>", "Runs")
