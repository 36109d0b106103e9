"""`python -m adl.commands`: the `adl` command where it is not installed."""

from adl.commands import main

main()
