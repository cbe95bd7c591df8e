package main

// Networks.

import (
	"context"
	"slices"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
)

func networks(docker *client.Client) {
	list := func(only ...filters.KeyValuePair) func(context.Context) (any, error) {
		return func(within context.Context) (any, error) {
			rows, err := docker.NetworkList(within, types.NetworkListOptions{Filters: filters.NewArgs(only...)})
			all := []string{}
			for _, row := range rows {
				all = append(all, row.Name)
			}
			slices.Sort(all)
			return all, err
		}
	}
	step("networks", list())
	step("create a network", func(within context.Context) (any, error) {
		made, err := docker.NetworkCreate(within, "net", types.NetworkCreate{
			CheckDuplicate: true, Driver: "bridge", Internal: true, Attachable: true, Labels: map[string]string{"a": "b"}, Options: map[string]string{"com.docker.network.bridge.name": "br-own"},
			IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: "198.51.100.0/24", IPRange: "198.51.100.128/25", Gateway: "198.51.100.1", AuxAddress: map[string]string{"x": "198.51.100.129"}}}},
		})
		return made, err
	})
	step("create a network with a name in use", func(within context.Context) (any, error) {
		return docker.NetworkCreate(within, "net", types.NetworkCreate{CheckDuplicate: true})
	})
	step("create a network of a driver that there is not", func(within context.Context) (any, error) {
		return docker.NetworkCreate(within, "other", types.NetworkCreate{Driver: "nope"})
	})
	step("create a network without sense", func(within context.Context) (any, error) {
		return docker.NetworkCreate(within, "other", types.NetworkCreate{IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: "nope"}}}})
	})
	step("network", func(within context.Context) (any, error) {
		return docker.NetworkInspect(within, "net", types.NetworkInspectOptions{Verbose: true})
	})
	step("network of a scope", func(within context.Context) (any, error) {
		return docker.NetworkInspect(within, "net", types.NetworkInspectOptions{Scope: "swarm"})
	})
	step("network, as it came", func(within context.Context) (any, error) {
		_, raw, err := docker.NetworkInspectWithRaw(within, "bridge", types.NetworkInspectOptions{})
		return fields(raw, err)
	})
	step("networks by filters", list(filters.Arg("driver", "bridge"), filters.Arg("label", "a=b"), filters.Arg("scope", "local"), filters.Arg("type", "custom")))
	step("networks with a filter that there is not", list(filters.Arg("nope", "x")))
	must(start(context.Background(), docker, "netted", container.Config{Cmd: []string{"sleep", "1000"}}, container.HostConfig{}))
	step("connect", func(within context.Context) (any, error) {
		return done(docker.NetworkConnect(within, "net", "netted", &network.EndpointSettings{Aliases: []string{"alias"}, DriverOpts: map[string]string{"a": "b"}, MacAddress: "02:42:00:00:00:09",
			IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: "198.51.100.130"}}))
	})
	step("connect twice", func(within context.Context) (any, error) {
		return done(docker.NetworkConnect(within, "net", "netted", nil))
	})
	step("connect with an address that cannot be", func(within context.Context) (any, error) {
		must(docker.NetworkDisconnect(within, "bridge", "netted", false))
		return done(docker.NetworkConnect(within, "bridge", "netted", &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: "203.0.113.1"}}))
	})
	step("its end", func(within context.Context) (any, error) {
		one, err := docker.ContainerInspect(within, "netted")
		return one.NetworkSettings.Networks, err
	})
	step("who is in it", func(within context.Context) (any, error) {
		one, err := docker.NetworkInspect(within, "net", types.NetworkInspectOptions{})
		all := []any{}
		for _, end := range one.Containers {
			all = append(all, []any{end.Name, end.IPv4Address, end.MacAddress})
		}
		return all, err
	})
	step("remove a network in use", func(within context.Context) (any, error) { return done(docker.NetworkRemove(within, "net")) })
	step("disconnect", func(within context.Context) (any, error) {
		return done(docker.NetworkDisconnect(within, "net", "netted", true))
	})
	step("disconnect twice", func(within context.Context) (any, error) {
		return done(docker.NetworkDisconnect(within, "net", "netted", false))
	})
	step("remove a network", func(within context.Context) (any, error) { return done(docker.NetworkRemove(within, "net")) })
	step("remove one that is not there", func(within context.Context) (any, error) { return done(docker.NetworkRemove(within, "net")) })
	step("remove one that stays", func(within context.Context) (any, error) { return done(docker.NetworkRemove(within, "bridge")) })
	must(docker.ContainerRemove(context.Background(), "netted", container.RemoveOptions{Force: true}))
	step("prune of networks", func(within context.Context) (any, error) {
		_, err := docker.NetworkCreate(within, "idle", types.NetworkCreate{})
		must(err)
		return docker.NetworksPrune(within, filters.NewArgs(filters.Arg("label!", "kept")))
	})
}
