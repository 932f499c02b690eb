"""DUIS documents: strict reading of requests, building and signing of responses. No decisions.

In: octets from a service user. Out: `request.DuisRequest`; octets of a schema-valid `sr:Response`.
Namespaces and types follow DUIS-5.4.xsd and MMC-5.4.xsd, which a user may give by folder
(`schema.SchemaValidator`) but which are not part of this product.
Left out: response signatures of the DSP itself (the schema has them optional).
"""
