"""Signed requests to the operator's receivers about the events of files."""
