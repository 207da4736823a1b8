"""A drawing as Mermaid text, which many Markdown readers draw."""

from __future__ import annotations

from zflow.exports.drawing import Box, Drawing


def mermaid(drawing: Drawing) -> str:
    """The text of a flowchart from left to right."""
    lines = ["flowchart LR"]
    for box in drawing.boxes:
        opening, closing = ("([", "])") if box.is_end else ("[[", "]]") if box.copies > 1 else ("[", "]")
        lines.append(f'    {_id(box)}{opening}"{_text(box)}"{closing}')
    named = {box.name: box for box in drawing.boxes}
    for arrow in drawing.arrows:
        shaft = "-.->" if arrow.is_loose else "-->"
        lines.append(f"    {_id(named[arrow.start])} {shaft} {_id(named[arrow.end])}")
    external = [_id(box) for box in drawing.boxes if box.is_external]
    if external:
        lines.append("    classDef external stroke-dasharray: 5 5")
        lines.append(f"    class {','.join(external)} external")
    return "\n".join(lines) + "\n"


def _id(box: Box) -> str:
    """Mermaid has words of its own, such as ``end``."""
    return f"{'to' if box.is_end else 'node'}_{box.name}"


def _text(box: Box) -> str:
    lines = [box.name, *box.lines]
    return "<br/>".join(
        line.replace("&", "&amp;").replace('"', "#quot;").replace("<", "&lt;").replace(">", "&gt;") for line in lines
    )
