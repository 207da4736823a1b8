"""Document: one piece of data on its way through a Flow.

A Document has an id and holds text, bytes or an array, what is known about it (tags, uri, scores ...), an embedding,
and other Documents: its parts (`chunks`) and what was found for it (`matches`).
"""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from zflow.documents import plain_form, summary
from zflow.documents.arrays import accept_array, same_array
from zflow.documents.fields import (
    ARRAYS,
    FIELDS,
    NESTED,
    BlobField,
    ContainerField,
    Field,
    NestedField,
    check_blob,
    check_id,
    check_scores,
    check_string,
    check_tags,
    check_weight,
    refusal,
    unknown_field,
)
from zflow.documents.scores import Scores

if TYPE_CHECKING:
    from typing_extensions import Self

_SETTABLE = frozenset((*FIELDS, "content"))

_prefix = os.urandom(10).hex()
_count: Callable[[], int] = itertools.count().__next__


def new_id() -> str:
    """32 hex digits that no other Document has: 20 of this process, then a running number. uuid4 takes ten times as
    long."""
    return "%s%012x" % (_prefix, _count())  # noqa: UP031 - faster than an f-string


def _renew_prefix() -> None:
    global _prefix
    _prefix = os.urandom(10).hex()


if hasattr(os, "register_at_fork"):  # a forked child would count on where its parent was
    os.register_at_fork(after_in_child=_renew_prefix)


