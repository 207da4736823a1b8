"""Ids that nobody can guess or repeat: calls, connections, incarnations, nonces."""

from __future__ import annotations

import os


def new_id() -> bytes:
    """16 random bytes; right in every thread and after every fork."""
    return os.urandom(16)
