"""What documents look like to people."""

import numpy as np

from zflow.documents import Document, DocumentArray


def test_a_document_in_one_line():
    document = Document(
        id="x", text="a" * 100, blob=b"abc", tensor=np.zeros((2, 3), "f4"), chunks=[Document()], weight=1
    )
    told = repr(document)
    assert told == f"Document(id='x', text='{'a' * 37}...', blob=<3 bytes>, tensor=float32[2, 3], weight=1, chunks=1)"


def test_long_tags_are_cut():
    assert len(repr(Document(id="x", tags={"key": "v" * 1000}))) < 120


def test_a_tree_of_chunks_and_matches(capsys):
    Document(id="x", chunks=[Document(id=f"c{at}") for at in range(12)], matches=[Document(id="m")]).summary()
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("Document(id='x'") and told[1] == "  chunks: 12" and told[2] == "    Document(id='c0')"
    assert "    ... 2 more" in told and told[-2:] == ["  matches: 1", "    Document(id='m')"]


def test_a_document_within_itself_can_be_shown(capsys):
    document = Document(id="x")
    document.chunks.append(document)
    document.summary()
    assert 3 < len(capsys.readouterr().out.splitlines()) < 40


def test_a_table_of_what_an_array_holds(capsys):
    documents = DocumentArray([Document(text="a"), Document(tensor=[1, 2])])
    documents.summary()
    told = capsys.readouterr().out
    assert told.startswith("DocumentArray of 2\n")
    assert [line.split() for line in told.splitlines()[2:]] == [
        ["id", "2", "str", repr(documents[0].id)],
        ["text", "1", "str", "'a'"],
        ["tensor", "1", "int64[2]"],
    ]


def test_a_table_of_many_shapes_names_some(capsys):
    DocumentArray([Document(tensor=np.zeros(at)) for at in range(1, 6)]).summary()
    assert capsys.readouterr().out.rstrip().endswith("...")


def test_an_empty_array_has_a_summary(capsys):
    DocumentArray().summary()
    assert capsys.readouterr().out.startswith("DocumentArray of 0")
