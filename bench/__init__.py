"""Measures zflow beside its floor (bare pyzmq and msgpack) in one run: `python -m bench`; see README.md."""
