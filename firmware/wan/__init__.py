"""The WAN between head end and hub: messages, links that carry them, and the two ends.

Imitates the cellular link of a SMETS1 communications hub, as MQTT (QoS 1, persistent sessions, will).
In: `WanRequest` for a device of a hub. Out: one `WanResponse` for each, and `WanEvent`s.

- `messages`: the five CBOR messages and their topics.
- `link`: what carries them (`WanLink`); `memory`: a broker in virtual time; `mqtt`: aiomqtt.
- `end`: what both ends share: commit, then send; `outbox`: what to say until the other end has it.
- `hub_end`: executes each request once, keeps answers and events until receipted.
- `head_end`: asks, keeps requests until answered or expired; suppresses duplicate events.

No broker's acknowledgement counts as durable: each end keeps its own in NVM until the other end answers.
Described for other programs in docs/wan.md. Left out: MQTT 5, shared subscriptions, compression, the
real operators' protocols (not published).
Vectors: tests/vectors/wan_messages.json.
"""
