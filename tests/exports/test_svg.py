"""The picture: well-formed, with every box and arrow, and nothing on top of anything else."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from zflow import Flow
from zflow.exports.drawing import Drawing, drawing_of
from zflow.exports.svg import Place, places_of, svg

SVG = "{http://www.w3.org/2000/svg}"


@st.composite
def drawings(draw: st.DrawFn) -> Drawing:
    """Of a random graph: each Executor needs some of those before it."""
    flow = Flow()
    names = ["gateway"]
    for number in range(draw(st.integers(0, 9))):
        needs = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        name = f"executor{number}" + "x" * draw(st.integers(0, 20))
        flow = flow.add(name=name, needs=needs, replicas=draw(st.integers(1, 3)))
        names.append(name)
    return drawing_of(flow._spec)


def overlap(first: Place, second: Place) -> bool:
    return (
        first.x < second.x + second.width
        and second.x < first.x + first.width
        and first.y < second.y + second.height
        and second.y < first.y + first.height
    )


@given(drawings())
def test_nothing_stands_on_anything_else_and_all_arrows_point_on(drawing: Drawing) -> None:
    places = places_of(drawing)
    standing = [place for each in places.values() for place in each]
    assert not [pair for pair in combinations(standing, 2) if overlap(*pair)]
    for arrow in drawing.arrows:
        assert places[arrow.start][0].x + places[arrow.start][0].width < places[arrow.end][0].x


@given(drawings())
def test_every_box_and_every_arrow_is_drawn_within_the_picture(drawing: Drawing) -> None:
    root = ElementTree.fromstring(svg(drawing))
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    groups = root.findall(f"{SVG}g")
    assert [group.get("id") for group in groups] == [f"zf-{box.name}" for box in drawing.boxes]
    for group in groups:
        for rect in group.findall(f"{SVG}rect"):
            assert float(rect.get("x", "0")) + float(rect.get("width", "0")) <= width
            assert float(rect.get("y", "0")) + float(rect.get("height", "0")) <= height
    assert len(root.findall(f"{SVG}path")) == len(drawing.arrows)


def test_what_users_wrote_is_text_and_nothing_else() -> None:
    flow = Flow(name="<script>").add(name="a", when={"text": {"$eq": "</text><b>&"}})
    drawn = svg(drawing_of(flow._spec))
    root = ElementTree.fromstring(drawn)
    assert root.findtext(f"{SVG}title") == "<script>"
    assert "<script>" not in drawn and "<b>" not in drawn
    assert "when {'text': {'$eq': '</text><b>&'…" in [text.text for text in root.iter(f"{SVG}text")]


def test_several_copies_look_like_several() -> None:
    root = ElementTree.fromstring(svg(drawing_of(Flow().add(name="a").add(name="b", replicas=9)._spec)))
    rects = {group.get("id"): len(group.findall(f"{SVG}rect")) for group in root.findall(f"{SVG}g")}
    assert rects == {"zf-gateway": 1, "zf-a": 1, "zf-b": 3, "zf-reply": 1}
