"""The developers' door: tiles and vector APIs over HTTP."""
