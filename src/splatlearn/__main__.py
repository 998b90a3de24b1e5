"""`python -m splatlearn` is the command `splatlearn`."""

from splatlearn.cli import main

if __name__ == "__main__":
    main()
