"""The crypto block of a ZigBee Smart Energy device: hash, frame cipher, certificates, key establishment.

In: octets and keys. Out: octets and keys. Nothing here does I/O, reads a clock or draws a random
number; where randomness is needed, a `random.Random` is passed in.

- `mmo`: AES-MMO hash, HMAC-MMO, install codes (Zigbee 05-3474-21, B.1.3, B.1.4, B.6; SE 1.4, 5.4.8.1).
- `ccm`: CCM* ENC-MIC-32, key-transport and key-load keys (Zigbee 05-3474-21, annex A, 4.5.3).
- `binary_curve`: sect163k1 and sect283k1 (SEC 2).
- `cbke`: implicit certificates, ECMQV, the key-establishment values of one side, a test CA (SE 1.4, annex C).

Left out: security levels other than 5; certificate validity dates and key usage are carried, not judged;
the cluster's state machine (it lives with the ZCL clusters). The curve arithmetic is not constant time.
The CA is our own: no real GB device accepts its certificates, and none of theirs verifies here
without their CA's public key.

Vectors: `tests/vectors/cbke_suite1.json`, `cbke_suite2.json`. Try: `python tests/benchmarks/bench_cbke.py`
"""
