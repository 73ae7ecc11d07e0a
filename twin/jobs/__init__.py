"""Uploads and the queue of jobs."""
