"""Both sides of each codec case can be prepared and run without sockets."""

from __future__ import annotations

import pytest

from bench import codec


@pytest.mark.parametrize("case", codec.SIDES)
@pytest.mark.parametrize("side", ["floor", "zflow"])
def test_a_codec_case_gives_a_time_per_round(case, side):
    with codec.SIDES[case][side]() as block:
        assert len(block(2)) == 2
