"""The payload of a part: golden bytes made by hand, round trips of anything, and mutated messages.

Foreign bytes are accepted or end in a ProtocolError. The mutation test tries that on 5,000 messages, and on 100,000
under the marker `full`.
"""

import random
import struct

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from zflow.documents import Document, DocumentArray
from zflow.documents.arrays import ITEM_SIZES
from zflow.documents.limits import INLINE
from zflow.errors import InvalidDocument, InvalidRequest, ProtocolError
from zflow.wire.payload import (
    decode_documents,
    decode_map,
    encode_documents,
    encode_map,
    encoder_of_rows,
)

# -- golden bytes: body and outside buffers as another implementation would write them, and what they mean -------------

NO_DOCUMENTS = (
    [b"\x82\xa1n\x00\xa2id\x90"],
    [],
)
TWO_TEXTS = (
    [b"\x83\xa1n\x02\xa2id\x92\xa1a\xa1b\xa4text\x92\xa5hello\xc0"],
    [{"id": "a", "text": "hello"}, {"id": "b"}],
)
ONE_OF_ALL = (
    [
        b"\x8b"
        b"\xa1n\x01"
        b"\xa2id\x91\xa1a"
        b"\xa3uri\x91\xa1u"
        b"\xa9mime_type\x91\xa1m"
        b"\xa8modality\x91\xa1o"
        b"\xa6weight\x91\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00"
        b"\xa4tags\x91\x82\xa1x\x92\x01\xc3\xa1y\x80"
        b"\xa6scores\x91\x82\xa1s\x01\xa1t\x94\x02\xa2op\xa1d\xa1r"
        b"\xa4blob\x91\xc4\x02\x00\xff"
        b"\xa6tensor\x91\x94\xc0\xa2i2\x91\x02\xc4\x04\x01\x00\xff\xff"
        b"\xa6future\xc3"
    ],
    [
        {
            "id": "a",
            "blob": "AP8=",
            "tensor": [1, -1],
            "uri": "u",
            "mime_type": "m",
            "modality": "o",
            "weight": 0.5,
            "tags": {"x": [1, True], "y": {}},
            "scores": {"s": 1, "t": [2, "op", "d", "r"]},
        }
    ],
)
OUTSIDE = (
    [
        b"\x84"
        b"\xa1n\x03"
        b"\xa2id\x93\xa1a\xa1b\xa1c"
        b"\xa4blob\x93\xc0\x00\xc0"
        b"\xa9embedding\x92\x94\x92\x00\x02\xa2f4\x91\x01\x01\x94\x91\x01\xa2u1\x90\x02",
        b"bytes",
        struct.pack("<2f", 0.5, 1.5),
        b"\x07",
    ],
    [{"id": "a", "embedding": [0.5]}, {"id": "b", "blob": "Ynl0ZXM=", "embedding": 7}, {"id": "c", "embedding": [1.5]}],
)
FAMILY = (
    [
        b"\x84"
        b"\xa1n\x02"
        b"\xa2id\x92\xa1a\xa1b"
        b"\xa6chunks\x92\x92\x00\x02\x83\xa1n\x02\xa2id\x92\xa1c\xa1d\xa6tensor\x91\x94\xc0\xa4bool\x90\x00"
        b"\xa7matches\x92\x92\x01\x00\x84\xa1n\x01\xa2id\x91\xa1m\xa4text\x91\xa1t\xa4blob\x91\x01",
        b"\x00\x01",
        b"m",
    ],
    [
        {"id": "a", "matches": [{"id": "m", "text": "t", "blob": "bQ=="}]},
        {"id": "b", "chunks": [{"id": "c", "tensor": False}, {"id": "d", "tensor": True}]},
    ],
)
GOLDEN = [NO_DOCUMENTS, TWO_TEXTS, ONE_OF_ALL, OUTSIDE, FAMILY]


