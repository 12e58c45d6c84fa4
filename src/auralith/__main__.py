"""The command `auralith`, also as `python -m auralith`."""

from auralith.signals import ENDING, handle, leave_at_once


def main() -> None:
    """Run the command that the process was started with; a signal that comes while it is loaded ends it with a line."""
    handle(ENDING, leave_at_once)
    from auralith.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
