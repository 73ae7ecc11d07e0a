"""Lets `python -m twin` be the same as `twin`."""


def main() -> None:
    """Run the `twin` command."""
    from twin.cli import main as run

    run()


# A helper process imports this module again: it must neither run the command a second time nor load all of it.
if __name__ == "__main__":
    main()
