"""`python -m alledge` is `alledge`."""

from alledge.cli import main

main()
