"""A notebook: Executors that are defined in cells, in a kernel whose event loop runs and which is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
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
    while not begun.exists():
        assert not asked.done()
        await asyncio.sleep(0.01)
    await notebook.interrupt()
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="KeyboardInterrupt"):
        await asked
    assert await notebook.run("flow.post('/', 'go on').texts") == "['GO ON!']"
    await notebook.run("flow.close(grace=0.5)")
    assert await notebook.run("flow") == "<Flow executor0, not open>"


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
