"""YAML in and out: plain values, bounded, with lines; the bad inputs 66 to 75 of the reliability page."""

import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zflow.config.plain_yaml import MAX_BYTES, MAX_DEPTH, MAX_NODES, dump, parse
from zflow.errors import ConfigError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


def test_plain_values_and_their_lines() -> None:
    parsed = parse("a: 1\nb:\n  - x\n  - {c: 2.5}\n", name="my.yml")
    assert parsed.value == {"a": 1, "b": ["x", {"c": 2.5}]}
    assert str(parsed.place.down("b", 1, "c")) == "my.yml:4 b[1].c"
    assert str(parsed.place.down("a")) == "my.yml:1 a"


def test_words_mean_what_yaml_1_2_says() -> None:
    text = "[on, off, yes, no, 22:22, 0o17, 017, 2020-01-01, 1e3, ~, '12', \"true\", ! 12, !!str 12]"
    expected = ["on", "off", "yes", "no", "22:22", 15, 17, "2020-01-01", 1000.0, None, "12", "true", "12", "12"]
    assert parse(text).value == expected
    assert parse("on: yes\n22:22: no").value == {"on": "yes", "22:22": "no"}


def test_block_text_is_left_as_it_is() -> None:
    assert parse("a: |\n  x | y\n  on\nb: >-\n  1\n  2").value == {"a": "x | y\non\n", "b": "1 2"}


@pytest.mark.parametrize("text", ["", "   \n", "# nothing\n", "---\n"])
def test_nothing_is_none(text: str) -> None:
    assert parse(text).value is None


def test_a_class_is_named_by_a_tag_where_the_caller_allows_it() -> None:
    assert parse("!My\nwith: {a: 1}").value == {"jtype": "My", "with": {"a": 1}}
    assert parse("!My").value == {"jtype": "My"}
    assert parse("- !My {}", class_allowed=lambda path: path == (0,)).value == [{"jtype": "My"}]


def test_a_file_is_named_in_messages_and_may_have_a_byte_order_mark_and_crlf(tmp_path: Path) -> None:
    file = tmp_path / "flow.yml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    parsed = parse(file)
    assert (parsed.value, str(parsed.place.down("b"))) == ({"a": 1, "b": 2}, "flow.yml:2 b")


def test_variables_are_replaced_and_errors_have_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8080")
    assert parse("a: ${{ ENV.PORT }}\nb: x-${{ y }}\n${{ k }}: 1", context={"y": 1}).value == {
        "a": 8080,
        "b": "x-1",
        "${{ k }}": 1,
    }
    with pytest.raises(ConfigError, match="^flow.yml:2 b: the environment has no variable 'NO_SUCH_THING'"):
        parse("a: 1\nb: ${{ ENV.NO_SUCH_THING }}", name="flow.yml")


