"""What goes to the head-end. So far one thing: the last gasp, a packet that says that the mains have failed.

The rest of the uplink (the DLMS server northbound, MQTT, backfill) joins it here.
"""
