"""What should be balanced: from the cluster's state to load balancers, each with its reasons.

Pure: knows no word of OVS (table, flow, group), no clock, no logging.
"""
