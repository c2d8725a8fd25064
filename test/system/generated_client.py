"""What a client does that a generator made of /openapi.json: a network's life, typed all the way. Arguments: URL, token, directory of the package."""

import sys
from http import HTTPStatus

base, token, directory = sys.argv[1:]
sys.path.insert(0, directory)

from weft_client import AuthenticatedClient  # noqa: E402
from weft_client.api.bridges import create_bridges, create_bridge_ports, delete_bridge, get_bridge, list_bridges, update_bridge  # noqa: E402
from weft_client.api.chains import create_chain_rules, create_chains, list_chain_rules  # noqa: E402
from weft_client.api.routers import create_router_ports, create_routers, list_router_routes  # noqa: E402
from weft_client.api.system import get_root, get_system_state  # noqa: E402
from weft_client.models import Bridge, BridgeInput, ChainInput, Error, PortInput, RouterInput, RuleInput  # noqa: E402
from weft_client.models.rule_input_type import RuleInputType  # noqa: E402
from weft_client.models.rule_input_tp_dst import RuleInputTpDst  # noqa: E402

client = AuthenticatedClient(base_url=base, token=token)


def answer(response, status, kind=None):
    """The parsed body of an answer that is what the document says."""
    assert response.status_code == status, (response.status_code, response.content)
    assert kind is None or isinstance(response.parsed, kind), response.parsed
    return response.parsed


root = answer(get_root.sync_detailed(client=client), HTTPStatus.OK)
assert root.uri.endswith("/midonet-api"), root
assert answer(get_system_state.sync_detailed(client=client), HTTPStatus.OK).version == "5.0.0"

made = answer(create_bridges.sync_detailed(client=client, body=BridgeInput(name="generated")), HTTPStatus.CREATED, Bridge)
assert made.admin_state_up is True and made.tunnel_key > 0, made
assert [one.id for one in answer(list_bridges.sync_detailed(client=client, name="generated"), HTTPStatus.OK)] == [made.id]
answer(create_bridge_ports.sync_detailed(made.id, client=client, body=PortInput()), HTTPStatus.CREATED)
answer(update_bridge.sync_detailed(made.id, client=client, body=BridgeInput(name="other")), HTTPStatus.NO_CONTENT)
assert answer(get_bridge.sync_detailed(made.id, client=client), HTTPStatus.OK, Bridge).name == "other"

router = answer(create_routers.sync_detailed(client=client, body=RouterInput(name="edge")), HTTPStatus.CREATED)
port = PortInput(port_subnet=["10.0.0.1/24"])
answer(create_router_ports.sync_detailed(router.id, client=client, body=port), HTTPStatus.CREATED)
assert len(answer(list_router_routes.sync_detailed(router.id, client=client), HTTPStatus.OK)) == 1

chain = answer(create_chains.sync_detailed(client=client, body=ChainInput(name="c")), HTTPStatus.CREATED)
rule = RuleInput(type_=RuleInputType.DROP, nw_proto=6, tp_dst=RuleInputTpDst(start=22, end=22))
answer(create_chain_rules.sync_detailed(chain.id, client=client, body=rule), HTTPStatus.CREATED)
(listed,) = answer(list_chain_rules.sync_detailed(chain.id, client=client), HTTPStatus.OK)
assert (listed.nw_proto, listed.tp_dst.start) == (6, 22), listed

answer(delete_bridge.sync_detailed(made.id, client=client), HTTPStatus.NO_CONTENT)
gone = answer(get_bridge.sync_detailed(made.id, client=client), HTTPStatus.NOT_FOUND, Error)
assert (gone.code, gone.error) == (404, "WEFT_NOT_FOUND"), gone
print("content")
