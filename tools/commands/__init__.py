"""One module a sub-command of `smets1`: `add_arguments(parser)` and `run(args) -> exit code`.

`tools/cli.py` imports only the one that is asked for. What is slow to import (aiohttp, lxml, the
stack) is imported inside `run`, so that every --help answers in under 0.2 s.
"""
