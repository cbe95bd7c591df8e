package main

// Volumes.

import (
	"context"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"
)

func volumes(docker *client.Client) {
	list := func(only ...filters.KeyValuePair) func(context.Context) (any, error) {
		return func(within context.Context) (any, error) {
			rows, err := docker.VolumeList(within, volume.ListOptions{Filters: filters.NewArgs(only...)})
			all := []string{}
			for _, row := range rows.Volumes {
				all = append(all, row.Name)
			}
			return []any{all, rows.Warnings}, err
		}
	}
	made := func(one volume.Volume, err error) (any, error) {
		return []any{one.Name, one.Driver, one.Labels, one.Options, one.Scope, one.Status, one.UsageData, one.ClusterVolume}, err
	}
	step("volumes", list())
	step("create a volume", func(within context.Context) (any, error) {
		return made(docker.VolumeCreate(within, volume.CreateOptions{Name: "vol", Driver: "local", Labels: map[string]string{"a": "b"}, DriverOpts: map[string]string{"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}}))
	})
	step("create it again", func(within context.Context) (any, error) {
		return made(docker.VolumeCreate(within, volume.CreateOptions{Name: "vol"}))
	})
	step("create one without a name", func(within context.Context) (any, error) {
		return made(docker.VolumeCreate(within, volume.CreateOptions{}))
	})
	step("create one of a driver that there is not", func(within context.Context) (any, error) {
		return made(docker.VolumeCreate(within, volume.CreateOptions{Name: "other", Driver: "nope"}))
	})
	step("create one without sense", func(within context.Context) (any, error) {
		return made(docker.VolumeCreate(within, volume.CreateOptions{Name: "other", DriverOpts: map[string]string{"nope": "x"}}))
	})
	step("create one for a cluster", func(within context.Context) (any, error) {
		return made(docker.VolumeCreate(within, volume.CreateOptions{Name: "other", ClusterVolumeSpec: &volume.ClusterVolumeSpec{}}))
	})
	step("volume", func(within context.Context) (any, error) { return made(docker.VolumeInspect(within, "vol")) })
	step("volume, as it came", func(within context.Context) (any, error) {
		_, raw, err := docker.VolumeInspectWithRaw(within, "vol")
		return fields(raw, err)
	})
	step("volume that is not there", func(within context.Context) (any, error) { return docker.VolumeInspect(within, "nope") })
	step("volumes by filters", list(filters.Arg("name", "vol"), filters.Arg("label", "a"), filters.Arg("dangling", "true"), filters.Arg("driver", "local")))
	step("volumes with a filter that there is not", list(filters.Arg("nope", "x")))
	step("update of a volume", func(within context.Context) (any, error) {
		return done(docker.VolumeUpdate(within, "vol", swarm.Version{Index: 1}, volume.UpdateOptions{}))
	})
	step("remove one in use", func(within context.Context) (any, error) {
		must(start(within, docker, "user", container.Config{Cmd: []string{"true"}}, container.HostConfig{Binds: []string{"vol:/v"}}))
		err := docker.VolumeRemove(within, "vol", false)
		must(docker.ContainerRemove(within, "user", container.RemoveOptions{Force: true}))
		return done(err)
	})
	step("remove a volume", func(within context.Context) (any, error) { return done(docker.VolumeRemove(within, "vol", false)) })
	step("remove one that is not there", func(within context.Context) (any, error) { return done(docker.VolumeRemove(within, "vol", false)) })
	step("remove one that is not there, by force", func(within context.Context) (any, error) { return done(docker.VolumeRemove(within, "vol", true)) })
	step("prune of volumes", func(within context.Context) (any, error) {
		pruned, err := docker.VolumesPrune(within, filters.NewArgs(filters.Arg("all", "true")))
		return []any{len(pruned.VolumesDeleted), pruned.SpaceReclaimed}, err
	})
}
