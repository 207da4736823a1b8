"""Documents as CSV."""

import pytest

from zflow.documents import Document, DocumentArray
from zflow.errors import InvalidDocument


@pytest.fixture
def path(tmp_path):
    return tmp_path / "documents.csv"


def test_simple_fields_and_tags_come_back(path):
    documents = DocumentArray(
        [
            Document(id="a", text='with "quotes", commas\nand lines', weight=0.5, tags={"kind": "photo"}),
            Document(id="b", uri="ü", modality="m", mime_type="t"),
        ]
    )
    documents.save_csv(path)
    assert path.read_text("utf-8").splitlines()[0] == "id,text,uri,mime_type,modality,weight,tag__kind"
    assert DocumentArray.from_csv(path) == documents
    assert DocumentArray.from_csv(path, size=1).ids == ["a"]


def test_unknown_columns_become_tags_and_names_can_be_mapped(path):
    path.write_text("title,stars,id\nhello,5,x\n")
    assert DocumentArray.from_csv(path, columns={"title": "text"}).to_list() == [
        {"id": "x", "text": "hello", "tags": {"stars": "5"}}
    ]


def test_nothing_is_left_out_in_silence(path):
    documents = DocumentArray([Document(id="a"), Document(id="b", embedding=[1])])
    with pytest.raises(InvalidDocument, match="exclude") as refused:
        documents.save_csv(path)
    assert refused.value.field == "[1].embedding" and not path.exists()
    documents.save_csv(path, exclude=["embedding"])
    assert DocumentArray.from_csv(path).ids == ["a", "b"]
    with pytest.raises(InvalidDocument, match="did you mean 'embedding'"):
        documents.save_csv(path, exclude=["embeding"])


@pytest.mark.parametrize("value", [{"b": 1}, [1], (1,), b"1"])
def test_tags_with_parts_are_refused_and_named(path, value):
    documents = DocumentArray([Document(tags={"plain": 1.5, "with parts": value})])
    with pytest.raises(InvalidDocument, match="CSV cannot hold what has parts") as refused:
        documents.save_csv(path)
    assert refused.value.field == "[0].tags['with parts']" and not path.exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [("id,weight\nx,heavy\n", ":2: weight holds a number"), ("id,text\nx\n", ":2"), ("id\nx,y\n", ":2")],
)
def test_a_fault_is_named_by_file_and_line(path, text, told):
    path.write_text(text)
    with pytest.raises(InvalidDocument) as refused:
        DocumentArray.from_csv(path)
    assert f"{path}{told}" in str(refused.value)


def test_an_empty_file_has_no_documents(path):
    DocumentArray().save_csv(path)
    assert len(DocumentArray.from_csv(path)) == 0