@pytest.mark.parametrize(("buffers", "meaning"), GOLDEN, ids=["none", "texts", "all", "outside", "family"])
@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_golden_bytes_mean_what_they_say(buffers, meaning, kind):
    documents = decode_documents([kind(buffer) for buffer in buffers])
    assert documents.is_packed and len(documents) == len(meaning)
    again = decode_documents(encode_documents(documents))
    assert documents.to_list() == meaning
    assert again.to_list() == meaning
    assert decode_documents(encode_documents(documents)).to_list() == meaning


@pytest.mark.parametrize(("buffers", "meaning"), GOLDEN[:2], ids=["none", "texts"])
def test_the_encoder_writes_the_golden_bytes(buffers, meaning):
    assert encode_documents(DocumentArray.from_list(meaning)) == buffers


# -- anything that a Document can hold comes back ----------------------------------------------------------------------

NUMBERS = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False))
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=20), st.binary(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=20), inner, max_size=4)),
    max_leaves=8,
)
MAPS = st.dictionaries(st.text(max_size=20), PLAIN, max_size=4)
DTYPES = st.sampled_from([np.dtype("?" if code == "bool" else f"<{code}") for code in ITEM_SIZES if code != "bf16"])


@st.composite
def arrays(draw):
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    dtype = draw(DTYPES)
    if draw(st.integers(0, 9)) == 0:
        shape = [*shape, INLINE]  # large enough to lie outside
    content = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2, shape).astype(dtype)
    return content.T if draw(st.booleans()) else content


IDS = st.text(min_size=1, max_size=30)
FIELDS = {
    "text": st.text(max_size=30),
    "blob": st.one_of(st.binary(max_size=30), st.just(b"x" * (INLINE + 1))),
    "tensor": arrays(),
    "embedding": arrays(),
    "uri": st.text(max_size=10),
    "mime_type": st.text(max_size=10),
    "modality": st.text(max_size=10),
    "weight": NUMBERS,
    "tags": MAPS,
    "scores": st.dictionaries(st.text(max_size=5), NUMBERS, max_size=2),
}


def documents_of(depth):
    fields = dict(FIELDS)
    if depth:
        fields["chunks"] = fields["matches"] = documents_of(depth - 1)
    one = st.fixed_dictionaries({"id": IDS}, optional=fields).map(lambda given: Document(**given))
    return st.lists(one, max_size=3)


def writable(buffers):
    """The buffers as a driver that reuses its memory would give them."""
    return [memoryview(bytearray(buffer)) for buffer in buffers]


def same_types(one, other):
    for name in ("tensor", "embedding"):
        for left, right in zip(one, other):
            mine, theirs = getattr(left, name), getattr(right, name)
            assert (mine is None) == (theirs is None)
            assert mine is None or (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)


@pytest.mark.time_limit(300)  # a thousand examples with --full
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(documents_of(2), st.booleans())
@example([Document(id="a", tensor=np.zeros((0, 3))), Document(id="a", tensor=np.array(1.5))], True)
def test_documents_come_back_equal(given_documents, in_writable_memory):
    documents = DocumentArray(given_documents)
    sent = encode_documents(documents)
    received = decode_documents(writable(sent) if in_writable_memory else sent)
    passed_on = decode_documents(encode_documents(received))
    assert received.is_packed and received.texts == documents.texts and received.ids == documents.ids
    assert received == documents and passed_on == documents
    same_types(documents, received)
    same_types(documents, passed_on)
    assert decode_documents(encode_documents(received)) == documents
    assert DocumentArray.from_bytes(documents.to_bytes()) == documents


@given(MAPS)
def test_maps_come_back_equal(mapping):
    assert decode_map(encode_map(mapping)) == mapping


# -- mutated messages --------------------------------------------------------------------------------------------------


