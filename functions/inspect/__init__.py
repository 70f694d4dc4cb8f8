"""The inspection of a file in its workflow: compares the stored bytes with the record."""
