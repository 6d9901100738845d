"""`python -m summand` is the `summand` command."""

from .cli import main

if __name__ == "__main__":
    main()
