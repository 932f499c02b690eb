"""A rehearsal of the migration: every party in one process, real emulated homes, virtual time.

Source: `smets1.headend.migration` for the parties; here they are wired together, told what to do, and their
story is written down.
"""
