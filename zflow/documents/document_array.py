"""DocumentArray: Documents in order, found by place or by id.

It is *packed* while nobody has asked for a single Document: then it holds `Columns`, as they came off the wire, and
whole fields are read, set, searched and sent on from there. The first single Document unpacks it, once and for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, overload

from zflow.documents import byte_string, csv_file, nearest, plain_form, reduce, selection, summary, traverse
from zflow.documents.bulk import BulkArrays, BulkBlobs, BulkContents, BulkTags, BulkTexts
from zflow.documents.columns import Columns, Stacked, columns_of, rows_of
from zflow.documents.document import Document, new_id
from zflow.documents.fields import NestedField, within
from zflow.documents.packing import pack
from zflow.documents.query import compile_query
from zflow.documents.selection import as_document
from zflow.documents.unpacking import unpack
from zflow.errors import ConfigError, InvalidDocument

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self


class DocumentArray:
    """Documents in order: ``DocumentArray([Document(text="a"), "b", {"text": "c"}])``.

    `documents` may be None, one Document, or an iterable of Documents or of what becomes one: a str (its text), bytes
    (its blob), an array (its tensor), a dict (its fields). With `copy` the Documents are deep copies.

    It behaves as a list. Slices, masks and lists of places or ids give DocumentArrays of the *same* Documents, so what
    is done to those is done to these. Raises InvalidDocument for what becomes no Document.
    """

    # Exactly one of `_rows` and `_columns` is set. `_stacked` knows arrays that are rows of one matrix. `_places`, made
    # when an id is first looked up, is how many Documents had been renamed by then, and where each id is.
    __slots__ = ("_columns", "_places", "_rows", "_stacked")

    _rows: list[Document] | None
    _columns: Columns | None
    _stacked: dict[str, Stacked]
    _places: tuple[int, dict[str, int]] | None

    def __init__(self, documents: Any = None, *, copy: bool = False) -> None:
        self._columns = self._places = None
        self._stacked = {}
        self._rows = rows = _documents_of(documents)
        if copy:
            rows[:] = [row.copy(deep=True) for row in rows]

    @classmethod
    def empty(cls, count: int = 0) -> Self:
        """`count` Documents with nothing but an id."""
        return cls._of_columns(Columns([new_id() for _ in range(count)]))

    @classmethod
    def _of_rows(cls, rows: list[Document]) -> Self:
        """The array of `rows`, which become its own list."""
        made = object.__new__(cls)
        made._rows, made._columns, made._places = rows, None, None
        made._stacked = {}
        return made

    @classmethod
    def _of_columns(cls, columns: Columns) -> Self:
        """The packed array of `columns`, which become its own."""
        made = object.__new__(cls)
        made._rows, made._columns, made._places = None, columns, None
        made._stacked = {}
        return made

    def __class_getitem__(cls, item: Any) -> type[Self]:
        """``DocumentArray[Document]`` in annotations is DocumentArray."""
        return cls

    @property
    def is_packed(self) -> bool:
        """Whether no single Document has been asked for yet."""
        return self._rows is None

    def _list(self) -> list[Document]:
        """The Documents; unpacks."""
        rows = self._rows
        if rows is None:
            assert self._columns is not None
            rows, self._stacked = rows_of(self._columns)
            self._rows, self._columns = rows, None
        return rows

    def _changing(self) -> list[Document]:
        """The Documents, to be added to, taken from or moved."""
        self._places = None
        return self._list()

    def _table(self) -> Columns:
        """Its columns, for the encoder; made from the rows where it is unpacked."""
        return columns_of(self._list(), self._stacked) if self._columns is None else self._columns

    # -- whole fields --------------------------------------------------------------------------------------------------

    texts = BulkTexts("text", "The texts of all documents, '' where missing.")
    uris = BulkTexts("uri", "The uris of all documents, '' where missing.")
    blobs = BulkBlobs()
    tags = BulkTags()
    tensors = BulkArrays("tensor", "The tensors of all documents: a matrix, a list, or None.")
    embeddings = BulkArrays("embedding", "The embeddings of all documents: a matrix, a list, or None.")
    contents = BulkContents()

    @property
    def ids(self) -> list[str]:
        """The ids of all documents."""
        return [row._id for row in self._list()] if self._columns is None else list(self._columns.ids)

    # -- as a list -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._rows) if self._columns is None else self._columns.count  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Document]:
        return iter(self._list())

    def __reversed__(self) -> Iterator[Document]:
        return reversed(self._list())

    def __contains__(self, item: object) -> bool:
        """Whether a Document with this id, or with this Document's id, is in it."""
        id = item._id if isinstance(item, Document) else item
        return isinstance(id, str) and self._find_place(id) is not None

    @overload
    def __getitem__(self, key: int) -> Document: ...
    @overload
    def __getitem__(self, key: slice) -> Self: ...
    @overload
    def __getitem__(self, key: Any) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        """By place, id, slice, mask, list of places or ids, path ('@c'), `...`, or one of them and a field's name."""
        if key.__class__ is int:
            return self._list()[key]
        return selection.select(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Puts a Document, or what becomes one (``docs[0] = "text"``) in a place; sets fields (``docs[:, "uri"]``)."""
        selection.assign(self, key, value)

    def __delitem__(self, key: Any) -> None:
        selection.delete(self, key)

    def append(self, document: Any) -> None:
        """Adds a Document, or what becomes one, at the end."""
        made = as_document(document)
        rows = self._list()
        if self._places is not None:
            self._places[1].setdefault(made._id, len(rows))
        rows.append(made)

    def extend(self, documents: Iterable[Any]) -> None:
        """Adds the Documents of an iterable at the end."""
        self._changing().extend(_documents_of(documents))

    def insert(self, place: int, document: Any) -> None:
        """Puts a Document before the one at `place`."""
        self._changing().insert(place, as_document(document))

    def pop(self, place: int = -1) -> Document:
        """Takes the Document at `place` out, and gives it."""
        return self._changing().pop(place)

    def remove(self, document: Document | str) -> None:
        """Takes out the first Document with this id, or with this Document's id. Raises ValueError where none has."""
        id = document._id if isinstance(document, Document) else document
        place = self._find_place(id)
        if place is None:
            raise ValueError(f"no document with the id {id!r} is in it")
        del self._changing()[place]

    def index(self, document: Document | str) -> int:
        """The place of the first Document with this id, or with this Document's id. Raises ValueError."""
        id = document._id if isinstance(document, Document) else document
        place = self._find_place(id)
        if place is None:
            raise ValueError(f"no document with the id {id!r} is in it")
        return place

    def clear(self) -> None:
        """Takes all Documents out."""
        self._changing().clear()

    def reverse(self) -> None:
        """Turns their order round."""
        self._changing().reverse()

    def sort(self, *, key: Callable[[Document], Any], reverse: bool = False) -> None:
        """Sorts them by what `key` gives for each."""
        self._changing().sort(key=key, reverse=reverse)

    def __add__(self, other: Iterable[Any]) -> Self:
        return self._of_rows([*self._list(), *_documents_of(other)])

    def __iadd__(self, other: Iterable[Any]) -> Self:
        self.extend(other)
        return self

    def __eq__(self, other: object) -> bool:
        return self._list() == other._list() if isinstance(other, DocumentArray) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __copy__(self) -> Self:
        return self._of_rows(list(self._list()))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._list(),)  # columns may hold views of frames, which cannot be pickled

    def __repr__(self) -> str:
        return f"<{type(self).__name__} (length={len(self)})>"

    def _position(self, id: str) -> int:
        place = self._find_place(id)
        if place is None:
            raise KeyError(f"no document with the id {id!r} among {len(self)}")
        return place

    def _find_place(self, id: str) -> int | None:
        """The place of the first document with `id`; the places are noted anew after any id has changed."""
        if self._places is None or self._places[0] != Document._renames:
            ids = self.ids
            self._places = Document._renames, dict(zip(reversed(ids), range(len(ids) - 1, -1, -1)))
        return self._places[1].get(id)

    # -- in parts ------------------------------------------------------------------------------------------------------

    def batch(self, batch_size: int, shuffle: bool = False) -> Iterator[Self]:
        """Its Documents, `batch_size` at a time (the last may be fewer); what is done to those is done to these."""
        documents = self.shuffle() if shuffle else self
        for start in _starts(len(self), batch_size):
            yield documents[start : start + batch_size]

    def batch_ids(self, batch_size: int, shuffle: bool = False) -> Iterator[list[str]]:
        """The ids, `batch_size` at a time."""
        ids = self.shuffle().ids if shuffle else self.ids
        for start in _starts(len(ids), batch_size):
            yield ids[start : start + batch_size]

    def shuffle(self, seed: int | None = None) -> Self:
        """An array of the same Documents in random order, always the same for one `seed`."""
        return self.sample(len(self), seed)

    def sample(self, count: int, seed: int | None = None) -> Self:
        """An array of `count` of its Documents, chosen at random, always the same for one `seed`."""
        import random  # with all it imports it takes longer than this package

        if not 0 <= count <= len(self):
            raise ConfigError(f"{count} of {len(self)} documents cannot be chosen")
        return self._of_rows(random.Random(seed).sample(self._list(), count))

    def traverse(self, path: str, filter_fn: Callable[[Document], bool] | None = None) -> Iterator[Self]:
        """The arrays that paths such as 'c' or 'r,cm' lead to: for 'c' one per Document that has chunks."""
        for steps in traverse.parse(path):
            yield from map(self._of_rows, traverse.along(self._list(), steps, filter_fn))

    def traverse_flat(self, path: str, filter_fn: Callable[[Document], bool] | None = None) -> Self:
        """All Documents that the paths lead to, in one array; ``docs["@c"]`` is traverse_flat("c")."""
        return self._of_rows(traverse.flat(self._list(), path, filter_fn))

    def flatten(self) -> Self:
        """All Documents however nested, each once."""
        return self._of_rows(list(traverse.everything(self._list())))

    # -- searches and joins --------------------------------------------------------------------------------------------

    def find(
        self,
        query: Any,
        metric: str = "cosine",
        limit: int | None = 20,
        *,
        exclude_self: bool = False,
        only_id: bool = False,
    ) -> Any:
        """What meets a condition, or lies nearest to a query.

        - a dict is a condition (see zflow.documents.query): gives a DocumentArray of these Documents; `limit` and
          what follows it do not count;
        - a Document or a vector: gives a DocumentArray of the at most `limit` nearest, as copies with
          ``scores[metric].value`` and without matches; the search is exact;
        - a DocumentArray or a matrix: gives a list of those, one for each row.

        `metric` is 'cosine', 'euclidean' or 'sqeuclidean'. `only_id` leaves everything but id and score out,
        `exclude_self` those with the query's own id. Raises ConfigError and InvalidDocument.
        """
        if isinstance(query, Mapping):
            return self._of_rows(list(filter(compile_query(query), self._list())))
        if isinstance(query, Document):
            return nearest.neighbours(self, self._of_rows([query]), metric, limit, exclude_self, only_id)[0]
        if isinstance(query, DocumentArray) or nearest.is_matrix(query):
            return nearest.neighbours(self, query, metric, limit, exclude_self, only_id)
        return nearest.neighbours(self, [query], metric, limit, exclude_self, only_id)[0]

    def match(
        self,
        index: DocumentArray,
        metric: str = "cosine",
        limit: int | None = 20,
        normalization: Sequence[float] | None = None,
        *,
        exclude_self: bool = False,
        only_id: bool = False,
    ) -> None:
        """Sets the matches of each Document to the nearest in `index`, as `find` gives them.

        `normalization` (a, b) maps the distances in each Document's matches so that the nearest has a, the last b.
        """
        nearest.match(self, index, metric, limit, normalization, exclude_self, only_id)

    def reduce(self, other: Iterable[Document]) -> Self:
        """Fills the empty fields of its Documents from those of one id in `other`, and appends copies of the rest."""
        reduce.merge_into(self._changing(), other)
        return self

    def reduce_all(self, others: Iterable[Iterable[Document]]) -> Self:
        """Reduces each of `others` into this array, the first one first."""
        for other in others:
            self.reduce(other)
        return self

    # -- as lists, JSON, bytes, CSV ------------------------------------------------------------------------------------

    def to_list(self) -> list[dict[str, Any]]:
        """A dict per Document, as Document.to_dict gives it."""
        return [document.to_dict() for document in self]

    to_dict = to_dicts = to_list

    @classmethod
    def from_list(cls, items: Iterable[Mapping[str, Any]]) -> Self:
        """The array that `to_list` told of. Raises InvalidDocument, naming place and field."""
        return cls._of_rows(_each(items, Document.from_dict))

    from_dict = from_dicts = from_list

    def to_json(self) -> str:
        """`to_list` as JSON text."""
        return plain_form.to_json(self.to_list())

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The array that `to_json` wrote."""
        return cls.from_list(plain_form.from_json(text, list))

    def to_bytes(self) -> bytes:
        """All of it as one byte string, arrays with their dtypes."""
        return byte_string.join(pack(self._table()))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Self:
        """The array that `to_bytes` wrote, packed. Raises ProtocolError for anything else."""
        return cls._of_columns(unpack(byte_string.split(data)))

    def save_csv(self, path: str | Path, exclude: Iterable[str] = ()) -> None:
        """Writes simple fields and tags to a CSV file; raises InvalidDocument for other fields not in `exclude`."""
        csv_file.save(self, path, exclude)

    @classmethod
    def from_csv(cls, path: str | Path, columns: Mapping[str, str] | None = None, size: int | None = None) -> Self:
        """The Documents of a CSV file, at most `size` of them. `columns` maps its columns to fields; those that are no
        field become tags."""
        return cls._of_rows(list(islice(csv_file.read(path, columns), size)))

    def summary(self) -> None:
        """Prints how many Documents there are, and what fields they have."""
        print(summary.table(self))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from zflow.documents import as_html  # what a notebook needs is nothing for every worker

        return as_html.of_array(self)


def _documents_of(documents: Any) -> list[Document]:
    """A list of its own of the Documents in `documents`."""
    if documents is None:
        return []
    if isinstance(documents, DocumentArray):
        return list(documents._list())
    if isinstance(documents, (Document, str, bytes, Mapping)):
        return [as_document(documents)]
    if not isinstance(documents, Iterable):
        raise InvalidDocument(f"documents come from an iterable, not {type(documents).__name__}")
    listed = list(documents)
    return listed if set(map(type, listed)) <= {Document} else _each(listed, as_document)


def _each(items: Iterable[Any], make: Callable[[Any], Document]) -> list[Document]:
    made = []
    for at, item in enumerate(items):
        try:
            made.append(make(item))
        except InvalidDocument as error:
            raise within(f"[{at}]", error) from error
    return made


def _starts(count: int, size: int) -> range:
    if type(size) is not int or size < 1:
        raise ConfigError(f"batch_size is a whole number above 0, not {size!r}")
    return range(0, count, size)


NestedField.array_type = DocumentArray
MutableSequence.register(DocumentArray)
