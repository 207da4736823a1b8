"""A test that takes too long or leaves something behind fails itself, and only itself."""

from __future__ import annotations

from pathlib import Path

import pytest

import zflow

pytest_plugins = ["pytester"]

CHECKOUT = Path(zflow.__file__).parents[1]

CASES = """
import subprocess, sys, tempfile, threading
import pytest

LEFT = []

def test_leaves_a_child():
    LEFT.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]))

def test_leaves_a_directory_of_sockets():
    tempfile.mkdtemp(prefix="zflow-")

@pytest.mark.time_limit(0.05)
def test_takes_too_long():
    threading.Event().wait(600)

def test_leaves_a_grandchild():
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

def test_leaves_nothing():
    with tempfile.TemporaryDirectory(prefix="zflow-"):
        subprocess.run([sys.executable, "-c", ""], check=True)

@pytest.mark.full
def test_that_takes_long():
    pass
"""


@pytest.fixture
def run_cases(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    pytester.makepyfile(CASES)
    return lambda *options: pytester.runpytest_subprocess("-p", "tests.conftest", "-p", "no:cacheprovider", *options)


def test_each_offender_fails_with_what_it_did(run_cases):
    result = run_cases()
    result.assert_outcomes(passed=4, failed=1, errors=3, deselected=1)
    result.stdout.fnmatch_lines_random(
        [
            "*left behind: the process * time.sleep(600)*",
            "*left behind: the directory zflow-*",
            "*took longer than 0.05 s*",
            "*processes that outlived the tests of this session: * time.sleep(600)*",
        ]
    )


def test_the_long_ones_run_when_asked_for(run_cases):
    run_cases("--full", "-k", "takes_long").assert_outcomes(passed=1, deselected=5)
