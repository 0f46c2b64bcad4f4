"""Differences and where they lie: in tables by row and column, in figures by what is drawn."""

import base64
import io

import numpy as np
from PIL import Image

from helpers.report.compare import of_blocks, of_csv, of_figure, of_text


def told(found) -> list[str]:
    return [str(difference) for difference in found]


def test_numbers_are_the_same_to_ten_digits_and_words_to_the_letter():
    assert of_csv("a,b\nx,43.700000643730164\n", "a,b\nx,43.70000064\n") == []
    assert told(of_csv("a,b\nx,43.70000065\n", "a,b\nx,43.70000064\n")) == [
        "row 1 (x), column 'b': written 43.70000065, the records give 43.70000064"
    ]
    assert told(of_csv("a,b\nx,\n", "a,b\nx,1\n")) == ["row 1 (x), column 'b': written nothing, the records give 1"]


def test_a_row_that_was_added_does_not_make_the_others_differ():
    assert told(of_csv("a,b\nx,1\nz,3\n", "a,b\nx,1\ny,2\nz,3\n")) == ["row 2: written nothing, the records give y | 2"]
    assert told(of_csv("a,b\n1,2\n", "a,c\n1,2\n")) == ["the heading: written a, b, the records give a, c"]


def test_cells_of_markdown_and_lines_around_them():
    page = "Words.\n\n| net | top \\| 1 |\n| --- | ---: |\n| x | 1.50 |\n"
    assert of_text(page, page) == []
    assert told(of_text(page, page.replace("1.50", "1.60").replace("Words", "Other"))) == [
        "line 1: written Words., the records give Other.",
        "line 5 (x), column 'top \\\\| 1': written 1.50, the records give 1.60",
    ]


def test_of_a_page_only_the_generated_blocks_count():
    page = "By hand.\n<!-- begin: a -->\n1\n<!-- end: a -->\n"
    assert of_blocks(page.replace("hand", "foot"), page) == []
    assert told(of_blocks(page.replace("1", "2"), page)) == ["block 'a', line 1: written 2, the records give 1"]


def drawing(x: float = 1.5, made: str = "p0123456789", shade: int = 100, element: str = "path") -> str:
    picture = io.BytesIO()
    Image.fromarray(np.full((2, 2, 3), shade, np.uint8)).save(picture, "PNG")
    data = base64.b64encode(picture.getvalue()).decode()
    return f'<{element} d="M 1 {x}" clip-path="url(#{made})"/><clipPath id="{made}"/><image xlink:href="data:image/png;base64,\n{data}"/>'


def test_a_figure_is_its_numbers_and_its_pixels_and_not_the_names_that_were_made_of_them():
    assert of_figure(drawing(), drawing(1.6, "pabcdef0123", 101)) == []
    assert told(of_figure(drawing(), drawing(1.7))) == ["number 2 of 2: written 1.5, the records give 1.7"]
    assert "picture 1 of 1" in told(of_figure(drawing(), drawing(shade=110)))[0]
    assert told(of_figure(drawing(), drawing(element="line")))[0].startswith("element 1: written path d=")
