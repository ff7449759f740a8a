"""``python -m netsvc.cli``, for when the console script is not on the path."""

from netsvc.cli.commands import main

__all__: list[str] = []

if __name__ == "__main__":
    main(prog_name="netsvc")
