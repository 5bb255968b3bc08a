Get-NetRoute -DestinationPrefix 10.10.2.0/24 -NextHop 10.10.2.1 -RouteMetric 78 -ErrorAction Ignore | Remove-NetRoute -Confirm:$false
Get-NetNeighbor -InterfaceAlias 'antrea-gw0' -IPAddress 10.10.2.1 -State Permanent -ErrorAction Ignore | Remove-NetNeighbor -Confirm:$false
