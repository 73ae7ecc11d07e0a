"""`/live`: changes of the city, sent while they happen."""
