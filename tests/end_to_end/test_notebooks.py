"""A notebook: Executors that are defined in cells, in a kernel whose event loop runs and which is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import is_alive, wait_for

nbformat = pytest.importorskip("nbformat", reason="the extra test installs nbclient, which needs it")
nbclient = pytest.importorskip("nbclient", reason="the extra test installs it")
pytest.importorskip("ipykernel", reason="the extra test installs it")

DEFINE = """
import time
from zflow import AsyncClient, Client, Document, Executor, Flow, requests

MARK = "!"

class Shout(Executor):
    @requests
    def shout(self, docs, **kwargs):
        docs.texts = [text.upper() + MARK for text in docs.texts]

    @requests(on="/count")
    def count(self, **kwargs):
        for number in range(1_000_000):
            yield Document(text=str(number))

    @requests(on="/until")
    def until(self, parameters, **kwargs):
        try:
            for number in range(1_000_000):
                yield Document(text=str(number))
                time.sleep(0.01)
        finally:
            open(parameters["over"], "w").close()

    @requests(on="/sleep")
    def sleep(self, parameters, **kwargs):
        open(parameters["begun"], "w").close()
        time.sleep(60)
"""


class Notebook:
    """A kernel, to which cells are given one by one."""

    def __init__(self, folder: Path) -> None:
        self._book = nbformat.v4.new_notebook()
        self._client = nbclient.NotebookClient(
            self._book, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
        )

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Notebook]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        async with self._client.async_setup_kernel(env=environment):
            yield self

    async def run(self, source: str) -> str:
        """What the cell prints, and the text of its last expression. Raises CellExecutionError where it raises."""
        told = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in await self._do(source)]
        return "".join(told).strip()

    async def show(self, source: str) -> dict[str, str]:
        """The forms in which the last expression of the cell is shown, by media type."""
        [shown] = [output["data"] for output in await self._do(source) if "data" in output]
        return dict(shown)

    async def _do(self, source: str) -> list[Any]:
        self._book.cells.append(nbformat.v4.new_code_cell(source))
        done = await self._client.async_execute_cell(self._book.cells[-1], len(self._book.cells) - 1)
        return list(done.outputs)

    async def interrupt(self) -> None:
        await self._client.km.interrupt_kernel()


def in_a_notebook(test: Callable[[Notebook], Awaitable[None]]) -> Callable[[Path], None]:
    """A test that is given an open notebook."""

    def run(tmp_path: Path) -> None:
        async def opened() -> None:
            async with Notebook(tmp_path).open() as notebook:
                await test(notebook)

        asyncio.run(opened())

    run.__name__, run.__doc__ = test.__name__, test.__doc__  # type: ignore[attr-defined]
    return run


@in_a_notebook
async def test_a_class_of_a_cell_is_served_and_one_of_a_later_cell_replaces_it(notebook: Notebook) -> None:
    await notebook.run(DEFINE)
    use = "with Flow(quiet=True).add(uses=Shout, replicas=2) as flow:\n    print(*flow.post('/', 'hello').texts)"
    assert await notebook.run(use) == "HELLO!"
    await notebook.run(DEFINE.replace('"!"', '"?"'))
    assert await notebook.run(use) == "HELLO?"


@in_a_notebook
async def test_a_flow_stays_open_from_cell_to_cell(notebook: Notebook) -> None:
    await notebook.run(DEFINE)
    await notebook.run("flow = Flow(quiet=True).add(uses=Shout).start()")
    assert await notebook.run("flow.post('/', 'again').texts") == "['AGAIN!']"
    stream = "for document in flow.stream('/count'):\n    if document.text == '3':\n        break\ndocument.text"
    assert await notebook.run(stream) == "'3'"
    asking = "async with AsyncClient(port=flow.port) as client:\n    print((await client.post('/', 'awaited')).texts)"
    assert await notebook.run(asking) == "['AWAITED!']"
    await notebook.run("flow.close()")


@in_a_notebook
async def test_a_flow_is_drawn_where_it_is_the_last_word_of_a_cell(notebook: Notebook) -> None:
    await notebook.run(DEFINE)
    shown = await notebook.show("Flow().add(uses=Shout, name='shout', replicas=3)")
    assert shown["image/svg+xml"].startswith("<svg") and "shout" in shown["image/svg+xml"]
    assert shown["text/plain"] == "<Flow shout, not open>"


@in_a_notebook
async def test_an_interrupted_cell_leaves_the_flow_usable(notebook: Notebook) -> None:
    await notebook.run(DEFINE)
    begun = Path(await notebook.run("import os, tempfile\nprint(os.path.join(tempfile.mkdtemp(), 'begun'))"))
    await notebook.run("flow = Flow(quiet=True).add(uses=Shout, replicas=2).start()")
    asked = asyncio.create_task(notebook.run(f"flow.post('/sleep', parameters={{'begun': {str(begun)!r}}})"))
    await exists(begun, asked)
    await notebook.interrupt()
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="KeyboardInterrupt"):
        await asked
    assert await notebook.run("flow.post('/', 'go on').texts") == "['GO ON!']"
    await notebook.run("flow.close(grace=0.5)")
    assert await notebook.run("flow") == "<Flow executor0, not open>"


@in_a_notebook
async def test_a_session_from_the_first_cell_to_the_last(notebook: Notebook) -> None:
    """Define, open, call, stream, look, interrupt in the middle of a stream, and go on; at the end nothing is left."""
    await notebook.run(DEFINE)
    folder = Path(await notebook.run("import tempfile\nprint(tempfile.mkdtemp())"))
    await notebook.run("flow = Flow(quiet=True).add(uses=Shout, name='shout', replicas=2).start()")
    processes = [int(pid) for pid in (await notebook.run("print(*(item.pid for item in flow.status()))")).split()]
    shown = await notebook.show("flow.post('/', [Document(text='<b>'), Document(text='c')])")
    assert "&lt;B&gt;!" in shown["text/html"] and "<B>" not in shown["text/html"]
    assert shown["text/plain"] == "<DocumentArray (length=2)>"
    assert "2/2 docs" in await notebook.run("flow.post('/', ['a', 'b'], show_progress=True)")
    stream = "for document in flow.stream('/count'):\n    if document.text == '3':\n        break\ndocument.text"
    assert await notebook.run(stream) == "'3'"
    assert (await notebook.show("flow"))["image/svg+xml"].startswith("<svg")
    await notebook.run(f"flow.plot({str(folder / 'flow.svg')!r})")
    assert "shout" in (folder / "flow.svg").read_text()

    endless = f"for document in flow.stream('/until', parameters={{'over': {str(folder / 'over')!r}}}):\n"
    endless += f"    open({str(folder / 'begun')!r}, 'w').close()"
    reading = asyncio.create_task(notebook.run(endless))
    await exists(folder / "begun", reading)
    await notebook.interrupt()
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="KeyboardInterrupt"):
        await reading
    await exists(folder / "over")  # the generator is told, and ends
    assert await notebook.run(stream) == "'3'"
    assert await notebook.run("flow.post('/', 'go on').texts") == "['GO ON!']"

    await notebook.run("flow.close()")
    assert not any(map(is_alive, processes))
    left = "import glob, os\nprint(*glob.glob(os.path.join(tempfile.gettempdir(), 'zflow-*')))"
    assert await notebook.run(left) == ""


async def exists(path: Path, meanwhile: asyncio.Task[str] | None = None) -> None:
    """Wait until there is such a file; no longer than `meanwhile` is under way."""
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline and not (meanwhile and meanwhile.done()), path.name
        await asyncio.sleep(0.01)


def test_a_kernel_that_ends_takes_its_flows_along(tmp_path: Path) -> None:
    started: list[int] = []

    @in_a_notebook
    async def leave_a_flow_open(notebook: Notebook) -> None:
        await notebook.run(DEFINE)
        await notebook.run("flow = Flow(quiet=True).add(uses=Shout).start()")
        started.extend(map(int, (await notebook.run("print(*(item.pid for item in flow.status()))")).split()))

    leave_a_flow_open(tmp_path)
    assert len(started) == 2
    wait_for(lambda: not any(map(is_alive, started)), "the processes of the Flow to end")
