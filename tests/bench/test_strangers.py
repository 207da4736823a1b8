"""Good callers among strangers: what is measured and told, and a short one at real ports."""

from __future__ import annotations

import pytest

from bench import strangers
from bench.executors import Upper
from bench.strangers import Measured
from zflow import Client, Flow


def test_a_line_has_both_figures_and_their_ratio():
    told = strangers.line("a head", Measured([0.001] * 100, [0.002] * 99 + [0.01], 7))
    assert told.split() == [
        *("a", "head", "1000", "/", "1000", "us", "2000", "/", "9920", "us"),
        *("2.00", "x", "and", "9.92", "x", "7", "strangers"),
    ]


def test_a_wrong_answer_is_no_measurement():
    class Wrong:
        def post(self, *_: object, **__: object) -> Wrong:
            return self

        texts = ["another"]

    with pytest.raises(AssertionError):
        strangers.ask(Wrong(), 1)


def test_every_kind_of_port_answers_among_strangers(capsys: pytest.CaptureFixture[str]):
    assert strangers.main(["--rounds", "1", "--requests", "100"]) == 0
    heads, *lines = capsys.readouterr().out.splitlines()
    assert [line[:12].strip() for line in lines] == ["a gateway", "a head", "an Executor"]


def test_nobody_dies_of_strangers():
    counts: list[int] = []
    with Flow(quiet=True).add(uses=Upper) as flow, Client(port=flow.port) as client:
        before = flow.status()
        with strangers.strangers(flow.port, counts):
            strangers.ask(client, 300)
        assert counts[0] > 0
        assert flow.status() == before


def test_too_few_are_refused(capsys: pytest.CaptureFixture[str]):
    assert strangers.main(["--requests", "1"]) == 2
    assert "--requests at least 2" in capsys.readouterr().err
