"""Streams: live series of timed values, their one writer, their latest values, history and roll-ups."""
