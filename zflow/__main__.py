"""``python -m zflow`` is the command line."""

from zflow.cli import main

if __name__ == "__main__":
    main()
