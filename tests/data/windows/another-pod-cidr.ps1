if ((Get-NetAdapter -Name 'antrea-gw0').MacAddress -ne '0A-58-0A-0A-07-01') { Set-NetAdapter -Name 'antrea-gw0' -MacAddress '0A-58-0A-0A-07-01' -Confirm:$false }
Enable-NetAdapter -Name 'antrea-gw0' -Confirm:$false
Set-NetIPInterface -InterfaceAlias 'antrea-gw0' -AddressFamily IPv4 -NlMtuBytes 1450 -Forwarding Enabled -PolicyStore ActiveStore
if (-not (Get-NetIPAddress -InterfaceAlias 'antrea-gw0' -IPAddress 10.10.7.1 -ErrorAction Ignore)) { New-NetIPAddress -InterfaceAlias 'antrea-gw0' -IPAddress 10.10.7.1 -PrefixLength 24 -PolicyStore ActiveStore }
if (Get-NetNeighbor -InterfaceAlias 'antrea-gw0' -IPAddress 169.254.0.253 -State Permanent -ErrorAction Ignore) { Set-NetNeighbor -InterfaceAlias 'antrea-gw0' -IPAddress 169.254.0.253 -LinkLayerAddress '0A-58-0A-0A-07-01' } else { New-NetNeighbor -InterfaceAlias 'antrea-gw0' -IPAddress 169.254.0.253 -LinkLayerAddress '0A-58-0A-0A-07-01' -State Permanent -PolicyStore ActiveStore }
if ((Get-NetNat -Name 'antrea-proxy' -ErrorAction Ignore).InternalIPInterfaceAddressPrefix -ne '10.10.7.0/24') { Get-NetNat -Name 'antrea-proxy' -ErrorAction Ignore | Remove-NetNat -Confirm:$false; New-NetNat -Name 'antrea-proxy' -InternalIPInterfaceAddressPrefix '10.10.7.0/24' }
Get-NetIPAddress -InterfaceAlias 'antrea-gw0' -IPAddress 10.10.1.1 -ErrorAction Ignore | Remove-NetIPAddress -Confirm:$false
