"""Lets `python -m twin` be the same as `twin`."""

from twin.cli import main

# A helper process imports this module again, and must not run the command a second time.
if __name__ == "__main__":
    main()
