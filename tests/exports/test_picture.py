"""Pictures in files: the ending says of what kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from zflow import ConfigError, Deployment, Executor, Flow


class Encoder(Executor):
    pass


def test_the_ending_says_of_what_kind(tmp_path: Path) -> None:
    flow = Flow().add(uses=Encoder)
    flow.plot(tmp_path / "flow.svg")
    flow.plot(str(tmp_path / "flow.MMD"))
    assert (tmp_path / "flow.svg").read_text() == flow._repr_svg_()
    assert (tmp_path / "flow.MMD").read_text().startswith("flowchart LR\n")


def test_a_deployment_has_one_too(tmp_path: Path) -> None:
    Deployment(uses=Encoder).plot(tmp_path / "one.svg")
    assert ">Encoder</text>" in (tmp_path / "one.svg").read_text()


@pytest.mark.parametrize(("name", "told"), [("flow.svgz", r"did you mean '\.svg'"), ("flow", r"known: \.mmd, \.svg")])
def test_others_are_refused(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"no kind of picture: {told}"):
        Flow().plot(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
