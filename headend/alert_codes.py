"""What the alert and event codes of SMETS1 devices mean, for alerts and for logs.

Source: device facts, alert and event codes in use.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DEVICE_ALERTS", "FUTURE_DATED_EXECUTED"]

DEVICE_ALERTS: Final = {
    0x810D: "Credit below low credit threshold",
    0x810E: "Credit added locally",
    0x8119: "Emergency credit available",
    0x8168: "Supply disabled, then armed",
    0x8183: "Joined the HAN",
    0x819D: "GSME command not retrieved",
    0x81A7: "Debt collected, time based register 1",
    0x81A8: "Debt collected, time based register 2",
    0x81A9: "Debt collected, payment based register",
    0x81AA: "Emergency credit exhausted",
    0x81AB: "Emergency credit activated",
    0x81BE: "Supply disabled and locked",
    0x81BF: "Supply disabled, then armed: uncontrolled gas flow",
    0x8F0A: "Billing data log updated",
    0x8F0F: "Credit below disablement threshold",
    0x8F12: "CHF device log changed",
    0x8F1C: "Firmware verification failed",
    0x8F1D: "GSME power loss",
    0x8F1F: "Low battery capacity",
    0x8F30: "Command without authority",
    0x8F32: "Supply armed",
    0x8F33: "Load limit exceeded",
    0x8F34: "Load limit restored",
    0x8F35: "Supply outage restored",
    0x8F36: "Supply outage restored after three minutes or more",
    0x8F3D: "Trusted source authentication failure",
    0x8F3E: "Unauthorised communication access attempted",
    0x8F3F: "Tamper detected",
    0x8F52: "Event log cleared",
    0x8F60: "Unusual number of malformed commands",
    0x8F66: "Future dated command executed",
    0x8F67: "Future dated command failed",
    0x8F69: "Device commissioned",
    0x8F70: "Security credentials updated",
    0x8F72: "Firmware verified",
    0x8F83: "Disablement suspended",
}
FUTURE_DATED_EXECUTED: Final = 0x8F66
