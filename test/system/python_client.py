"""Builds and takes down a network with MidoNet's own Python client (midonetclient 5.2), as its users' scripts do.

    python_client.py http://127.0.0.1:8181/midonet-api TOKEN HOST_ID

The client was written for Python 2; what it needs of that is put in place here, its own code is unchanged. Prints one line
of JSON: what the client saw.
"""
import base64
import builtins
import importlib.util
import json
import os
import sys
import urllib
import urllib.parse

urllib.urlencode = urllib.parse.urlencode
_b64encode = base64.b64encode
base64.b64encode = lambda data: _b64encode(data.encode() if isinstance(data, str) else data).decode()
_map = builtins.map
builtins.map = lambda *args: list(_map(*args))
# The client imports its own modules without naming the package.
sys.path.insert(0, os.path.dirname(importlib.util.find_spec('midonetclient').origin))

import webob.exc  # noqa: E402
from midonetclient import api, auth_lib  # noqa: E402

uri, token, host_id = sys.argv[1:4]
auth_lib._token = token
mido = api.MidonetApi(uri, 'whoever', 'has the token')
tenant = 'python'
seen = {}


def refused(what, call, expected):
    try:
        call()
    except expected as error:
        seen[what] = json.loads(error.detail if isinstance(error.detail, str) else error.detail.decode())['code']
        return
    raise AssertionError('%s was not refused' % what)


bridge = mido.add_bridge().name('b').tenant_id(tenant).create()
router = mido.add_router().name('r').tenant_id(tenant).create()
bridge_port = mido.add_bridge_port(bridge).create()
vm_port = bridge.add_port().create()
router_port = (router.add_port().port_address('10.0.0.1').network_address('10.0.0.0').network_length('24').create())
mido.link(router_port, bridge_port.get_id())
bridge_port.get()
assert bridge_port.get_peer_id() == router_port.get_id()
seen['peers'] = [port.get_id() == router_port.get_id() for port in bridge.get_peer_ports()]
seen['vlan'] = bridge_port.get_vlan_id()

route = mido.add_router_route(router, route_type='Normal', src_network_addr='0.0.0.0', src_network_length=0,
                              dst_network_addr='192.168.0.0', dst_network_length='16',
                              next_hop_port=router_port.get_id(), next_hop_gateway='10.0.0.254', weight='100')
seen['routes'] = sorted((r.get_type(), r.get_dst_network_addr(), int(r.get_dst_network_length()), r.get_weight())
                        for r in router.get_routes())

# Change what was read and send all of it back, links and nulls included.
bridge.name('renamed').update()
vm_port.admin_state_up(False).update()
vm_port.admin_state_up(True).update()
seen['renamed'] = mido.get_bridge(bridge.get_id()).get_name()
seen['listed'] = [b.get_name() for b in mido.get_bridges({'tenant_id': tenant})]

chain = mido.add_chain().name('in').tenant_id(tenant).create()
other = mido.add_chain().name('more').tenant_id(tenant).create()
group = mido.add_port_group().name('pg').tenant_id(tenant).stateful(True).create()
group.add_port_group_port().port_id(vm_port.get_id()).create()
seen['group ports'] = [p.get_port_id() == vm_port.get_id() for p in group.get_ports()]
seen['port groups'] = [p.get_port_group_id() == group.get_id() for p in vm_port.get_port_groups()]
seen['groups of port'] = [g.get_name() for g in mido.get_port_groups({'port_id': vm_port.get_id()})]
addresses = mido.add_ip_addr_group().name('ips').create()
addresses.add_ipv4_addr().addr('203.0.113.7').create()
addresses.add_ipv6_addr().addr('2001:db8::7').create()
seen['addresses'] = sorted((a.get_addr(), a.get_version()) for a in addresses.get_addrs())

rule = chain.add_rule().type('drop').position('1').nw_proto('6').tp_dst({'start': '22', 'end': '22'}).inv_tp_dst(True)
rule = rule.nw_src_address('10.0.0.0').nw_src_length(8).ip_addr_group_dst(addresses.get_id()).in_ports([]).create()
mido.add_chain_rule(chain, action='accept', dl_type=0x0806)
jump = chain.add_rule().type('jump').jump_chain_id(other.get_id()).position(1).create()
seen['rules'] = [(r.get_type(), r.get_position()) for r in chain.get_rules()]
rule = chain.get_rules()[-1]
seen['rule'] = [rule.get_nw_proto(), rule.get_tp_dst(), rule.is_inv_tp_dst(), rule.get_nw_src_address(),
                rule.get_nw_src_length(), rule.get_port_group(), rule.get_fragment_policy()]
answers = other.add_rule().type('accept').match_return_flow(True).create()
seen['by flow direction'] = answers.is_match_return_flow()
targets = [{'addressFrom': '203.0.113.5', 'addressTo': '203.0.113.6', 'portFrom': 1024, 'portTo': 2047}]
snat = other.add_rule().type('snat').flow_action('accept').nat_targets(targets).create()
seen['snat'] = [snat.get_flow_action(), snat.get_nat_targets() == targets]
refused('snat to nothing', other.add_rule().type('snat').flow_action('accept').create, webob.exc.HTTPBadRequest)
bridge.inbound_filter_id(chain.get_id()).update()

zone = mido.add_gre_tunnel_zone().name('tz').create()
member = zone.add_tunnel_zone_host().host_id(host_id).ip_address('192.0.2.1').create()
seen['members'] = [(h.get_host_id() == host_id, h.get_ip_address()) for h in zone.get_hosts()]
host = mido.get_host(host_id)
mido.add_host_interface_port(host, vm_port.get_id(), 'tap0')
seen['bindings'] = [(b.get_port_id() == vm_port.get_id(), b.get_interface_name()) for b in host.get_ports()]
seen['alive'] = host.is_alive()
refused('bound host', host.delete, webob.exc.HTTPForbidden)
refused('zone twice', mido.add_gre_tunnel_zone().name('tz').create, webob.exc.HTTPConflict)
refused('missing bridge', lambda: mido.get_bridge('00000000-0000-4000-8000-00000000dead'), webob.exc.HTTPNotFound)
refused('bad address', router.add_port().port_address('10.0.0').network_length(24).create, webob.exc.HTTPBadRequest)
seen['tenants'] = [t.get_id() for t in mido.get_tenants()]
seen['state'] = mido.get_system_state().get_availability()

for binding in host.get_ports():
    binding.delete()
member.delete()
zone.delete()
router_port.unlink()
bridge_port.get()
assert bridge_port.get_peer_id() is None
for gone in (jump, rule, route, chain, other, group, addresses, router, bridge):
    gone.delete()
refused('deleted twice', bridge.delete, webob.exc.HTTPNotFound)
seen['left'] = [b.get_id() for b in mido.get_bridges({'tenant_id': tenant})]
print(json.dumps(seen))
