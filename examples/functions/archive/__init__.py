"""Keeps what the platform announces."""
