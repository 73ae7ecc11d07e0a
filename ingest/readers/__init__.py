"""Readers: each turns one kind of file into batches of raw features, in bounded memory."""
