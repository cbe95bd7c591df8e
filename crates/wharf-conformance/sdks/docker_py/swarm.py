"""Swarm and plugins: what a daemon says that is not in a swarm and has no plugins."""
import docker

from told import step


def run(client, registry):
    api = client.api
    template = docker.types.TaskTemplate(docker.types.ContainerSpec("busybox"))
    spec = {"Name": "default"}
    calls = {
        "swarm": lambda: client.swarm.attrs, "reload": lambda: client.swarm.reload(), "version": lambda: client.swarm.version,
        "inspect": lambda: api.inspect_swarm(), "leave": lambda: client.swarm.leave(), "leave by force": lambda: client.swarm.leave(force=True),
        "update": lambda: client.swarm.update(rotate_worker_token=True),
        "update, low": lambda: api.update_swarm(1, swarm_spec=spec), "key": lambda: client.swarm.get_unlock_key(), 
        "spec": lambda: api.create_swarm_spec(name="x", snapshot_interval=5),
        "nodes": lambda: client.nodes.list(), "node": lambda: client.nodes.get("nope"), "node, low": lambda: api.inspect_node("nope"), "nodes, low": lambda: api.nodes(filters={"role": "manager"}),
        "node's update": lambda: api.update_node("nope", 1, {"Role": "worker"}), "node's removal": lambda: api.remove_node("nope", force=True),
        "services": lambda: client.services.list(), "service": lambda: client.services.get("nope"), "new service": lambda: client.services.create("busybox", "true", name="s"),
        "new service, low": lambda: api.create_service(template, name="s"), "service's update": lambda: api.update_service("nope", 1, template), "service's removal": lambda: api.remove_service("nope"),
        "service's logs": lambda: list(api.service_logs("nope", stdout=True)), "service, low": lambda: api.inspect_service("nope"), "services, low": lambda: api.services(),
        "tasks": lambda: api.tasks(), "task": lambda: api.inspect_task("nope"),
        "secrets": lambda: client.secrets.list(), "secret": lambda: client.secrets.get("nope"), "new secret": lambda: client.secrets.create(name="s", data=b"x"), "secret's removal": lambda: api.remove_secret("nope"),
        "configs": lambda: client.configs.list(), "config": lambda: client.configs.get("nope"), "new config": lambda: client.configs.create(name="s", data=b"x"), "config's removal": lambda: api.remove_config("nope"),
        "plugins": lambda: client.plugins.list(), "plugin": lambda: client.plugins.get("nope"), "plugin's removal": lambda: api.remove_plugin("nope", force=True),
        "plugin's start": lambda: api.enable_plugin("nope"), "plugin's stop": lambda: api.disable_plugin("nope"), "plugin's settings": lambda: api.configure_plugin("nope", {"A": "b"}),
        "plugin's push": lambda: list(api.push_plugin("nope")),
    }
    for name, call in calls.items():
        step(f"without a swarm: {name}")(call)
