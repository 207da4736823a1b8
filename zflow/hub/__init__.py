"""Executors in a registry of containers (any that follows the OCI distribution specification), and from there."""
