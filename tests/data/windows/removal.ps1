Get-NetNat -Name 'antrea-proxy-nodeport' -ErrorAction Ignore | Remove-NetNat -Confirm:$false
Get-NetNat -Name 'antrea-proxy' -ErrorAction Ignore | Remove-NetNat -Confirm:$false
Get-NetRoute -RouteMetric 78 -ErrorAction Ignore | Remove-NetRoute -Confirm:$false
Get-NetNeighbor -InterfaceAlias 'antrea-gw0' -State Permanent -ErrorAction Ignore | Remove-NetNeighbor -Confirm:$false
Get-NetIPAddress -InterfaceAlias 'antrea-gw0' -PrefixOrigin Manual -ErrorAction Ignore | Remove-NetIPAddress -Confirm:$false
