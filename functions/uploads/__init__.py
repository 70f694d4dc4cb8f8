"""Uploads of any size: the caller sends the bytes directly to S3, in one request or in parts."""
