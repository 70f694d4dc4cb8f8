"""`make bench`: compares Sluice with its alternatives, in one run on one machine."""
