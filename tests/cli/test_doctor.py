"""`zflow doctor`: a line for each finding, and an exit code for scripts."""

from __future__ import annotations

import json
import socket

from click.testing import CliRunner

from zflow.cli import main


def test_a_line_for_each_thing_and_what_to_do_where_it_is_not_well() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        result = CliRunner().invoke(main, ["doctor", "--port", port])
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0].startswith("ok    python         3.")
    [at] = [number for number, line in enumerate(lines) if line.startswith(f"fail  port {port}")]
    assert lines[at + 1].strip() == "-> end that process, or take another port"


def test_for_programs() -> None:
    result = CliRunner().invoke(main, ["doctor", "--json"])
    findings = json.loads(result.output)
    assert result.exit_code == 0
    assert {"python", "libzmq", "descriptors", "shared memory", "ipc folder", "keys", "docker", "clock", "a Flow"} <= {
        finding["name"] for finding in findings
    }
    assert all(finding.keys() == {"name", "state", "told", "remedy"} for finding in findings)
