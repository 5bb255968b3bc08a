Get-NetNatStaticMapping -NatName 'antrea-proxy-nodeport' -ErrorAction Ignore | Where-Object { $_.Protocol -eq 'UDP' -and $_.ExternalPort -eq 30053 } | Remove-NetNatStaticMapping -Confirm:$false
