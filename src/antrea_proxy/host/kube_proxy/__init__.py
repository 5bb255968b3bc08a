"""What kube-proxy left on a Node: found, told, removed; nothing of anybody else's is touched.

Dumps are read and judged by pure functions (`names`, `chains`, `iptables_save`, `nft_listing`, `ipvs`, `plan`).
`looking` and `removal` alone run programs.
"""
