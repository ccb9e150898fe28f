"""Entry point of the command line."""

from __future__ import annotations

import signal


def main() -> None:
    """Runs the command line; SIGTERM and a closed terminal interrupt it as Ctrl-C does."""
    from ebmark.cli import main as run

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores one
            signal.signal(number, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
