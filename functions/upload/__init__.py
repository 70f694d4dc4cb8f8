"""POST /upload: a small file in one request."""
