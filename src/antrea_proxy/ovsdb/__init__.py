"""The switch's configuration: bridge, ports and external_ids in the Open vSwitch database.

Never speaks OpenFlow, and knows nothing of Services.
"""