def messages():
    """Messages to mutate: each with most things that a message can have."""
    random_arrays = np.random.default_rng(1)
    rich = DocumentArray(
        Document(
            id=f"id{at}",
            text="text" * at,
            blob=b"b" * (at * 2000),
            tensor=random_arrays.normal(size=(at % 3, 700)),
            embedding=random_arrays.normal(size=8).astype("f4") if at % 2 else None,
            tags={"x": [1, {"y": None}], "z": 1.5},
            scores={"s": 1, "t": {"value": 2, "op_name": "o"}},
            weight=at,
            chunks=[Document(text="c", tensor=[at], matches=[Document(uri="u")])],
        )
        for at in range(4)
    )
    texts = DocumentArray([Document(id=str(at), text="hello") for at in range(20)])
    return [*(buffers for buffers, _ in GOLDEN), encode_documents(rich), encode_documents(texts)]


INTERESTING = [
    0,
    1,
    0x7F,
    0x80,
    0x90,
    0x91,
    0xA0,
    0xC0,
    0xC1,
    0xC4,
    0xC7,
    0xCA,
    0xCF,
    0xD3,
    0xD9,
    0xDC,
    0xDD,
    0xDE,
    0xDF,
    0xFF,
]


def mutate(chance, buffers):
    made = [bytearray(buffer) for buffer in buffers]
    for _ in range(chance.randint(1, 4)):
        which = made[0 if chance.random() < 0.9 else chance.randrange(len(made))]
        at = chance.randrange(len(which) + 1)
        kind = chance.randrange(8)
        if kind <= 1 and at < len(which):
            which[at] = chance.choice(INTERESTING)
        elif kind == 2 and at < len(which):
            which[at] ^= 1 << chance.randrange(8)
        elif kind == 3:
            which[at : at + chance.randint(1, 8)] = b""
        elif kind == 4:
            which[at:at] = bytes(chance.choice(INTERESTING) for _ in range(chance.randint(1, 8)))
        elif kind == 5:
            start = chance.randrange(len(which) + 1)
            which[at:at] = which[start : start + chance.randint(1, 40)]
        elif kind == 6:
            del which[at:]
        elif len(made) > 1:
            other = chance.randrange(1, len(made))
            action = chance.randrange(3)
            if action == 0:
                del made[other]
            elif action == 1:
                made.append(made[other])
            else:
                made[1], made[other] = made[other], made[1]
    return made


def swap_a_type(chance, buffers):
    """Another value in the place of one within the body: well-formed, and wrong."""
    body = msgpack.unpackb(buffers[0])
    place, key = body, chance.choice(list(body))
    while isinstance(place[key], (list, dict)) and place[key] and chance.random() < 0.7:
        place = place[key]
        key = chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
    place[key] = chance.choice(
        [None, True, -1, 0, 1, 2**63, 1.5, "f4", "", b"", b"1234", [], [None], [0], {}, {"n": 1}, [[]]]
    )
    return [msgpack.packb(body), *buffers[1:]]


def try_mutations(count, seed):
    chance = random.Random(seed)
    sources = messages()
    refused = 0
    for _ in range(count):
        source = chance.choice(sources)
        buffers = (swap_a_type if chance.random() < 0.3 else mutate)(chance, source)
        try:
            documents = decode_documents(buffers)
        except ProtocolError as error:
            assert 0 < len(str(error)) < 1000
            refused += 1
            continue
        look_at_everything(documents)
    assert count / 4 < refused < count  # some mutations do no harm, most do


def look_at_everything(documents):
    """What was accepted can be read in every way, and sent again unless a sender of ours would refuse it."""
    assert documents.texts is not None and documents.contents is not None
    for name in ("tensors", "embeddings", "blobs", "tags"):
        getattr(documents, name)
    try:
        again = decode_documents(encode_documents(documents))
    except InvalidDocument:
        return
    assert [repr(document) for document in documents] == [repr(document) for document in again]


@pytest.mark.parametrize("seed", range(5))
def test_mutated_messages_end_in_documents_or_a_protocol_error(seed):
    try_mutations(1_000, seed)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 110))
