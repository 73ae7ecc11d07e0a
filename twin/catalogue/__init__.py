"""Agencies, layers and their versions: reading, staging, swapping, comparing."""
