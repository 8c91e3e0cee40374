"""python -m expkit: as the command `expkit`."""

from expkit.run import program

if __name__ == "__main__":
    program()
