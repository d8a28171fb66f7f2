"""`python -m ollama_jupyter`: the command line."""

import sys

from ollama_jupyter.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
