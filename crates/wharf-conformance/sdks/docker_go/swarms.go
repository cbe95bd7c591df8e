package main

// Swarm and plugins: what a daemon says that is not in a swarm and has no plugins.

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/client"
)

func swarms(docker *client.Client) {
	one := swarm.Version{Index: 1}
	calls := []struct {
		name string
		call func(context.Context) (any, error)
	}{
		{"swarm", func(c context.Context) (any, error) { return docker.SwarmInspect(c) }},
		{"leave", func(c context.Context) (any, error) { return done(docker.SwarmLeave(c, false)) }},
		{"update", func(c context.Context) (any, error) {
			return done(docker.SwarmUpdate(c, one, swarm.Spec{}, swarm.UpdateFlags{RotateWorkerToken: true}))
		}},
		{"unlock", func(c context.Context) (any, error) {
			return done(docker.SwarmUnlock(c, swarm.UnlockRequest{UnlockKey: "x"}))
		}},
		{"key", func(c context.Context) (any, error) { return docker.SwarmGetUnlockKey(c) }},
		{"nodes", func(c context.Context) (any, error) { return docker.NodeList(c, types.NodeListOptions{}) }},
		{"node", func(c context.Context) (any, error) {
			_, _, err := docker.NodeInspectWithRaw(c, "nope")
			return nil, err
		}},
		{"node's update", func(c context.Context) (any, error) { return done(docker.NodeUpdate(c, "nope", one, swarm.NodeSpec{})) }},
		{"node's removal", func(c context.Context) (any, error) {
			return done(docker.NodeRemove(c, "nope", types.NodeRemoveOptions{Force: true}))
		}},
		{"services", func(c context.Context) (any, error) {
			return docker.ServiceList(c, types.ServiceListOptions{Status: true})
		}},
		{"service", func(c context.Context) (any, error) {
			_, _, err := docker.ServiceInspectWithRaw(c, "nope", types.ServiceInspectOptions{InsertDefaults: true})
			return nil, err
		}},
		{"new service", func(c context.Context) (any, error) {
			return docker.ServiceCreate(c, swarm.ServiceSpec{Annotations: swarm.Annotations{Name: "s"}, TaskTemplate: swarm.TaskSpec{ContainerSpec: &swarm.ContainerSpec{Image: "busybox"}}}, types.ServiceCreateOptions{})
		}},
		{"service's update", func(c context.Context) (any, error) {
			return docker.ServiceUpdate(c, "nope", one, swarm.ServiceSpec{}, types.ServiceUpdateOptions{})
		}},
		{"service's removal", func(c context.Context) (any, error) { return done(docker.ServiceRemove(c, "nope")) }},
		{"service's logs", func(c context.Context) (any, error) {
			return read(docker.ServiceLogs(c, "nope", container.LogsOptions{ShowStdout: true}))
		}},
		{"tasks", func(c context.Context) (any, error) { return docker.TaskList(c, types.TaskListOptions{}) }},
		{"task", func(c context.Context) (any, error) {
			_, _, err := docker.TaskInspectWithRaw(c, "nope")
			return nil, err
		}},
		{"task's logs", func(c context.Context) (any, error) {
			return read(docker.TaskLogs(c, "nope", container.LogsOptions{ShowStdout: true}))
		}},
		{"secrets", func(c context.Context) (any, error) { return docker.SecretList(c, types.SecretListOptions{}) }},
		{"secret", func(c context.Context) (any, error) {
			_, _, err := docker.SecretInspectWithRaw(c, "nope")
			return nil, err
		}},
		{"new secret", func(c context.Context) (any, error) {
			return docker.SecretCreate(c, swarm.SecretSpec{Annotations: swarm.Annotations{Name: "s"}, Data: []byte("x")})
		}},
		{"secret's update", func(c context.Context) (any, error) {
			return done(docker.SecretUpdate(c, "nope", one, swarm.SecretSpec{}))
		}},
		{"secret's removal", func(c context.Context) (any, error) { return done(docker.SecretRemove(c, "nope")) }},
		{"configs", func(c context.Context) (any, error) { return docker.ConfigList(c, types.ConfigListOptions{}) }},
		{"config", func(c context.Context) (any, error) {
			_, _, err := docker.ConfigInspectWithRaw(c, "nope")
			return nil, err
		}},
		{"new config", func(c context.Context) (any, error) {
			return docker.ConfigCreate(c, swarm.ConfigSpec{Annotations: swarm.Annotations{Name: "s"}, Data: []byte("x")})
		}},
		{"config's update", func(c context.Context) (any, error) {
			return done(docker.ConfigUpdate(c, "nope", one, swarm.ConfigSpec{}))
		}},
		{"config's removal", func(c context.Context) (any, error) { return done(docker.ConfigRemove(c, "nope")) }},
		{"plugins", func(c context.Context) (any, error) {
			return docker.PluginList(c, filters.NewArgs(filters.Arg("enabled", "true")))
		}},
		{"plugin", func(c context.Context) (any, error) {
			_, _, err := docker.PluginInspectWithRaw(c, "nope")
			return nil, err
		}},
		{"plugin's removal", func(c context.Context) (any, error) {
			return done(docker.PluginRemove(c, "nope", types.PluginRemoveOptions{Force: true}))
		}},
		{"plugin's start", func(c context.Context) (any, error) {
			return done(docker.PluginEnable(c, "nope", types.PluginEnableOptions{Timeout: 1}))
		}},
		{"plugin's stop", func(c context.Context) (any, error) {
			return done(docker.PluginDisable(c, "nope", types.PluginDisableOptions{}))
		}},
		{"plugin's settings", func(c context.Context) (any, error) { return done(docker.PluginSet(c, "nope", []string{"A=b"})) }},
		{"plugin's push", func(c context.Context) (any, error) { return read(docker.PluginPush(c, "nope", "")) }},
	}
	for _, one := range calls {
		step("without a swarm: "+one.name, one.call)
	}
	// What Wharf does not have, and says so; dockerd goes on with it.
	for _, one := range []struct {
		name string
		call func(context.Context) error
	}{
		{"a new swarm", func(c context.Context) error {
			_, err := docker.SwarmInit(c, swarm.InitRequest{ListenAddr: "nope"})
			return err
		}},
		{"another one's swarm", func(c context.Context) error {
			return docker.SwarmJoin(c, swarm.JoinRequest{RemoteAddrs: []string{"127.0.0.1:1"}})
		}},
		{"a new plugin", func(c context.Context) error {
			return docker.PluginCreate(c, archive(), types.PluginCreateOptions{RepoName: "p"})
		}},
		{"plugin's installation", func(c context.Context) error {
			_, err := docker.PluginInstall(c, "p", types.PluginInstallOptions{RemoteRef: "127.0.0.1:1/p", AcceptAllPermissions: true})
			return err
		}},
		{"plugin's renewal", func(c context.Context) error {
			_, err := docker.PluginUpgrade(c, "p", types.PluginInstallOptions{RemoteRef: "127.0.0.1:1/p", AcceptAllPermissions: true})
			return err
		}},
	} {
		fmt.Printf("%s: refused %v\n", one.name, one.call(context.Background()) != nil)
	}
}
