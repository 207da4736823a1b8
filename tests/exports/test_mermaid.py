"""Mermaid text: nothing that a user wrote is taken for its syntax."""

from __future__ import annotations

from zflow import Flow
from zflow.exports.drawing import drawing_of
from zflow.exports.mermaid import mermaid


def test_a_chart() -> None:
    flow = (
        Flow(insecure=True)
        .add(name="end", replicas=2)
        .add(name="far", host="10.0.0.1", port_in=5, external=True, floating=True)
    )
    assert mermaid(drawing_of(flow._spec)) == (
        "flowchart LR\n"
        '    to_gateway(["gateway"])\n'
        '    node_end[["end<br/>2 replicas"]]\n'
        '    node_far["far<br/>10.0.0.1:5<br/>floating"]\n'
        '    to_reply(["reply"])\n'
        "    to_gateway --> node_end\n"
        "    node_end -.-> node_far\n"
        "    node_end --> to_reply\n"
        "    classDef external stroke-dasharray: 5 5\n"
        "    class node_far external\n"
    )


def test_quotes_and_tags_are_text() -> None:
    drawn = mermaid(drawing_of(Flow().add(name="a", when={"text": {"$eq": '"]<i>'}})._spec))
    assert "#quot;]&lt;i&gt;" in drawn
