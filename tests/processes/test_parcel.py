"""What travels to a child, and how classes do."""

from __future__ import annotations

import importlib.util
import pickletools
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from zflow.errors import ConfigError
from zflow.processes import parcel
from zflow.processes.restart_policy import Restart, RestartPolicy


class OfThisModule:
    answer = 42


def load(path: Path, name: str) -> ModuleType:
    """A module that is loaded, but that nobody else could import by its name."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def in_another_process(packed: bytes, expression: str) -> str:
    """`expression` of ``it``, unpacked where nothing of this process is known."""
    script = (
        f"import sys; sys.path[:] = {[entry for entry in sys.path if entry]!r}; from zflow.processes import parcel; "
        f"it = parcel.unpack(sys.stdin.buffer.read()); print({expression})"
    )
    done = subprocess.run([sys.executable, "-c", script], input=packed, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def mentions(packed: bytes, text: str) -> bool:
    return any(argument == text for _, argument, _ in pickletools.genops(packed))


def test_an_importable_class_travels_by_reference() -> None:
    packed = parcel.pack("it", {"class": RestartPolicy, "value": Restart(1.0, False)}, (RestartPolicy,))
    assert len(packed) < 300
    assert mentions(packed, "zflow.processes.restart_policy")
    assert parcel.unpack(packed)["class"] is RestartPolicy


def test_a_class_of_a_module_that_cannot_be_imported_travels_by_value(tmp_path: Path) -> None:
    path = tmp_path / "loaded_in_a_way_of_its_own.py"
    path.write_text("factor = 6\nclass Times:\n    def of(self, number):\n        return number * factor\n")
    module = load(path, "loaded_in_a_way_of_its_own")
    try:
        packed = parcel.pack("it", module.Times, (module.Times,))
    finally:
        del sys.modules["loaded_in_a_way_of_its_own"]
    assert in_another_process(packed, "it().of(7)") == "42"


def test_so_does_one_that_derives_from_it(tmp_path: Path) -> None:
    path = tmp_path / "loaded_for_its_base.py"
    path.write_text("class Base:\n    answer = 42\n")
    module = load(path, "loaded_for_its_base")

    class Derived(module.Base):  # type: ignore[name-defined, misc]
        pass

    try:
        packed = parcel.pack("it", Derived, (Derived,))
    finally:
        del sys.modules["loaded_for_its_base"]
    assert in_another_process(packed, "it.answer") == "42"


def test_another_file_of_the_same_name_is_not_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class must not be found in a file that happens to have its module's name."""
    (tmp_path / "found").mkdir()
    (tmp_path / "used").mkdir()
    (tmp_path / "found" / "of_one_name.py").write_text("class It:\n    which = 'found'\n")
    (tmp_path / "used" / "of_one_name.py").write_text("class It:\n    which = 'used'\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "found")])
    module = load(tmp_path / "used" / "of_one_name.py", "of_one_name")
    try:
        packed = parcel.pack("it", module.It, (module.It,))
    finally:
        del sys.modules["of_one_name"]
    assert in_another_process(packed, "it.which") == "used"


def test_code_that_travels_by_value_keeps_the_name_of_its_file() -> None:
    def answer() -> str:
        def inner() -> None: ...

        return inner.__code__.co_filename

    packed = parcel.pack("it", answer)
    assert in_another_process(packed, "it.__code__.co_filename + ' ' + it()") == f"{__file__} {__file__}"


def test_classes_of_functions_and_of_tests_travel() -> None:
    class OfThisFunction(OfThisModule):
        other = OfThisModule.answer + 1

    packed = parcel.pack("it", OfThisFunction, (OfThisFunction,))
    assert in_another_process(packed, "it.answer, it.other") == "42 43"


def test_afterwards_classes_are_pickled_as_before() -> None:
    import cloudpickle

    before = set(cloudpickle.list_registry_pickle_by_value())
    parcel.pack("it", OfThisModule, (OfThisModule,))
    with pytest.raises(ConfigError):
        parcel.pack("it", threading.Lock(), (OfThisModule,))
    assert set(cloudpickle.list_registry_pickle_by_value()) == before


def test_what_is_no_class_needs_no_looking_up() -> None:
    targets: tuple[Any, ...] = ("module:Class", None)
    assert parcel.unpack(parcel.pack("it", 1, targets)) == 1


def test_what_cannot_be_pickled_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"executor0/rep-0 cannot be sent .*lock.*uses_with"):
        parcel.pack("executor0/rep-0", {"lock": threading.Lock()})
