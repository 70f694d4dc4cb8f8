"""Tells the operator's receivers what happened to files, signed."""
