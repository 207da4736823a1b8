"""A drawing as SVG: a file of its own, without scripts, fonts or anything else from elsewhere; light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import NamedTuple

from zflow.exports.drawing import Arrow, Box, Drawing, rows_of

_CHARACTER = 7.2  # pixels of the widest usual letter at 12 px: a browser's own font may be a little narrower
_LINE = 16.0
_PADDING = 12.0
_BETWEEN_COLUMNS = 56.0
_BETWEEN_ROWS = 22.0
_COPY = 4.0  # by how much the second of several copies looks out behind the first
_PASSING = 10.0  # height of the row that an arrow keeps free where it passes a column

_STYLE = """
    .zf { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
    .zf rect { fill: #f4f7fb; stroke: #4a6fa5; stroke-width: 1.2; }
    .zf .end rect { fill: #e6f4ea; stroke: #3c8d5a; }
    .zf .external rect { stroke-dasharray: 5 4; }
    .zf text { fill: #1b2733; text-anchor: middle; }
    .zf .name { font-weight: 600; }
    .zf .more { fill: #5a6b7d; font-size: 11px; }
    .zf path { fill: none; stroke: #6b7f94; stroke-width: 1.4; }
    .zf path.loose { stroke-dasharray: 5 4; }
    .zf marker path { fill: #6b7f94; stroke: none; }
    @media (prefers-color-scheme: dark) {
      .zf rect { fill: #22303f; stroke: #7ea3d8; }
      .zf .end rect { fill: #1f3a2a; stroke: #6cc08b; }
      .zf text { fill: #e8eef5; }
      .zf .more { fill: #a9b8c8; }
      .zf path { stroke: #93a6ba; }
      .zf marker path { fill: #93a6ba; }
    }"""


class Place(NamedTuple):
    """Where something stands, in pixels: its upper left corner and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


def places_of(drawing: Drawing) -> dict[str | Arrow, list[Place]]:
    """Where each box stands, and where each arrow that is longer than a column passes; no two of them overlap."""
    boxes = {box.name: box for box in drawing.boxes}
    columns = rows_of(drawing)
    heights = [sum(_height(boxes, item) for item in column) + _BETWEEN_ROWS * (len(column) - 1) for column in columns]
    places: dict[str | Arrow, list[Place]] = {}
    x = _PADDING
    for column, height in zip(columns, heights, strict=True):
        width = max(_width(boxes, item) for item in column)
        y = _PADDING + (max(heights) - height) / 2
        for item in column:
            own_width, own_height = _width(boxes, item), _height(boxes, item)
            if isinstance(item, Arrow):
                own_width = width
            place = Place(x + (width - own_width) / 2, y, own_width, own_height)
            places.setdefault(item, []).append(place)
            y += own_height + _BETWEEN_ROWS
        x += width + _BETWEEN_COLUMNS
    return places


def svg(drawing: Drawing) -> str:
    """The picture."""
    places = places_of(drawing)
    everything = [place for each in places.values() for place in each]
    width = max(place.x + place.width for place in everything) + _PADDING + _COPY
    height = max(place.y + place.height for place in everything) + _PADDING + _COPY
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="zf" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"  <title>{escape(drawing.title)}</title>",
        f"  <style>{_STYLE}\n  </style>",
        '  <defs><marker id="zf-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 L8 4 L0 8 z"/></marker></defs>',
        *(_drawn_arrow(arrow, places) for arrow in drawing.arrows),
        *(line for box in drawing.boxes for line in _drawn_box(box, places[box.name][0])),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _width(boxes: Mapping[str, Box], item: str | Arrow) -> float:
    if isinstance(item, Arrow):
        return 0.0
    box = boxes[item]
    return max(len(line) for line in (box.name, *box.lines)) * _CHARACTER + 2 * _PADDING


def _height(boxes: Mapping[str, Box], item: str | Arrow) -> float:
    return _PASSING if isinstance(item, Arrow) else (1 + len(boxes[item].lines)) * _LINE + _PADDING


def _drawn_box(box: Box, place: Place) -> list[str]:
    kind = "end" if box.is_end else "external" if box.is_external else "executor"
    radius = place.height / 2 if box.is_end else 6
    size = f'width="{place.width:.1f}" height="{place.height:.1f}" rx="{radius:.1f}"'
    lines = [f'  <g class="{kind}" id="zf-{escape(box.name)}">']
    for behind in range(min(box.copies, 3) - 1, -1, -1):
        lines.append(f'    <rect x="{place.x + behind * _COPY:.1f}" y="{place.y + behind * _COPY:.1f}" {size}/>')
    x, y = place.x + place.width / 2, place.y + _PADDING / 2 + 12
    for number, line in enumerate((box.name, *box.lines)):
        style = "more" if number else "name"
        lines.append(f'    <text class="{style}" x="{x:.1f}" y="{y + number * _LINE:.1f}">{escape(line)}</text>')
    return [*lines, "  </g>"]


def _drawn_arrow(arrow: Arrow, places: Mapping[str | Arrow, list[Place]]) -> str:
    start, end = places[arrow.start][0], places[arrow.end][0]
    points = [(start.x + start.width, start.middle)]
    for passed in places.get(arrow, ()):
        points += [(passed.x, passed.middle), (passed.x + passed.width, passed.middle)]
    points.append((end.x, end.middle))
    drawn = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        bend = (x1 - x0) / 2 if y0 != y1 else 0
        drawn += f" C{x0 + bend:.1f} {y0:.1f} {x1 - bend:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
    loose = ' class="loose"' if arrow.is_loose else ""
    return f'  <path{loose} d="{drawn}" marker-end="url(#zf-tip)"/>'
