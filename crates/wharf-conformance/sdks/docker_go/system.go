package main

// The daemon as a whole.

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
)

func system(docker *client.Client, socket string) {
	step("client", func(within context.Context) (any, error) {
		return []any{docker.ClientVersion(), docker.DaemonHost() == "unix://"+socket, docker.HTTPClient() != nil, docker.NewVersionError(within, "9.9", "nothing").Error()}, nil
	})
	step("ping", func(within context.Context) (any, error) {
		ping, err := docker.Ping(within)
		return []any{ping.OSType, ping.Experimental, ping.SwarmStatus}, err
	})
	step("negotiation", func(within context.Context) (any, error) {
		docker, err := client.NewClientWithOpts(client.WithHost("unix://"+socket), client.WithAPIVersionNegotiation())
		must(err)
		docker.NegotiateAPIVersion(within)
		negotiated := docker.ClientVersion()
		docker, err = client.NewClientWithOpts(client.WithHost("unix://" + socket))
		must(err)
		docker.NegotiateAPIVersionPing(types.Ping{APIVersion: "1.30"})
		return []string{negotiated, docker.ClientVersion()}, nil
	})
	step("version", func(within context.Context) (any, error) {
		version, err := docker.ServerVersion(within)
		return []any{version.Os, version.Arch, version.Version != "", version.Components[0].Name}, err
	})
	step("info", func(within context.Context) (any, error) {
		info, err := docker.Info(within)
		return []any{info.OSType, info.Containers, info.Images, info.Swarm.LocalNodeState, info.Driver, info.CgroupDriver,
			info.Plugins.Volume, info.Isolation, info.IndexServerAddress, info.LoggingDriver, info.SecurityOptions}, err
	})
	step("disk usage", func(within context.Context) (any, error) {
		usage, err := docker.DiskUsage(within, types.DiskUsageOptions{})
		if err != nil {
			return nil, err
		}
		return []any{len(usage.Images), len(usage.Containers), len(usage.Volumes), len(usage.BuildCache)}, nil
	})
	step("disk usage of one kind", func(within context.Context) (any, error) {
		usage, err := docker.DiskUsage(within, types.DiskUsageOptions{Types: []types.DiskUsageObject{types.VolumeObject}})
		return []any{usage.Images == nil, usage.Volumes != nil}, err
	})
	step("login where nothing is", func(within context.Context) (any, error) {
		return docker.RegistryLogin(within, registry.AuthConfig{Username: "u", Password: "p", ServerAddress: "127.0.0.1:1"})
	})
	step("search where nothing is", func(within context.Context) (any, error) {
		found, err := docker.ImageSearch(within, "127.0.0.1:1/x", types.ImageSearchOptions{Limit: 1})
		return []any{len(found), err != nil}, nil
	})
	step("events", func(within context.Context) (any, error) {
		since := strconv.FormatInt(time.Now().Unix(), 10)
		_, err := docker.VolumeCreate(within, volume.CreateOptions{Name: "told"})
		must(err)
		must(docker.VolumeRemove(within, "told", false))
		only := filters.NewArgs(filters.Arg("type", "volume"), filters.Arg("volume", "told"))
		until := strconv.FormatInt(time.Now().Unix()+1, 10)
		told, ended := docker.Events(within, types.EventsOptions{Since: since, Until: until, Filters: only})
		var all [][]any
		for {
			select {
			case one := <-told:
				all = append(all, []any{one.Type, one.Action, one.Scope, one.Actor, one.TimeNano/1e9 == one.Time})
			case err := <-ended:
				return append(all, []any{err.Error()}), nil
			}
		}
	})
	step("events of now", func(within context.Context) (any, error) {
		within, cancel := context.WithCancel(within)
		defer cancel()
		told, ended := docker.Events(within, types.EventsOptions{Filters: filters.NewArgs(filters.Arg("event", "create"), filters.Arg("type", "volume"))})
		_, err := docker.VolumeCreate(within, volume.CreateOptions{Name: "now"})
		must(err)
		one := <-told
		must(docker.VolumeRemove(within, "now", true))
		cancel()
		return []any{one.Action, one.Actor, (<-ended).Error()}, nil
	})
	step("events with a filter that there is not", func(within context.Context) (any, error) {
		_, ended := docker.Events(within, types.EventsOptions{Since: "0", Until: "1", Filters: filters.NewArgs(filters.Arg("type", "nope"))})
		return nil, <-ended
	})
	step("a connection of one's own", func(within context.Context) (any, error) {
		connection, err := docker.Dialer()(within)
		must(err)
		defer connection.Close()
		request, err := http.NewRequest("GET", "http://docker/_ping", nil)
		must(err)
		must(request.Write(connection))
		answer, err := http.ReadResponse(bufio.NewReader(connection), request)
		must(err)
		return read(answer.Body, nil)
	})
	step("a session", func(within context.Context) (any, error) {
		connection, err := docker.DialHijack(within, "/session", "h2c", map[string][]string{"X-Docker-Expose-Session-Uuid": {"x"}})
		if err != nil {
			return nil, err
		}
		return done(connection.Close())
	})
	step("prune of builds", func(within context.Context) (any, error) {
		return docker.BuildCachePrune(within, types.BuildCachePruneOptions{All: true, Filters: filters.NewArgs(filters.Arg("until", "24h"))})
	})
	step("prune of builds with a filter that there is not", func(within context.Context) (any, error) {
		return docker.BuildCachePrune(within, types.BuildCachePruneOptions{Filters: filters.NewArgs(filters.Arg("nope", "x"))})
	})
	step("end of a build that there is not", func(within context.Context) (any, error) { return done(docker.BuildCancel(within, "nope")) })
}
