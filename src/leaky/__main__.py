"""`python -m leaky` is `leaky`."""

from leaky.commands import main

if __name__ == "__main__":
    main()
