"""An embedded AWS for tests: ministack in a process of its own, made to answer as AWS does where it did not."""
