"""``python -m drp``: the command line, where no script was installed."""

from drp.cli.app import main

if __name__ == "__main__":
    main()
