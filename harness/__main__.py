"""Entry point of the command line."""

from __future__ import annotations


def main() -> None:
    """Runs the command line."""
    from ebmark.cli import main as run

    run()


if __name__ == "__main__":
    main()