def test_many_mutated_messages_end_in_documents_or_a_protocol_error(seed):
    try_mutations(10_000, seed)


@given(st.lists(st.binary(max_size=60), max_size=3))
def test_noise_is_refused_or_no_documents(buffers):
    try:
        documents = decode_documents(buffers)
    except ProtocolError:
        return
    assert len(documents) == 0  # such as b"\x81\xa1n\x00", which noise may well be


@given(st.binary(max_size=60))
def test_noise_is_no_map_or_a_plain_one(buffer):
    try:
        mapping = decode_map(buffer)
    except ProtocolError:
        return
    assert decode_map(encode_map(mapping)).keys() == mapping.keys()


# -- by reference ------------------------------------------------------------------------------------------------------


def test_a_large_array_is_not_copied_on_either_side():
    array = np.zeros((512, 512), "f4")
    body, outside = encode_documents(DocumentArray([Document(tensor=array)]))
    array[0, 0] = 1
    received = decode_documents([body, outside])[0].tensor
    assert received[0, 0] == 1 and np.shares_memory(received, array)


def test_received_arrays_can_be_changed_where_the_memory_can():
    buffers = writable(encode_documents(DocumentArray([Document(tensor=np.zeros(5000))])))
    documents = decode_documents(buffers)
    documents.tensors[0, 0] = 1
    documents[0].tensor[1] = 2
    assert struct.unpack_from("<2d", buffers[1]) == (1, 2)


def test_forwarding_needs_no_numpy(monkeypatch):
    import sys

    buffers = encode_documents(DocumentArray([Document(tensor=np.zeros(5000), text="t")]))
    monkeypatch.setitem(sys.modules, "numpy", None)  # importing it fails from here on
    documents = decode_documents(buffers)
    documents.texts = ["new"]
    assert encode_documents(documents)[1] is buffers[1]


# -- maps --------------------------------------------------------------------------------------------------------------


def test_numbers_keep_their_types():
    made = decode_map(encode_map({"top_k": 10, "ratio": 10.0, "flag": True, "np": np.int16(3), "pair": (1, 2)}))
    assert made == {"top_k": 10, "ratio": 10.0, "flag": True, "np": 3, "pair": [1, 2]}
    assert [type(value) for value in made.values()] == [int, float, bool, int, list]


def test_an_empty_map_is_one_byte():
    assert encode_map({}) == b"\x80" and decode_map(b"\x80") == {}


@pytest.mark.parametrize(
    ("mapping", "path"),
    [
        ({"x": {"y": {1}}}, "parameters['x']['y']"),
        ({"x": [np.ones(2)]}, "parameters['x'][0]"),
        ({"x": 2**64}, "parameters['x']"),
        ({1: 2}, "parameters[1]"),
    ],
)
def test_what_cannot_travel_is_refused_by_its_path(mapping, path):
    with pytest.raises(InvalidRequest) as refused:
        encode_map(mapping)
    assert str(refused.value).startswith(f"{path}: ")


def test_the_map_is_called_what_it_is():
    with pytest.raises(InvalidRequest, match=r"results\['x'\]"):
        encode_map({"x": object()}, "results")
    with pytest.raises(ProtocolError, match="results: "):
        decode_map(b"\xc1", "results")


@pytest.mark.parametrize("wrong", [[], 5, None, "text"])
def test_a_map_is_due(wrong):
    with pytest.raises(InvalidRequest, match="a map"):
        encode_map(wrong)


@pytest.mark.parametrize("is_packed", [True, False])
def test_some_of_the_documents_are_encoded_as_if_they_were_all(is_packed):
    documents = decode_documents(encode_documents(DocumentArray([Document(text=text) for text in "abcd"])))
    if not is_packed:
        documents[0].text = "other"
    found = decode_documents(encoder_of_rows(documents)(1, 3))
    assert documents.is_packed is is_packed
    assert found == documents[1:3]
