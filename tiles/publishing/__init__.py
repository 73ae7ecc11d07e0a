"""Uploads and jobs over HTTP."""
