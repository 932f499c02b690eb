"""What a person starts: the command `smets1`, home files, the embedded broker, the pytest plugin.

Tools join the parts into programs; nothing imports them. `cli.py` is the command, one module a
sub-command under `commands/`, imported only when it is asked for. `home_file.py` reads home.toml.
The shell scripts beside them (`demo`, `test`, `bootstrap.sh`, `outsiders`) set up a fresh machine
and are not part of the installed package.

Try it: `smets1 --help`
"""
