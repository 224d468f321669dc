"""``python -m ampacity.cli`` is ``ampacity``."""

from ampacity.cli import main

if __name__ == "__main__":
    main()