LAUGHS = "a: &a [x]\n" + "".join(f"{b}: &{b} [*{a},*{a},*{a},*{a}]\n" for a, b in zip("abcdefgh", "bcdefghi"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("!!python/object/apply:os.system [ls]", "YAML:1: the tag .*python/object", id="66 python"),
        pytest.param("a: !!binary x", "YAML:1 a: the tag .*binary.* is not supported", id="66 binary"),
        pytest.param("a: 1\nb: !Tag {}", "YAML:2 b: unknown tag '!Tag': no class can be named here", id="67 tag"),
        pytest.param("!os.system {}", 'the tag "!os.system" is not supported', id="67 dotted tag"),
        pytest.param("!My [1]", "names a class and must be followed by a map", id="67 tag on a list"),
        pytest.param("!My 1", "names a class and must be followed by a map", id="67 tag on a word"),
        pytest.param("!My\njtype: Other", 'the key "jtype" stands here twice', id="67 tag and jtype"),
        pytest.param(LAUGHS, r"YAML:2 b\[0\]: aliases such as '\*a' are not supported", id="68 billion laughs"),
        pytest.param("a: &a {x: 1}\nb:\n  <<: *a", "YAML:3 b: merge keys .* not supported", id="69 merge key"),
        pytest.param("a: {<<: [{b: 1}, {b: 2}]}", "merge keys", id="69 merge bomb"),
        pytest.param("a: &a [*a]", "aliases", id="70 self anchor"),
        pytest.param("&a a: {*a : 1}", "a key must be a plain word", id="70 alias as key"),
        # libyaml looks ahead, and since PyYAML 6.0.4 has a limit of its own that it may meet first
        pytest.param("[" * 5000, f"nested more than {MAX_DEPTH} deep|maximum nesting depth", id="71 deep"),
        pytest.param("a: " * 3 + "1", "not valid YAML", id="71 nested on a line"),
        pytest.param("- " * 5000 + "1", f"nested more than {MAX_DEPTH} deep", id="71 deep dashes"),
        pytest.param("a: " + "1" * 100_000, "YAML:1 a: a number of 100000 characters", id="72 endless number"),
        pytest.param("a: 1\nb: 2\na: 3", 'YAML:3: the key "a" stands here twice', id="73 duplicate"),
        pytest.param("a: {1: x, 0x1: y}", "the key 1 stands here twice", id="73 duplicate number"),
        pytest.param("a: b\0", "YAML:1: not valid YAML: .*U\\+0000", id="75 NUL"),
        pytest.param("a: \ud800", "half a surrogate pair", id="75 surrogate"),
        pytest.param("[1]: x", "a key must be a plain word", id="list as key"),
        pytest.param("a: 1\n---\nb: 2", "YAML:2: a second document begins", id="two documents"),
        pytest.param("a: 'x", "YAML:1: not valid YAML", id="open quote"),
        pytest.param("a: 1\n\tb: 2", "YAML:2: not valid YAML", id="tab"),
        pytest.param("%YAML 3.0\n---\na", "not valid YAML", id="version"),
        pytest.param("x" * (MAX_BYTES + 1), f"more than {MAX_BYTES} bytes", id="long"),
        pytest.param("ü" * (MAX_BYTES // 2 + 1), f"more than {MAX_BYTES} bytes", id="long in UTF-8"),
        pytest.param("- 1\n" * (MAX_NODES + 1), f"more than {MAX_NODES} values", id="many"),
        pytest.param("{" + ",".join(f"{n}: 1" for n in range(MAX_NODES)) + "}", "more than .* values", id="many keys"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_soon_and_with_its_line(text: str, told: str) -> None:
    parse("warm: up")  # the first call imports yaml
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ConfigError, match=told):
        parse(text)
    seconds, (_, most) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 2  # 20 times what it takes here: enough to tell linear from exponential, not to fail in a crowd
    assert most < 8 * MAX_BYTES


def test_an_anchor_alone_is_harmless() -> None:
    assert parse("a: &x 1").value == {"a": 1}


@pytest.mark.parametrize("data", ["a: ü".encode("utf-16"), b"a: \xff", b"\xff\xfea\0"], ids=["utf-16", "latin", "bom"])
def test_a_file_that_is_not_utf_8_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "my.yml").write_bytes(data)
    with pytest.raises(ConfigError, match="^my.yml: not UTF-8"):
        parse(tmp_path / "my.yml")


def test_what_is_no_regular_file_is_refused_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yml")
    for path, told in {
        tmp_path / "fifo.yml": "is no regular file",
        tmp_path: "is no regular file",
        Path("/dev/zero"): "is no regular file",
        tmp_path / "none.yml": "none.yml does not exist",
        Path("a\0b.yml"): "cannot be read|does not exist",
    }.items():
        with pytest.raises(ConfigError, match=told):
            parse(path)


def test_a_file_that_is_too_long_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "long.yml").open("wb") as file:
        file.truncate(1 << 36)
    with pytest.raises(ConfigError, match="long.yml: more than"):
        parse(tmp_path / "long.yml")


@given(st.text() | st.text(st.sampled_from("ab:-[]{}&*!|>'\"%@`#,?~ \n\t0.<$"), max_size=40))
@settings(max_examples=400, deadline=None)
def test_any_text_is_parsed_or_a_config_error(text: str) -> None:
    try:
        value = parse(text).value
    except ConfigError:
        return
    assert type(value) in (type(None), bool, int, float, str, list, dict)


@given(PLAIN)
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read_back_equal_in_value_and_type(value: Any) -> None:
    try:
        text = dump(value)
    except ConfigError as error:
        assert "${{" in repr(value), error
        return
    assert repr(parse(text).value) == repr(value)


@pytest.mark.parametrize("text", ["no", "22:22", "0o17", "1e3", "089", "~", "<<", "=", "null", "1" * 200, "a: b", "!x"])
def test_text_that_looks_like_something_else_stays_text(text: str) -> None:
    assert parse(dump({"a": text, text: 1})).value == {"a": text, text: 1}


def test_one_list_at_two_places_is_written_twice() -> None:
    shared = [1]
    assert parse(dump({"a": shared, "b": shared})).value == {"a": [1], "b": [1]}


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": (1, 2)}, "a: a tuple cannot be written"),
        ({"a": [1, {2}]}, r"a\[1\]: a set cannot be written"),
        ({"a": b"x"}, "a: a bytes cannot be written"),
        ({(1,): 1}, r"the key \(1,\) cannot be written"),
        ({"a": "x ${{ ENV.Y }}"}, "a: .* would be replaced when it is loaded"),
        (nested(MAX_DEPTH + 1), "nested more than"),
    ],
)
def test_what_yaml_cannot_hold_is_refused_with_its_place(value: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        dump(value)


def test_a_list_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ConfigError, match="nested more than"):
        dump(endless)


def test_the_deepest_and_the_longest_that_is_allowed_comes_back() -> None:
    assert parse(dump(nested(MAX_DEPTH))).value == nested(MAX_DEPTH)
    assert parse(dump([0] * (MAX_NODES - 1))).value == [0] * (MAX_NODES - 1)


def test_a_file_that_is_not_there_is_perhaps_one_beside_it(tmp_path: Path) -> None:
    (tmp_path / "flow.yml").write_text("a: 1")
    with pytest.raises(ConfigError, match=r"flow\.yaml does not exist: did you mean 'flow\.yml'\?"):
        parse(tmp_path / "flow.yaml")
    with pytest.raises(ConfigError, match=r"other\.yml does not exist$"):
        parse(tmp_path / "other.yml")


def test_what_variables_have_made_is_written_as_it_is_or_as_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "me: # you")
    monkeypatch.setenv("MANY", "3")
    read = parse("a: ${{ ENV.WHO }}\nb: ['${{ ENV.MANY }}']\nc: {d: '- ${{ ENV.WHO }}: x'}\ne: '{{'\n").value
    assert parse(dump(read)).value == read and "ENV" not in dump(read)
    written = dump(read, templates=True)
    assert parse(written).value == read and "me" not in written.replace("name", "") and "3" not in written
    monkeypatch.setenv("WHO", "somebody else")
    assert parse(written).value["a"] == "somebody else"
    with pytest.raises(ConfigError, match="would be replaced when it is loaded"):
        dump({"x": "${{ ENV.WHO }}"}, templates=True)
