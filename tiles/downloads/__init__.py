"""Whole layers as files, prepared once for each version."""
