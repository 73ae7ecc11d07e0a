"""Streams over HTTP: which there are, what they are now, what they were, and the state of a layer."""
