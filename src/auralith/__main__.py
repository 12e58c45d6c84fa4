"""`python -m auralith`."""

from auralith.cli.main import main

if __name__ == "__main__":
    main()
