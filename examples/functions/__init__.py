"""Lambda code of the examples; it imports nothing else of the project, like the functions of the platform."""
