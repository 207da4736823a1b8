"""What a picture shows of a Flow, and where: every box behind those that it waits for."""

from __future__ import annotations

from zflow import Deployment, Executor, Flow
from zflow.exports.drawing import Arrow, Drawing, drawing_of, rows_of


class Encoder(Executor):
    pass


def drawn(flow: Flow | Deployment) -> Drawing:
    return drawing_of(flow._spec)


def lines_of(drawing: Drawing, name: str) -> tuple[str, ...]:
    [box] = [box for box in drawing.boxes if box.name == name]
    return box.lines


def test_a_flow_without_executors_answers_what_it_was_asked():
    assert drawn(Flow()).arrows == (Arrow("gateway", "reply"),)


def test_arrows_follow_the_needs_and_the_reply_is_behind_everything():
    flow = Flow().add(name="a").add(name="b").add(name="c", needs="gateway").add(name="d", needs=["b", "c"])
    drawing = drawn(flow)
    assert drawing.arrows == (
        *(Arrow("gateway", "a"), Arrow("gateway", "c"), Arrow("a", "b"), Arrow("b", "d"), Arrow("c", "d")),
        Arrow("d", "reply"),
    )
    assert drawing.columns == {"gateway": 0, "a": 1, "c": 1, "b": 2, "d": 3, "reply": 4}


def test_whom_nobody_waits_for_hangs_loosely():
    flow = Flow().add(name="a", on_timeout="skip", timeout_send=9).add(name="b").add(name="log", floating=True)
    assert [arrow for arrow in drawn(flow).arrows if arrow.is_loose] == [Arrow("a", "b", True), Arrow("b", "log", True)]
    assert drawn(flow).columns["reply"] == drawn(flow).columns["log"]


def test_what_a_box_tells():
    flow = (
        Flow(insecure=True)
        .add(uses=Encoder, name="a", shards=2, replicas=3, uses_after=Encoder)
        .add(name="alone", port_in=5000)
        .add(name="far", host=["10.0.0.1:5", "10.0.0.2:5"], external=True, needs="gateway")
        .add(uses="!Encoder\nwith: {}", name="text", when={"tags__kind": {"$eq": "a very long word that goes on"}})
        .add(name="join", needs=["a", "text"], quorum=1, within=50)
    )
    drawing = drawn(flow)
    assert lines_of(drawing, "a") == ("Encoder", "2 shards × 3 replicas", "after: Encoder")
    assert lines_of(drawing, "alone") == ("port 5000",)
    assert lines_of(drawing, "far") == ("10.0.0.1:5", "10.0.0.2:5")
    assert lines_of(drawing, "join") == ("quorum 1 of 2", "within 50 ms")
    [kind, condition] = lines_of(drawing, "text")
    assert kind == "Encoder"
    assert condition.startswith("when {'tags__kind'") and condition.endswith("…")
    copies = {box.name: box.copies for box in drawing.boxes}
    assert (copies["a"], copies["far"], copies["text"]) == (6, 2, 1)
    assert [box.name for box in drawing.boxes if box.is_external] == ["far"]


def test_a_deployment_is_one_box():
    drawing = drawn(Deployment(uses=Encoder, name="encoder", replicas=2))
    assert [box.name for box in drawing.boxes] == ["gateway", "encoder", "reply"]
    assert lines_of(drawing, "encoder") == ("Encoder", "2 replicas")


def test_an_arrow_over_several_columns_keeps_a_row_free_in_each():
    flow = Flow().add(name="a").add(name="b").add(name="c", needs=["gateway", "b"])
    rows = rows_of(drawn(flow))
    assert [len(column) for column in rows] == [1, 2, 2, 1, 1]
    assert Arrow("gateway", "c") in rows[1] and Arrow("gateway", "c") in rows[2]


def test_branches_stand_in_the_order_of_those_before_them():
    flow = Flow().add(name="a", needs="gateway").add(name="b", needs="gateway")
    flow = flow.add(name="of_b", needs="b").add(name="of_a", needs="a").add(name="j", needs=["of_a", "of_b"])
    rows = rows_of(drawn(flow))
    assert rows[1] == ["a", "b"]
    assert rows[2] == ["of_a", "of_b"]
