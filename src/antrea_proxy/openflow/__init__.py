"""OpenFlow 1.5 with the Nicira extensions that the pipeline uses, as values and bytes (sans-IO).

Pure: knows no Kubernetes word, opens no socket, awaits nothing.
"""
