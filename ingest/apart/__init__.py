"""Reading a file in a process apart: without network, database, secrets or rights beyond the file's own folder."""
