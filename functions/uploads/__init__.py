"""Uploads of any size: the caller sends the bytes to S3 itself, in one piece or in parts."""
