"""zflow: a ZeroMQ peer-to-peer runtime for Python."""
