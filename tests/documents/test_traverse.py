"""Paths into nested documents."""

import pytest

from zflow.documents import Document
from zflow.documents.traverse import everything, flat, parse
from zflow.errors import ConfigError


def family():
    return [
        Document(
            id="r0",
            chunks=[Document(id="c0", chunks=[Document(id="cc0")], matches=[Document(id="cm0")]), Document(id="c1")],
            matches=[Document(id="m0")],
        ),
        Document(id="r1", chunks=[Document(id="c2")]),
    ]


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("r", "r0 r1"),
        ("@c", "c0 c1 c2"),
        ("m", "m0"),
        ("cc", "cc0"),
        ("cm", "cm0"),
        ("rc", "c0 c1 c2"),
        ("r,m", "r0 r1 m0"),
        ("c, m", "c0 c1 c2 m0"),
        ("c[0]", "c0 c2"),
        ("c[1:]", "c1"),
        ("c[-1]", "c1 c2"),
        ("c[::-1]", "c1 c0 c2"),
        ("r[1]c", "c2"),
        ("r[:1]c[:1]m", "cm0"),
        ("ccc", ""),
    ],
)
def test_lead_to(path, ids):
    assert [document.id for document in flat(family(), path)] == ids.split()


@pytest.mark.parametrize("path", ["", "@", "x", "c,", "c1", "c[", "c[a]", "c[]", "c[1:2:3:4]", "c[::0]", "rr x", "@@c"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ConfigError):
        parse(path)


def test_looking_makes_no_chunks():
    document = Document()
    assert flat([document], "c,m,cc") == [] and document._rest is None


def test_everything_comes_once_and_from_within():
    ids = [document.id for document in everything(family())]
    assert ids == ["cc0", "cm0", "c0", "c1", "m0", "r0", "c2", "r1"]


def test_a_document_within_itself_is_met_once():
    document = Document(id="x")
    document.matches.append(document)
    assert [found.id for found in everything([document, document])] == ["x"]
