"""Deletes the bytes of claimed files, and bytes that no file needs: the only function that may delete."""
