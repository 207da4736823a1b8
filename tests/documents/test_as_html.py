"""Documents in a notebook: tables that show what is there and run nothing of it."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from zflow.documents import Document, DocumentArray

EVIL = "<script>alert('x')</script>\" onmouseover=\"alert('y')"


class Page(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def count(self, tag: str) -> int:
        return [name for name, _ in self.tags].count(tag)


def page_of(shown: Any) -> Page:
    page = Page(shown._repr_html_())
    assert not page.open
    return page


def test_a_document_is_a_row_for_each_field() -> None:
    page = page_of(Document(id="x", text="hello", embedding=np.arange(20.0), tags={"kind": "letter"}, weight=0))
    assert page.text == [
        *("id", "x", "text", "hello"),
        *("embedding", "float64[20]: 0, 1, 2, 3, ...", "weight", "0", "tags", "{'kind': 'letter'}"),
    ]


def test_what_is_within_it_is_folded_below() -> None:
    page = page_of(Document(chunks=[Document(text="a piece", matches=[Document(text="alike")])]))
    assert page.count("details") == 2
    assert [text for text in page.text if text.endswith(": 1")] == ["chunks: 1", "matches: 1"]
    assert {"a piece", "alike"} < set(page.text)


def test_an_array_is_a_table_of_the_fields_that_are_set() -> None:
    page = page_of(DocumentArray([Document(id="1", text="a"), Document(id="2", uri="b")]))
    assert page.text == ["DocumentArray of 2", "id", "text", "uri", "1", "a", "2", "b"]
    assert page.count("tr") == 3


def test_only_the_first_ones_are_shown() -> None:
    page = page_of(DocumentArray.empty(1000))
    assert page.count("tr") == 11 and "... 990 more" in page.text
    assert len(page_of(Document(text="x" * 10**6)).text[-1]) < 400


@pytest.mark.parametrize(
    "document",
    [
        Document(id=EVIL),
        Document(text=EVIL),
        Document(uri=EVIL),
        Document(mime_type=EVIL, blob=b"\x89PNG\r\n\x1a\n" + EVIL.encode()),
        Document(tags={EVIL: [EVIL]}),
        Document(chunks=[Document(text=EVIL, tags={EVIL: EVIL})]),
    ],
    ids=lambda document: document.non_empty_fields[-1],
)
def test_nothing_of_what_documents_hold_is_markup(document: Document) -> None:
    for shown in (document, DocumentArray([document])):
        page = page_of(shown)
        assert {tag for tag, _ in page.tags} <= {
            *("table", "thead", "tbody", "tr", "th", "td"),
            *("p", "img", "details", "summary"),
        }
        assert {key for _, attributes in page.tags for key in attributes} <= {"style", "src"}


def test_pictures_are_shown_and_nothing_is_fetched() -> None:
    documents = DocumentArray(
        [
            Document(tensor=np.zeros((4, 4, 3), "u1")),
            Document(blob=b"\xff\xd8\xff..."),
            Document(blob=b"no picture", uri="https://example.com/picture.png"),
        ]
    )
    sources = [attributes["src"] or "" for tag, attributes in page_of(documents).tags if tag == "img"]
    assert [source.partition(";")[0] for source in sources] == ["data:image/png", "data:image/jpeg"]


def test_a_document_within_itself_ends() -> None:
    document = Document()
    document.chunks.append(document)
    assert page_of(document).count("table") == 3
    assert page_of(DocumentArray([document])).count("table") == 1


def test_empty_ones_are_tables_too() -> None:
    assert page_of(DocumentArray()).text == ["DocumentArray of 0"]


def test_arrays_of_all_kinds_are_told() -> None:
    arrays = (
        np.zeros(0),
        np.zeros((2, 3), "f2"),
        np.array([True, False]),
        np.array([1 + 2j]),
        np.array([1.0] * 9, "f2"),
    )
    told = [page_of(Document(tensor=array)).text[-1] for array in arrays]
    assert told[0] == "float64[0]" and told[1] == "float16[2, 3]" and told[3] == "complex128[1]: 1+2j"


def test_it_costs_who_shows_nothing_nothing() -> None:
    code = "import sys, zflow; zflow.DocumentArray.empty(2); sys.exit('zflow.documents.as_html' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0
