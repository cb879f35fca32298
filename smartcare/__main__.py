"""`python -m smartcare`, which is how the supervisor starts its children."""

from smartcare.cli import main

if __name__ == "__main__":
    main()
