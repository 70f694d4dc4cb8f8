"""Ends what was claimed, and removes bytes that nobody may have: the only function that deletes."""
