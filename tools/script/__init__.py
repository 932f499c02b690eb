"""Scripted scenarios: a home, what happens to it, how it must stand; and the same on other radios, compared.

In: a home file with `[[step]]` tables. Out: a story in lines, a verdict, captures with their keys, and what
the captures of two worlds do not have in common.

    title = "A top-up"
    [[step]]
    do = "join"
    [[step]]
    do = "top-up"
    device = "esme"
    pounds = 10

`steps.py` lists what a step can do. Left out: branches and loops; pytest and `smets1_home` are for those.
Try: `smets1 scenario docs/examples/morning.toml --on air: --on ezsp:simulated`.
"""
