"""The rules behind alarms, by concern; each looks at one report and those before it. Without torch."""
