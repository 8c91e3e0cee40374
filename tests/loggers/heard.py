"""A logger that keeps the messages to the user."""

from expkit.loggers.base import Logger


class Heard(Logger):
    """Keeps the messages."""

    direct = True

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)
