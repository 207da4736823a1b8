"""SPEC.md says in words what messages.yaml says as data, its example is right, and its links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.protocol import reading
from zflow.wire.header import Message, decode
from zflow.wire.payload import decode_documents

SPEC = (reading.PROTOCOL / "SPEC.md").read_text("utf-8")
TOLD = reading.messages()
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "s": 1000}  # all others are what is counted


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose first column has that heading (and the tables after it that have it, too)."""
    found = []
    for table in re.findall(r"(?:^\|.*\n)+", SPEC, re.MULTILINE):
        lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()]
        if lines[0][0] == heading:
            found += lines[2:]
    assert found
    return found


def number(text: str) -> int:
    """``64 KiB`` and the like in bytes, counts or milliseconds."""
    match = re.fullmatch(r"(2\^)?([\d,]+) ?([A-Za-z ]*)", text)
    assert match is not None, text
    plain = int(match[2].replace(",", ""))
    return (1 << plain if match[1] else plain) * UNITS.get(match[3], 1)


def test_kinds() -> None:
    assert len(rows("number")) == len(TOLD["kinds"])
    for row, told in zip(rows("number"), TOLD["kinds"]):
        named, kind, direction, call_id, parts, answers = row
        assert (int(named), kind, direction) == (told["number"], told["name"], f"{told['from']} -> {told['to']}")
        assert call_id == told["call_id"] or told["call_id"] == "optional" and call_id.startswith("as in the")
        assert [name for name in parts.split(", ") if name] == list(told["parts"])
        assert set(re.findall("[A-Z]{3,}", answers)) == set(told["answers"])


def test_places_of_the_header() -> None:
    assert [name for _, name, *_ in rows("place")] == [name.replace("_", " ") for name in TOLD["header"]]
    assert [int(place) for place, *_ in rows("place")] == list(range(len(TOLD["header"])))


def test_flags() -> None:
    assert {name: int(bit) for bit, name, *_ in rows("bit")} == TOLD["flags"]
    for _, name, kind, _ in rows("bit"):
        assert [told["name"] for told in TOLD["kinds"] if name in told["flags"]] == [kind]


def test_keys_of_the_extra() -> None:
    words = {"bin of 16": "id", "array of bin of 16": "array of id", "true": "bool"}
    told = {
        (kind["name"], key): described["type"] for kind in TOLD["kinds"] for key, described in kind["extra"].items()
    }
    tables = rows("key")
    spoken: dict[tuple[str, str], str] = {}
    for key, described, kinds, _ in [row for row in tables if len(row) == 4]:
        for kind in kinds.split(", "):
            spoken[kind, key.strip("`")] = words.get(described, described)

    assert spoken == told


def test_kinds_of_parts() -> None:
    spoken = {row[1]: (int(row[0]), set(re.findall("[A-Z]{3,}", row[3]))) for row in rows("kind")}

    for told in TOLD["parts"]:
        kinds = {kind["name"] for kind in TOLD["kinds"] if told["name"] in kind["parts"]}
        assert spoken[told["name"]] == (told["number"], kinds)


def test_errors() -> None:
    assert len(rows("code")) == len(TOLD["errors"])
    words = {"the caller's": "input", "user code's": "executor", "the other side's": "other side", "nobody's": "nobody"}
    for (code, name, fault, helps, _), told in zip(rows("code"), TOLD["errors"]):
        assert (int(code), name) == (told["code"], told["name"])
        assert words[fault] == told["fault"]
        assert (helps == "yes") is told["retryable"]


def test_details_of_a_failure() -> None:
    spoken = {row[0].strip("`"): row[1] for row in rows("key") if len(row) == 3}

    assert spoken.items() >= TOLD["details"].items()


def test_dtypes() -> None:
    spoken: dict[str, int] = {}
    for row in rows("dtype"):
        for codes, sizes in ((row[0], row[1]), (row[3], row[4])):
            spoken.update(zip(re.findall(r"`(\w+)`", codes), map(int, sizes.split())))

    assert spoken == TOLD["dtypes"]


