"""One monitor per kind of notice: where it is published and what its text means."""
