"""``python -m zflow`` is the command line."""

from zflow.cli import main

if __name__ == "__main__":
    main(prog_name="zflow")  # as the installed command; click asks the name for what completes it
