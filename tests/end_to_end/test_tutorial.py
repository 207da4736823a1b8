"""docs/tutorial.md, typed into two real terminals: they show what the page shows."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.terminals import MISSING, Terminal, commands_in, masked, terminals

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
PORT, HOME = "12345", "/home/me"
PATIENCE = 60.0  # seconds, for a machine that has much else to do


class Reader:
    """Types what the page has them type, and compares all that the two terminals show with what the page shows."""

    def __init__(self, first: Terminal, second: Terminal, folder: Path, port: int) -> None:
        self._terminals = {terminal.prompt: terminal for terminal in (first, second)}
        self._first = first
        self._expected: dict[str, list[str]] = {prompt: [] for prompt in self._terminals}
        self._is_busy: dict[str, bool] = dict.fromkeys(self._terminals, False)
        self._folder, self._port = folder, port

    def read(self, block: str) -> None:
        """A block of the page; one that begins with no prompt is what the first terminal shows next."""
        terminal, lines = self._first, block.splitlines()
        for line in lines:
            prompt, _, command = line.partition(" ")
            if prompt in self._terminals:
                self._settle(terminal)
                terminal = self._terminals[prompt]
                self._type(terminal, command)
            elif line == "^C":
                self._settle(terminal)
                terminal.interrupt()
                self._is_busy[terminal.prompt] = False
            self._expected[terminal.prompt].append(line)
        self._settle(terminal)

    def _type(self, terminal: Terminal, command: str) -> None:
        terminal.type(command.replace(PORT, str(self._port)))
        self._is_busy[terminal.prompt] = command.startswith(("zflow flow", "zflow top"))
        if command.startswith("zflow new flow"):
            self._settle_file()

    def _settle_file(self) -> None:
        """The port of the page, which the file has too, may be somebody else's here."""
        file = self._folder / "hello" / "flow.yml"
        _until(lambda: file.exists() and PORT in file.read_text(), file.name)
        file.write_text(file.read_text().replace(PORT, str(self._port)))

    def _settle(self, terminal: Terminal) -> None:
        """Wait until `terminal` shows what it should by now, and has a prompt again unless it goes on."""
        end = [] if self._is_busy[terminal.prompt] else [terminal.prompt]
        wanted = masked([*self._expected[terminal.prompt], *end])
        deadline = time.monotonic() + PATIENCE
        while (shown := masked(list(map(self._as_on_the_page, terminal.shown())))) != wanted:
            if time.monotonic() > deadline:
                assert shown == wanted
            time.sleep(0.05)

    def _as_on_the_page(self, line: str) -> str:
        return line.replace(str(self._folder), HOME).replace(str(self._port), PORT)


def _until(condition, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.fixture
def reader(tmp_path: Path, ipc_directory: Path, port: int) -> Iterator[Reader]:
    if MISSING:
        pytest.skip(MISSING)
    folder = tmp_path / "home"
    folder.mkdir()
    path = f"{commands_in(tmp_path)}{os.pathsep}{os.environ['PATH']}"
    env = {"PATH": path, "PYTHONPATH": str(ROOT), "LANG": "C.UTF-8", "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    with terminals("12", sockets=ipc_directory, folder=folder, env=env) as (first, second):
        yield Reader(first, second, folder, port)


@pytest.mark.time_limit(240)
def test_the_terminals_show_what_the_page_shows(reader: Reader) -> None:
    assert len(BLOCKS) > 20
    for block in BLOCKS:
        reader.read(block)


def test_the_pages_that_it_names_exist() -> None:
    named = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert named and all((ROOT / "docs" / page).exists() for page in named)
