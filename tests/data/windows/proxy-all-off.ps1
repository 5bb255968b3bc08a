Get-NetNat -Name 'antrea-proxy-nodeport' -ErrorAction Ignore | Remove-NetNat -Confirm:$false
Get-NetRoute -DestinationPrefix 10.96.0.0/24 -NextHop 169.254.0.253 -RouteMetric 78 -ErrorAction Ignore | Remove-NetRoute -Confirm:$false
Get-NetRoute -DestinationPrefix 169.254.0.252/32 -NextHop 169.254.0.253 -RouteMetric 78 -ErrorAction Ignore | Remove-NetRoute -Confirm:$false
Get-NetRoute -DestinationPrefix 169.254.0.253/32 -NextHop 169.254.0.253 -RouteMetric 78 -ErrorAction Ignore | Remove-NetRoute -Confirm:$false
Get-NetRoute -DestinationPrefix 192.0.2.7/32 -NextHop 169.254.0.253 -RouteMetric 78 -ErrorAction Ignore | Remove-NetRoute -Confirm:$false
Get-NetNeighbor -InterfaceAlias 'antrea-gw0' -IPAddress 169.254.0.253 -State Permanent -ErrorAction Ignore | Remove-NetNeighbor -Confirm:$false
