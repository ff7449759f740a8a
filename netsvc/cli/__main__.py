"""``python -m netsvc.cli``, where the console script is not on the path."""

from netsvc.cli.commands import main

main(prog_name="netsvc")
