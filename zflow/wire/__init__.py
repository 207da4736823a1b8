"""What travels: the frames of a message, its header, its payload. protocol/SPEC.md is the law of this package."""
