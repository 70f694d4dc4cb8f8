"""An owner's files: list, read, download, delete."""
