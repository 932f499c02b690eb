"""The migration of SMETS1 homes of the Group ID DA: from authorisation to Commissioning Outcome File.

Imitates what TMAD describes for MOC Secure: suppliers authorise (MA), the Requesting Party checks and files
(MCF, MEF), the S1SP and the DCO each validate (MVF), secure both meters under a new SUA key that they make
together, and report (SCF); the Commissioning Party commissions (COF). In: signed XML files and the answers of
devices over the WAN. Out: signed XML files, DUIS requests, homes under the S1SP's and the DCO's keys.

- `element`, `files`, `envelope`: the files as values; as XML with a schema; signed, counted, bounded.
- `hpke`, `sua_envelope`: EncryptedSUAKey.
- `file_set`, `file_store`: which files belong together; those that a party has in hand.
- `checks`, `rp_checks`, `registry`: what is checked of a home, against what.
- `progress`: the state machine of one home; `timers`: 24 h, 48 h, 60 days.
- `probe`: what is asked of devices; `smso`, `requesting_party`, `mcc`, `commissioning`: the parties around.
- `s1sp_desk` (files), `s1sp_homes` (books), `s1sp_drive` (each home to its end); `dco_desk`: the two that
must agree; `dco_calls`, `dco_process`: the DCO as a process.
- `utrn_period`: 3.14B to D. `separation`: 3.14E.

Sources: DCC's TMAD consultation for MOC Secure (March 2020), its migration guide (March 2019), Uplift 1.2.
Most of TMAD itself is not public here: docs/assumptions.md lists what is ours. Left out: other groups'
securing (their files are read and refused as the rules say), forecasts and demand, SharePoint.
Try it: `smets1 scenario --list`, `smets1 migrate`.
"""
