"""`python -m neighbourhood`."""

from neighbourhood.cli import main

main()