class Document:
    """One piece of data: ``Document(text="hello")``, ``Document(tensor=pixels, tags={"kind": "photo"})``.

    `source` may be another Document (a shallow copy follows, same id) or a dict as `to_dict` gives it; the keywords are
    the fields. A value that its field cannot hold, or a field that does not exist, raises InvalidDocument.
    """

    # Fields that are missing have no slot to themselves: `_rest` is None until one beside id and text is set.
    __slots__ = ("_id", "_rest", "_text")

    _id: str
    _text: str
    _rest: dict[str, Any] | None
    _renames: ClassVar[int] = 0  # of all Documents: DocumentArrays that noted where ids are look again after one

    def __init__(
        self,
        source: Document | Mapping[str, Any] | None = None,
        /,
        *,
        id: str | None = None,
        text: str | None = None,
        **fields: Any,
    ) -> None:
        self._text = ""
        self._rest = None
        if source is not None:
            self._take(source)
        elif id is None:
            self._id = new_id()
        if id is not None:
            self._id = check_id(id)
        if text is not None:
            self._text = check_string("text", text)
        for name, value in fields.items():
            if name not in _SETTABLE:
                raise unknown_field(name)
            setattr(self, name, value)

    def _take(self, source: Document | Mapping[str, Any]) -> None:
        if isinstance(source, Document):
            taken = source.copy()
        elif isinstance(source, Mapping):
            taken = type(self).from_dict(source)
        else:
            raise refusal("Document(...)", source, "a Document or a dict (as in text=..., blob=..., tensor=...)")
        self._id, self._text, self._rest = taken._id, taken._text, taken._rest

    # -- the fields ----------------------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Tells this Document from all others; made at random unless given. 1 to 256 bytes of text."""
        return self._id

    @id.setter
    def id(self, value: str | None) -> None:
        self._id = new_id() if value is None else check_id(value)
        Document._renames += 1

    @property
    def text(self) -> str:
        """Its text, '' when missing."""
        return self._text

    @text.setter
    def text(self, value: str | None) -> None:
        if value.__class__ is str:  # the hot path of most Executors
            self._text = value
        else:
            self._text = "" if value is None else check_string("text", value)

    blob = BlobField("blob", check_blob, b"", "Its bytes, b'' when missing.")
    tensor: Field[Any] = Field("tensor", accept_array, None, "Its array (an ndarray or what becomes one), or None.")
    embedding: Field[Any] = Field("embedding", accept_array, None, "The vector it is found by, or None.")
    uri = Field("uri", check_string, "", "Where it came from; zflow never fetches it. '' when missing.")
    mime_type = Field("mime_type", check_string, "", "The MIME type of its content, '' when missing.")
    modality = Field("modality", check_string, "", "Its kind, such as 'image', '' when missing.")
    weight: Field[float | None] = Field("weight", check_weight, None, "How much it counts, or None.")
    tags: Field[dict[str, Any]] = ContainerField("tags", check_tags, dict, "What is known about it, under str keys.")
    scores: Field[Scores] = ContainerField("scores", check_scores, Scores, "Its scores by name, each a NamedScore.")
    chunks = NestedField("chunks", "Its parts: a DocumentArray.")
    matches = NestedField("matches", "What was found for it: a DocumentArray.")

    @property
    def content_type(self) -> str | None:
        """Which of 'text', 'blob' and 'tensor' holds the content: the first that is set, None when none is."""
        if self._text:
            return "text"
        if self.blob:
            return "blob"
        return "tensor" if self.tensor is not None else None

    @property
    def content(self) -> Any:
        """The text, blob or tensor, whichever is set. Setting it puts str into text, bytes into blob, anything else
        into tensor, and clears the other two."""
        kind = self.content_type
        return None if kind is None else getattr(self, kind)

    @content.setter
    def content(self, value: Any) -> None:
        bytes_like = isinstance(value, (bytes, bytearray, memoryview))
        kind = "text" if isinstance(value, str) else "blob" if bytes_like else "tensor"
        setattr(self, kind, value)
        for other in {"text", "blob", "tensor"} - {kind}:
            setattr(self, other, None)

    @property
    def non_empty_fields(self) -> tuple[str, ...]:
        """The names of the fields that are set, `id` among them."""
        rest = self._rest or {}
        return ("id", *(["text"] if self._text else ()), *(name for name in FIELDS if is_given(rest.get(name))))

    # -- as a whole ----------------------------------------------------------------------------------------------------

    def update(self, other: Document) -> None:
        """Takes over every field that is set in `other`, but not its id."""
        for name in other.non_empty_fields:
            if name != "id":
                setattr(self, name, getattr(other, name))

    def pop(self, *names: str) -> None:
        """Makes the fields `names` missing."""
        for name in names:
            if name not in _SETTABLE:
                raise unknown_field(name)
            setattr(self, name, None)

    def clear(self) -> None:
        """Makes every field but the id missing."""
        self._text = ""
        self._rest = None

    def match(self, index: Any, **how: Any) -> None:
        """Puts into `matches` what of `index` lies nearest to its embedding: see DocumentArray.match."""
        NestedField.array_type([self]).match(index, **how)

    def copy(self, deep: bool = False) -> Self:
        """A Document with the same id and fields. Its tags, scores, chunks and matches are containers of its own with
        the same things in them; `deep` copies those and the arrays as well."""
        return copy.deepcopy(self) if deep else copy.copy(self)

    def __copy__(self) -> Self:
        made = object.__new__(type(self))
        made._id, made._text, made._rest = self._id, self._text, None
        if self._rest:
            made._rest = rest = dict(self._rest)
            for name in NESTED:
                if name in rest:
                    rest[name] = NestedField.array_type(rest[name])
            for name in ("tags", "scores"):
                if name in rest:
                    rest[name] = rest[name].copy()
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        made = object.__new__(type(self))
        memo[id(self)] = made
        made._id, made._text, made._rest = self._id, self._text, None
        if self._rest:
            made._rest = copy.deepcopy(self._owned_rest(), memo)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self._id, self._text, self._owned_rest())

    def _owned_rest(self) -> dict[str, Any] | None:
        """The other fields without views of frames, which can be neither copied nor pickled."""
        if self._rest and "blob" in self._rest:
            self._rest["blob"] = self.blob
        return self._rest

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Document):
            return NotImplemented
        if self is other:
            return True
        if self._id != other._id or self._text != other._text:
            return False
        mine = self.non_empty_fields
        return mine == other.non_empty_fields and all(_same(name, self, other) for name in mine)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return summary.one_line(self)

    def summary(self) -> None:
        """Prints its fields, and the Documents within it as a tree."""
        print(summary.tree(self))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from zflow.documents import as_html  # what a notebook needs is nothing for every worker

        return as_html.of_document(self)

    # -- as dict, JSON, bytes ------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Its set fields as values that JSON knows: arrays as nested lists, the blob as base64 text."""
        return plain_form.dict_of(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The Document that `to_dict` told of. Raises InvalidDocument, naming the field."""
        return plain_form.read_dict(cls, fields)

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return plain_form.to_json(self.to_dict())

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The Document that `to_json` wrote."""
        return cls.from_dict(plain_form.from_json(text, dict))

    def to_bytes(self) -> bytes:
        """All of it, arrays with their dtypes, as one byte string: that of a DocumentArray of one."""
        return NestedField.array_type([self]).to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Document:
        """The Document that `to_bytes` wrote. Raises ProtocolError for anything else."""
        return NestedField.array_type.from_bytes(data)[0]


def is_given(value: Any) -> bool:
    """Whether a field's value is one that was set: not None, and not empty where it can be."""
    if value is None:
        return False
    return len(value) > 0 if isinstance(value, (str, bytes, memoryview, dict, NestedField.array_type)) else True


def _same(name: str, one: Document, other: Document) -> bool:
    mine, theirs = getattr(one, name), getattr(other, name)
    if name in ARRAYS:
        return mine is theirs or same_array(mine, theirs)
    return bool(mine == theirs)


def _restored(kind: type[Document], id: str, text: str, rest: dict[str, Any] | None) -> Document:
    made = object.__new__(kind)
    made._id, made._text, made._rest = id, text, rest
    return made
