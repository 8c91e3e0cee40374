"""python -m expkit COMMAND …: the command `expkit`."""

from expkit.cli.main import program

if __name__ == "__main__":
    program()
