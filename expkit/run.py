"""python -m expkit.run …: the command `expkit run`."""

from expkit.cli.run import program

if __name__ == "__main__":
    program()
