"""The site in a browser: nothing goes wrong, nothing is wider than the screen, everything can be read and reached by keyboard."""

import pytest

from helpers.commands import site

KINDS = ("index.html", "claims.html", "backbone_contest/quick/backbone_contest.html")
WIDER = """[...document.querySelectorAll("body *")].filter(each =>
    each.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !each.closest(".scroll, pre"))
    .slice(0, 3).map(each => each.outerHTML.slice(0, 100))"""
TINY = """[...document.querySelectorAll("main *")].filter(each => each.innerText &&
    parseFloat(getComputedStyle(each).fontSize) < 13).map(each => each.outerHTML.slice(0, 100)).slice(0, 3)"""
FAINT = """(() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => numbers(colour).slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const bed = each => { const own = getComputedStyle(each).backgroundColor;
    return !each.parentElement || (numbers(own)[3] ?? 1) > 0 ? own : bed(each.parentElement); };
  const contrast = each => { const [a, b] = [light(getComputedStyle(each).color), light(bed(each))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); };
  return [...document.querySelectorAll("body *")].filter(each => [...each.childNodes].some(node => node.nodeType == 3 && node.data.trim()))
    .filter(each => contrast(each) < 4.5).map(each => contrast(each).toFixed(1) + " " + each.outerHTML.slice(0, 100)).slice(0, 3);
})()"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "site"
    site.build(folder)
    return folder


@pytest.mark.parametrize("width", [400, 1400])
def test_pages_load_alone_and_fit_the_screen(chromium, folder, width):
    for path in sorted(folder.rglob("*.html")):
        if width > 400 and str(path.relative_to(folder)) not in KINDS:
            continue  # what fits a phone fits a desk; some are looked at there too
        chromium.open(path.as_uri(), width)
        name = str(path.relative_to(folder))
        assert chromium.problems == [], name
        assert [url for url in chromium.requests if not url.startswith(("file:", "data:"))] == [], name
        size = chromium.value("[innerWidth, document.documentElement.scrollWidth - document.documentElement.clientWidth]")
        assert size == [width, 0], (name, chromium.value(WIDER))
        assert chromium.value(TINY) == [], name


def test_the_browser_would_tell(chromium, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        '<main style="font-size: 9px; color: #999; background: #fff"><p style="width: 900px">wide</p></main><img src="no.png" alt="">'
        "<script>console.error('a complaint')</script>"
    )
    chromium.open(page.as_uri(), 400)
    assert any("a complaint" in each for each in chromium.problems) and any("ERR_FILE_NOT_FOUND" in each for each in chromium.problems)
    assert chromium.value("document.documentElement.scrollWidth") > 900 and chromium.value(WIDER)
    assert chromium.value(TINY) and chromium.value(FAINT)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(chromium, folder, scheme):
    chromium.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    grounds = set()
    for name in KINDS:
        chromium.open((folder / name).as_uri(), 400)
        assert chromium.value(FAINT) == [], name
        grounds.add(chromium.value("getComputedStyle(document.body).backgroundColor"))
    assert grounds == {"rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 28)"}
    chromium.call("Emulation.setEmulatedMedia", features=[])


def test_keyboard_alone_reaches_the_content_and_what_is_folded(chromium, folder):
    chromium.open((folder / KINDS[2]).as_uri(), 400)
    chromium.press("Tab", 9)
    focused = "document.activeElement"
    assert chromium.value(f"{focused}.className") == "skip" and chromium.value(f"{focused}.getBoundingClientRect().left") >= 0
    chromium.press("Enter", 13)
    assert chromium.value("location.hash") == "#content"
    chromium.press("Tab", 9)
    assert chromium.value(f"{focused}.closest('main') !== null")
    assert chromium.value(f"getComputedStyle({focused}).outlineStyle") == "solid"
    for _ in range(60):
        chromium.press("Tab", 9)
        if chromium.value(f"{focused}.tagName") == "SUMMARY":
            break
    chromium.press("Enter", 13)
    assert chromium.value(f"{focused}.parentElement.open") is True
