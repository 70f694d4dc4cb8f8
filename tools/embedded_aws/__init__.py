"""An embedded AWS for tests: ministack in a separate process, with fixes so that it answers as AWS does."""
