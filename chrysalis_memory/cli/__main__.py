"""``python -m chrysalis_memory.cli``: the command line without an installed program."""

from chrysalis_memory.cli import main

if __name__ == "__main__":
    main()