def test_limits_and_timing() -> None:
    spoken: dict[str, int] = {}
    for names, values, _ in rows("name"):
        spoken.update(zip(re.findall(r"`(\w+)`", names), [number(value) for value in re.split(r", (?=\d)", values)]))

    told = TOLD["limits"] | TOLD["timing"]
    assert spoken == {name: told[name] for name in spoken}
    assert spoken.keys() == told.keys()


def test_every_name_of_a_limit_in_the_text_is_in_a_table() -> None:
    told = TOLD["limits"].keys() | TOLD["timing"].keys() | {"THIS_TYPE"}
    used = set(re.findall(r"`([A-Z]+_?[A-Z_]+)`", SPEC)) - {"ZMQ_IMMEDIATE", "IMMEDIATE"}

    assert {name for name in used if not name.startswith("ZMQ_")} <= told
    assert set(re.findall(r"MAX_[A-Z]+(?:_[A-Z]+)*", SPEC)) - {"MAX_PAYLOAD"} <= told


def test_columns() -> None:
    body = SPEC[SPEC.index("body     = map") : SPEC.index("texts    =")]

    assert set(re.findall(r'"(\w+)"', body)) == set(TOLD["columns"])


@pytest.mark.parametrize("name", ["SPEC.md", "README.md", "CHANGES.md"])
def test_links_lead_somewhere(name: str) -> None:
    text = (reading.PROTOCOL / name).read_text("utf-8")
    headings = [re.sub(r"[^a-z0-9 -]", "", line.lower()) for line in re.findall(r"^#+ (.*)$", SPEC, re.MULTILINE)]
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:].replace("-", " ") in headings
        elif not target.startswith("https:"):
            assert (reading.PROTOCOL / target).exists()


def test_every_rule_of_the_grammar_is_defined_and_used() -> None:
    grammar = "\n".join(re.findall(r"```abnf\n(.*?)```", SPEC, re.DOTALL))
    lines = [re.sub(r'"[^"]*"|<[^>]*>|;.*|%x[0-9A-F-]+', "", line) for line in grammar.splitlines()]
    defined = {match[1] for line in lines if (match := re.match(r"([a-z][a-z0-9-]*) +=/? ", line))}
    used = {word for line in lines for word in re.findall(r"(?<![a-z-])[a-z][a-z0-9-]*", line.partition("=")[2])}

    assert used <= defined
    assert defined - used == {"multipart", "endpoint-name"}  # where reading begins, and what a string holds


def test_the_example_is_right() -> None:
    said = list(example())

    assert [message.kind.name for message in said] == ["HELLO", "CHALLENGE", "HELLO", "READY", "REQUEST", "REPLY"]
    assert said[1].extra["nonce"] == said[2].extra["nonce"]
    assert (said[4].endpoint, said[4].budget) == ("/upper", 1_000_000)
    texts = [decode_documents(message.parts[0].buffers())[0].text for message in said[4:]]
    assert texts == ["hello", "HELLO"]


def example() -> Iterator[Message]:
    """The messages of the last section: each begins with an arrow, further frames with three blanks."""
    text = SPEC[SPEC.index("## 14. An example") :]
    block = re.search(r"```\n(.*?)```", text, re.DOTALL)
    assert block is not None
    for message in re.split(r"^(?:->|<-) ", block[1], flags=re.MULTILINE)[1:]:
        yield decode([_assembled(frame) for frame in re.split(r"^ {3}(?! )", message, flags=re.MULTILINE)])


def _assembled(frame: str) -> bytes:
    """The bytes of one frame: hexadecimal digits, texts in quotes, ``..`` for an id, and words at the end of a line."""
    made = b""
    for line in frame.splitlines():
        for token in re.findall(r'"[^"]*"|\S+', re.split(r"  +(?=[A-Zi])", line.strip())[0]):
            if token[0] == '"':
                made += token.strip('"').encode()
            else:
                made += bytes(16) if token == ".." else bytes.fromhex(token)
    return made
