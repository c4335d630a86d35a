"""`python -m leaky` is `leaky`."""

from leaky.cli import main

if __name__ == "__main__":
    main()
