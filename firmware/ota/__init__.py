"""Firmware over the air: what travels in image files, and who asks whom for which octets.

`image_file` is the file format, `client` and `server` are value machines of the two ends of the OTA
Upgrade cluster, `service` joins them to a live device. Where an image is kept, and how a device starts
it and falls back, is `firmware.images`.

In: an OTA file's octets at the hub. Out: a device that runs another version.
Documents: ZCL 07-5123 rev 7, chapter 11 (OTA Upgrade).
Left out: files for several devices in one, Query Specific File, and code: an image here changes the
version that a device shows, not what the emulator runs.
Try: `python -m pytest tests/firmware/ota`.
"""
