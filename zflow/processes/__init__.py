"""Processes: how a plan comes to life on this machine, is watched, and ends."""
