"""What runs inside AWS for the examples; packed alone, as the functions of the platform are."""
