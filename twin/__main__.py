"""Lets `python -m twin` be the same as `twin`."""

from twin.cli import main

main()
