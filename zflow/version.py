"""The version of zflow, told once."""

__version__ = "0.1.0"
SOFTWARE = f"zflow/{__version__}"
