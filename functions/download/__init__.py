"""GET /files/{file_id}/content: a short-lived link to a file."""
