"""What log_config may be, and what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zflow.config.log_config import FIELDS, LOG_CONFIG, LogConfig, Voice, as_map, read_log_config, voice_of
from zflow.config.places import Place
from zflow.config.spec import ExecutorSpec, FlowSpec
from zflow.config.yaml_file import dump_flow, load_flow
from zflow.errors import ConfigError


def read(value: Any) -> LogConfig:
    return read_log_config(LOG_CONFIG.check(value))


@pytest.mark.parametrize(
    ("value", "config"),
    [
        ("plain", LogConfig()),
        ("json", LogConfig(form="json")),
        ({}, LogConfig()),
        ({"format": "json", "level": "debug"}, LogConfig(form="json", level="DEBUG")),
        ({"levels": {"httpx": "error", "root": "WARNING"}}, LogConfig(levels={"httpx": "ERROR", "root": "WARNING"})),
        ({"file": "/logs/a.log"}, LogConfig(file="/logs/a.log", stderr=False)),
        ({"file": "/a.log", "stderr": True, "keep": 0}, LogConfig(file="/a.log", keep=0)),
        ({"max_size": "2 MB", "file": None}, LogConfig(max_size=2_000_000)),
        ({"max_size": "1KiB"}, LogConfig(max_size=1024)),
        ({"max_size": 77}, LogConfig(max_size=77)),
        ({"format": "{level:>8} {text}"}, LogConfig(form="{level:>8} {text}")),
        ({"stderr": False}, LogConfig(stderr=False)),
    ],
)
def test_what_it_says(value: Any, config: LogConfig) -> None:
    assert read(value) == config
    assert read(as_map(config)) == config


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3, "expected plain, json, a YAML file or a map with some of format, level"),
        ("jsn", 'a YAML file or a map with some of format, level, levels, file, max_size, keep, stderr, got "jsn"'),
        ("search.log", "for a file of log lines write file=PATH"),
        ({"formt": "json"}, "formt: unknown key \"formt\": did you mean 'format'?"),
        ({"format": "xml"}, "format: expected plain, json, or a line with some of {time}, {level}"),
        ({"format": "{txt}"}, "format: a log line has no {txt}: did you mean 'text'?"),
        ({"format": "{}"}, "format: a log line has no {}: known: "),
        ({"format": "{text"}, "is no pattern of a line"),
        ({"format": "{pid:z}"}, "is no pattern of a line"),
        ({"level": "LOUD"}, 'level: expected one of DEBUG, INFO, WARNING, ERROR, CRITICAL, got "LOUD"'),
        ({"levels": {"httpx": 3}}, "levels.httpx: expected one of DEBUG"),
        ({"levels": ["httpx"]}, "levels: expected a map of loggers' names to levels"),
        ({"levels": {"": "INFO"}}, "expected the name of a logger"),
        ({"file": "logs/"}, "file: expected the path of a file"),
        ({"file": 3}, "file: expected the path of a file"),
        (
            {"max_size": "much"},
            "max_size: expected bytes, as a number or as in 10 MB; 0 for a file that",
        ),
        ({"max_size": True}, "max_size: expected bytes"),
        ({"keep": -1}, "keep: expected a whole number from 0 to 1000"),
        ({"stderr": "no"}, "stderr: expected true or false"),
    ],
)
def test_what_is_wrong_is_refused_by_its_key(value: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LOG_CONFIG.checked(value, Place("", ("log_config",)))
    assert told in str(caught.value) and str(caught.value).startswith("log_config: ")


def test_a_file_says_the_same_and_its_paths_are_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "logs.yml").write_text("format: json\nlevels: {httpx: ERROR}\nfile: here/search.log\nmax_size: 5 kB\n")
    assert read(tmp_path / "logs.yml") == LogConfig(
        form="json", levels={"httpx": "ERROR"}, file=f"{tmp_path}/here/search.log", max_size=5000, stderr=False
    )


def test_a_fault_in_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "logs.yml").write_text("format: json\nlevel: LOUD\n")
    with pytest.raises(ConfigError, match=r"logs.yml:2 level: expected one of"):
        voice_of(FlowSpec.from_options(log_config=tmp_path / "logs.yml"))
    with pytest.raises(ConfigError, match=r"gone.yml does not exist"):
        voice_of(FlowSpec.from_options(log_config=str(tmp_path / "gone.yml")))


def test_the_command_line_gives_a_word_a_file_or_keys() -> None:
    [item] = [item for item in ExecutorSpec.__dataclass_fields__.values() if item.name == "log_config"]
    option = item.metadata["option"](name="log_config")
    place = Place()
    assert option.check(option.read(("json",)), place) == "json"
    assert option.check(option.read(("logs.yml",)), place) == str(Path.cwd() / "logs.yml")
    assert option.check(option.read(("format=json", "level=DEBUG")), place) == {"format": "json", "level": "DEBUG"}
    with pytest.raises(ConfigError, match="expected plain, json"):
        option.check(option.read(("json", "plain")), place)


def test_an_executor_has_its_flows_unless_it_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = FlowSpec.from_options(log_config="json", quiet=True).add().add(log_config={"level": "DEBUG"}, quiet=False)
    assert [voice_of(executor) for executor in spec.executors] == [
        Voice(True, False, LogConfig(form="json")),
        Voice(False, False, LogConfig(level="DEBUG")),
    ]
    monkeypatch.setenv("ZFLOW_LOG_CONFIG", "file=/a.log")
    assert voice_of(FlowSpec.from_options().add().executors[0]).config.file == "/a.log"


def test_in_a_yaml_file_paths_are_relative_to_it_and_saving_keeps_what_it_means(tmp_path: Path) -> None:
    (tmp_path / "flow.yml").write_text(
        "jtype: Flow\nwith: {log_config: logs.yml}\nexecutors: [{name: a, log_config: {file: a.log}}]\n"
    )
    (tmp_path / "logs.yml").write_text("level: DEBUG\n")
    spec = load_flow(tmp_path / "flow.yml")
    assert voice_of(spec).config == LogConfig(level="DEBUG")
    assert voice_of(spec.executors[0]).config.file == f"{tmp_path}/a.log"
    assert load_flow(dump_flow(spec)) == spec


def test_every_field_of_a_line_is_told_in_the_docs() -> None:
    told = (Path(__file__).parents[2] / "docs" / "logs.md").read_text()
    assert [name for name in FIELDS if f"`{name}`" not in told] == []
