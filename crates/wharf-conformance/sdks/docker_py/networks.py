"""Networks."""
from docker.types import EndpointConfig, IPAMConfig, IPAMPool

from told import shape, step


def run(client, registry):
    pool = IPAMPool(subnet="10.99.0.0/24", gateway="10.99.0.1", iprange="10.99.0.128/25", aux_addresses={"printer": "10.99.0.9"})

    @step("network")
    def _():
        network = client.networks.create("wide", driver="bridge", options={"com.docker.network.driver.mtu": "1400"}, ipam=IPAMConfig(pool_configs=[pool]),
                                         labels={"a": "b"}, attachable=True, scope="local")
        network.reload()
        whole = {key: value for key, value in network.attrs.items() if key not in ("Id", "Created")}
        return network.name, len(network.id), len(network.short_id), dict(sorted(whole.items()))

    @step("network of that name again")
    def _():
        return client.networks.create("wide", check_duplicate=True)

    @step("network of a driver that is not there")
    def _():
        return client.networks.create("driven", driver="nope")

    @step("network of no sense")
    def _():
        return client.networks.create("senseless", ipam=IPAMConfig(pool_configs=[IPAMPool(subnet="10.97.0.1/24", gateway="10.96.0.1")]))

    @step("internal network with IPv6")
    def _():
        pools = [IPAMPool(subnet="10.95.0.0/24"), IPAMPool(subnet="fd00:95::/64")]
        network = client.networks.create("inner", internal=True, enable_ipv6=True, ipam=IPAMConfig(driver="default", options={"o": "p"}, pool_configs=pools))
        network.reload()
        return network.attrs["Internal"], network.attrs["EnableIPv6"], network.attrs["IPAM"]

    @step("swarm's networks")
    def _():
        return client.networks.create("over", driver="overlay", ingress=True)

    @step("connect and disconnect")
    def _():
        network = client.networks.get("wide")
        container = client.containers.run("busybox", "sleep 1000", name="joined", detach=True)
        network.connect(container, aliases=["al"], ipv4_address="10.99.0.200", driver_opt={"a": "b"}, mac_address="02:42:0a:63:00:c8")
        network.reload()
        container.reload()
        joined = container.attrs["NetworkSettings"]["Networks"]["wide"]
        known = {key: joined[key] for key in ("IPAddress", "Gateway", "IPPrefixLen", "MacAddress", "Links", "IPAMConfig", "DriverOpts")}
        return [one.name for one in network.containers], known, sorted(network.attrs["Containers"][container.id]), network.attrs["Containers"][container.id]["IPv4Address"]

    @step("connect twice")
    def _():
        return client.networks.get("wide").connect("joined")

    @step("connect with an address of elsewhere")
    def _():
        return client.networks.get("inner").connect("joined", ipv4_address="10.1.0.1", ipv6_address="fd00:1::1")

    @step("connect what is not there")
    def _():
        return client.networks.get("wide").connect("nope")

    @step("remove one in use")
    def _():
        return client.networks.get("wide").remove()

    @step("disconnect")
    def _():
        network = client.networks.get("wide")
        network.disconnect("joined")
        network.reload()
        return network.containers

    @step("disconnect twice")
    def _():
        return client.networks.get("wide").disconnect("joined")

    @step("disconnect by force")
    def _():
        return client.networks.get("wide").disconnect("joined", force=True)

    @step("a container of several networks")
    def _():
        client.containers.get("joined").remove(force=True)
        api = client.api
        settings = api.create_networking_config({
            "wide": api.create_endpoint_config(aliases=["one", "two"], ipv4_address="10.99.0.201", links={"nobody": "nothing"}),
        })
        try:
            return api.create_container("busybox", "sleep 1000", name="joined", networking_config=settings, host_config=api.create_host_config(network_mode="wide"))["Warnings"]
        finally:
            endpoint = api.inspect_container("joined")["NetworkSettings"]["Networks"]["wide"]
            print("  ", {key: endpoint[key] for key in ("Aliases", "IPAMConfig", "Links")})
            api.start("joined")

    @step("run in a network, with its settings")
    def _():
        client.containers.get("joined").remove(force=True)
        endpoint = EndpointConfig("1.44", aliases=["zz"], ipv4_address="10.99.0.222", mac_address="02:42:0a:63:00:de")
        container = client.containers.run("busybox", "sleep 1000", name="joined", detach=True, network="wide", networking_config={"wide": endpoint})
        container.reload()
        found = container.attrs["NetworkSettings"]["Networks"]["wide"]
        looked_up = container.exec_run("nslookup zz 127.0.0.11")
        return found["IPAddress"], found["MacAddress"], found["Aliases"], looked_up.exit_code, b"10.99.0.222" in looked_up.output

    @step("networks")
    def _():
        filters = [{"name": "wide"}, {"label": "a"}, {"driver": "bridge"}, {"type": "custom"}, {"type": "builtin"}, {"scope": "local"}]
        return [sorted(one.name for one in client.networks.list(filters=f)) for f in filters]

    @step("networks by name and id")
    def _():
        wide = client.networks.get("wide")
        return [one.name for one in client.networks.list(names=["wide"])], [one.name for one in client.networks.list(ids=[wide.id])], client.networks.get(wide.short_id).name

    @step("networks with all of them")
    def _():
        return sorted((one.name, len(one.containers)) for one in client.networks.list(greedy=True))

    @step("networks with a filter that there is not")
    def _():
        return client.networks.list(filters={"nope": "x"})

    @step("network, low")
    def _():
        found = client.api.inspect_network("wide", verbose=True, scope="local")
        return sorted(found), [sorted(one) for one in client.api.networks(names=["bridge"])]

    @step("network that is not there")
    def _():
        return client.networks.get("nope")

    @step("remove one that is not there")
    def _():
        return client.api.remove_network("nope")

    @step("remove the daemon's own")
    def _():
        return client.api.remove_network("bridge")

    @step("prune")
    def _():
        return client.networks.prune(), client.networks.prune(filters={"label": "nope"}), shape(client.api.prune_networks())

    @step("the last of it")
    def _():
        client.containers.get("joined").remove(force=True)
        client.networks.get("wide").remove()
        return sorted(one.name for one in client.networks.list())
