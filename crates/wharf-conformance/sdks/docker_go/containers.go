package main

// Containers.

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/checkpoint"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/nat"
	"github.com/docker/go-units"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// start makes a container and starts it.
func start(within context.Context, docker *client.Client, name string, config container.Config, host container.HostConfig) error {
	config.Image = "busybox"
	if _, err := docker.ContainerCreate(within, &config, &host, nil, nil, name); err != nil {
		return err
	}
	return docker.ContainerStart(within, name, container.StartOptions{})
}

// ended is the status that a container ends with.
func ended(within context.Context, docker *client.Client, name string, condition container.WaitCondition) (any, error) {
	told, refused := docker.ContainerWait(within, name, condition)
	select {
	case one := <-told:
		return one, nil
	case err := <-refused:
		return nil, err
	}
}

func containers(docker *client.Client) {
	state := func(within context.Context) (any, error) {
		one, err := docker.ContainerInspect(within, "gone-by")
		if err != nil {
			return nil, err
		}
		return []any{one.State.Status, one.State.ExitCode, one.State.Running, one.State.Paused, one.State.Error}, nil
	}
	step("create", func(within context.Context) (any, error) {
		seconds := 7
		init := true
		made, err := docker.ContainerCreate(within, &container.Config{
			Image: "busybox", Cmd: []string{"sleep", "1000"}, Env: []string{"X=y"}, Labels: map[string]string{"a": "b"}, WorkingDir: "/tmp", User: "0:0",
			ExposedPorts: nat.PortSet{"80/tcp": {}, "53/udp": {}}, StopSignal: "SIGKILL", StopTimeout: &seconds, Hostname: "host", Domainname: "domain",
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}}, Volumes: map[string]struct{}{"/volume": {}},
		}, &container.HostConfig{
			PortBindings: nat.PortMap{"80/tcp": {{HostIP: "127.0.0.1", HostPort: "18080"}}}, Init: &init, CapAdd: []string{"NET_ADMIN"}, CapDrop: []string{"MKNOD"},
			DNS: []string{"192.0.2.53"}, ExtraHosts: []string{"far:192.0.2.9"}, SecurityOpt: []string{"no-new-privileges"}, ReadonlyRootfs: false,
			Mounts:        []mount.Mount{{Type: mount.TypeTmpfs, Target: "/small", TmpfsOptions: &mount.TmpfsOptions{SizeBytes: 1 << 20}}, {Type: mount.TypeVolume, Source: "kept", Target: "/kept"}},
			Resources:     container.Resources{Memory: 1 << 26, MemorySwap: 1 << 27, NanoCPUs: 5e8, Ulimits: []*units.Ulimit{{Name: "nofile", Soft: 100, Hard: 200}}},
			RestartPolicy: container.RestartPolicy{Name: "on-failure", MaximumRetryCount: 2}, LogConfig: container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m"}},
			Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}, ShmSize: 1 << 20, Tmpfs: map[string]string{"/t": "size=1m"}, GroupAdd: []string{"99"},
		}, &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{"bridge": {}}}, &ocispec.Platform{OS: "linux", Architecture: "amd64"}, "gone-by")
		return made, err
	})
	step("create with a name in use", func(within context.Context) (any, error) {
		return docker.ContainerCreate(within, &container.Config{Image: "busybox"}, nil, nil, nil, "gone-by")
	})
	step("create of an image that is not there", func(within context.Context) (any, error) {
		return docker.ContainerCreate(within, &container.Config{Image: "nope"}, nil, nil, nil, "")
	})
	step("create of another platform", func(within context.Context) (any, error) {
		return docker.ContainerCreate(within, &container.Config{Image: "busybox"}, nil, nil, &ocispec.Platform{OS: "linux", Architecture: "s390x"}, "")
	})
	step("create without sense", func(within context.Context) (any, error) {
		return docker.ContainerCreate(within, &container.Config{Image: "busybox"}, &container.HostConfig{Resources: container.Resources{Memory: 1}}, nil, nil, "")
	})
	step("start", func(within context.Context) (any, error) {
		return done(docker.ContainerStart(within, "gone-by", container.StartOptions{}))
	})
	step("start twice", func(within context.Context) (any, error) {
		return done(docker.ContainerStart(within, "gone-by", container.StartOptions{}))
	})
	step("start from a checkpoint that there is not", func(within context.Context) (any, error) {
		return done(docker.ContainerStart(within, "gone-by", container.StartOptions{CheckpointID: "nope"}))
	})
	step("inspect", func(within context.Context) (any, error) {
		one, err := docker.ContainerInspect(within, "gone-by")
		if err != nil {
			return nil, err
		}
		return []any{one.Name, one.Path, one.Args, one.Driver, one.Platform, one.RestartCount, one.Config, one.NetworkSettings.Ports, one.State.Health}, nil
	})
	step("inspect of its host's part", func(within context.Context) (any, error) {
		one, err := docker.ContainerInspect(within, "gone-by")
		if err != nil {
			return nil, err
		}
		// Names of its own, and more paths that are hidden.
		one.HostConfig.Runtime, one.HostConfig.MaskedPaths = "", nil
		return one.HostConfig, nil
	})
	step("inspect of its mounts", func(within context.Context) (any, error) {
		one, err := docker.ContainerInspect(within, "gone-by")
		slices.SortFunc(one.Mounts, func(a, b types.MountPoint) int { return len(a.Destination) - len(b.Destination) })
		var all []any
		for _, mount := range one.Mounts {
			all = append(all, []any{mount.Type, mount.Destination, mount.Driver, mount.Mode, mount.RW, mount.Propagation})
		}
		return all, err
	})
	step("inspect with its size", func(within context.Context) (any, error) {
		one, raw, err := docker.ContainerInspectWithRaw(within, "gone-by", true)
		if err != nil {
			return nil, err
		}
		names, err := fields(raw, nil)
		return []any{names, *one.SizeRw, *one.SizeRootFs > 0}, err
	})
	step("inspect without a name", func(within context.Context) (any, error) { return docker.ContainerInspect(within, "") })
	list := func(only ...filters.KeyValuePair) func(context.Context) (any, error) {
		return func(within context.Context) (any, error) {
			rows, err := docker.ContainerList(within, container.ListOptions{All: true, Filters: filters.NewArgs(only...)})
			all := []string{}
			for _, row := range rows {
				all = append(all, row.Names[0])
			}
			return all, err
		}
	}
	step("list", list())
	step("list by label and state", list(filters.Arg("label", "a=b"), filters.Arg("status", "running")))
	step("list by port and volume", list(filters.Arg("publish", "18080"), filters.Arg("volume", "kept")))
	step("list of none", list(filters.Arg("ancestor", "nope")))
	step("list with a filter that there is not", list(filters.Arg("nope", "x")))
	step("list, whole", func(within context.Context) (any, error) {
		rows, err := docker.ContainerList(within, container.ListOptions{Size: true, Latest: true, Limit: 1})
		if err != nil {
			return nil, err
		}
		row := rows[0]
		return []any{row.Command, row.Image, row.Labels, row.State, row.Ports, row.SizeRw, row.HostConfig, len(row.Mounts)}, nil
	})
	step("top", func(within context.Context) (any, error) {
		return titles(docker.ContainerTop(within, "gone-by", []string{"-o", "pid,args"}))
	})
	step("stats", func(within context.Context) (any, error) {
		stats, err := docker.ContainerStatsOneShot(within, "gone-by")
		if err != nil {
			return nil, err
		}
		defer stats.Body.Close()
		var one types.StatsJSON
		err = json.NewDecoder(stats.Body).Decode(&one)
		return []any{one.MemoryStats.Limit, one.PidsStats.Current, one.PreCPUStats.SystemUsage, len(one.Networks)}, err
	})
	step("stats, streamed", func(within context.Context) (any, error) {
		stats, err := docker.ContainerStats(within, "gone-by", true)
		if err != nil {
			return nil, err
		}
		defer stats.Body.Close()
		decoder := json.NewDecoder(stats.Body)
		var first, second types.StatsJSON
		must(decoder.Decode(&first))
		must(decoder.Decode(&second))
		return []any{second.PreRead == first.Read, second.CPUStats.SystemUsage > first.CPUStats.SystemUsage}, nil
	})
	step("copy to it", func(within context.Context) (any, error) {
		return done(docker.CopyToContainer(within, "gone-by", "/", archive([2]string{"new", "text"}), types.CopyToContainerOptions{}))
	})
	step("copy to where nothing is", func(within context.Context) (any, error) {
		return done(docker.CopyToContainer(within, "gone-by", "/nope", archive([2]string{"new", "text"}), types.CopyToContainerOptions{}))
	})
	step("copy of a file over a folder", func(within context.Context) (any, error) {
		return done(docker.CopyToContainer(within, "gone-by", "/", archive([2]string{"tmp", "text"}), types.CopyToContainerOptions{}))
	})
	step("stat of a path", func(within context.Context) (any, error) {
		stat, err := docker.ContainerStatPath(within, "gone-by", "/new")
		return []any{stat.Name, stat.Size, stat.Mode, stat.LinkTarget}, err
	})
	step("stat of a path that is not there", func(within context.Context) (any, error) { return docker.ContainerStatPath(within, "gone-by", "/nope") })
	step("copy from it", func(within context.Context) (any, error) {
		body, stat, err := docker.CopyFromContainer(within, "gone-by", "/new")
		if err != nil {
			return nil, err
		}
		defer body.Close()
		all, err := names(body)
		return []any{stat.Name, stat.Mode, all}, err
	})
	step("copy of what is not there", func(within context.Context) (any, error) {
		_, _, err := docker.CopyFromContainer(within, "gone-by", "/nope")
		return nil, err
	})
	step("changes", func(within context.Context) (any, error) {
		all, err := docker.ContainerDiff(within, "gone-by")
		all = slices.DeleteFunc(all, func(one container.FilesystemChange) bool { return one.Path != "/new" })
		return all, err
	})
	step("export", func(within context.Context) (any, error) {
		body, err := docker.ContainerExport(within, "gone-by")
		if err != nil {
			return nil, err
		}
		defer body.Close()
		all, err := names(body)
		return []bool{slices.Contains(all, "new"), slices.Contains(all, "bin/sh")}, err
	})
	step("commit", func(within context.Context) (any, error) {
		_, err := docker.ContainerCommit(within, "gone-by", container.CommitOptions{Reference: "committed:t", Comment: "c", Author: "a", Pause: true,
			Changes: []string{"CMD true"}, Config: &container.Config{Labels: map[string]string{"c": "d"}, Cmd: []string{"x"}}})
		if err != nil {
			return nil, err
		}
		one, _, err := docker.ImageInspectWithRaw(within, "committed:t")
		return []any{one.Author, one.Comment, one.Config}, err
	})
	step("pause", func(within context.Context) (any, error) { return done(docker.ContainerPause(within, "gone-by")) })
	step("pause twice", func(within context.Context) (any, error) { return done(docker.ContainerPause(within, "gone-by")) })
	step("state of what is paused", state)
	step("exec in what is paused", func(within context.Context) (any, error) {
		return docker.ContainerExecCreate(within, "gone-by", types.ExecConfig{Cmd: []string{"true"}})
	})
	step("unpause", func(within context.Context) (any, error) { return done(docker.ContainerUnpause(within, "gone-by")) })
	step("update", func(within context.Context) (any, error) {
		return docker.ContainerUpdate(within, "gone-by", container.UpdateConfig{Resources: container.Resources{Memory: 1 << 27, MemorySwap: 1 << 28}, RestartPolicy: container.RestartPolicy{Name: "no"}})
	})
	step("update without sense", func(within context.Context) (any, error) {
		return docker.ContainerUpdate(within, "gone-by", container.UpdateConfig{Resources: container.Resources{Memory: 1 << 28, MemorySwap: 1 << 27}})
	})
	step("resize", func(within context.Context) (any, error) {
		return done(docker.ContainerResize(within, "gone-by", container.ResizeOptions{Height: 10, Width: 20}))
	})
	step("rename", func(within context.Context) (any, error) {
		must(docker.ContainerRename(within, "gone-by", "other"))
		return done(docker.ContainerRename(within, "other", "gone-by"))
	})
	step("rename without sense", func(within context.Context) (any, error) {
		return done(docker.ContainerRename(within, "gone-by", "no/such"))
	})
	step("checkpoint", func(within context.Context) (any, error) {
		return done(docker.CheckpointCreate(within, "gone-by", checkpoint.CreateOptions{CheckpointID: "one"}))
	})
	step("checkpoints", func(within context.Context) (any, error) {
		return docker.CheckpointList(within, "gone-by", checkpoint.ListOptions{})
	})
	step("checkpoint's removal", func(within context.Context) (any, error) {
		return done(docker.CheckpointDelete(within, "gone-by", checkpoint.DeleteOptions{CheckpointID: "one"}))
	})
	step("restart", func(within context.Context) (any, error) {
		no := 0
		return done(docker.ContainerRestart(within, "gone-by", container.StopOptions{Timeout: &no}))
	})
	step("kill without sense", func(within context.Context) (any, error) {
		return done(docker.ContainerKill(within, "gone-by", "SIGNOPE"))
	})
	step("kill and wait", func(within context.Context) (any, error) {
		told, refused := docker.ContainerWait(within, "gone-by", container.WaitConditionNextExit)
		must(docker.ContainerKill(within, "gone-by", "KILL"))
		select {
		case one := <-told:
			return one, nil
		case err := <-refused:
			return nil, err
		}
	})
	step("state of what has ended", state)
	step("kill of what has ended", func(within context.Context) (any, error) { return done(docker.ContainerKill(within, "gone-by", "")) })
	step("stop of what has ended", func(within context.Context) (any, error) {
		return done(docker.ContainerStop(within, "gone-by", container.StopOptions{}))
	})
	step("stop", func(within context.Context) (any, error) {
		must(docker.ContainerStart(within, "gone-by", container.StartOptions{}))
		return done(docker.ContainerStop(within, "gone-by", container.StopOptions{Signal: "SIGINT"}))
	})
	step("wait for what has ended", func(within context.Context) (any, error) {
		return ended(within, docker, "gone-by", container.WaitConditionNotRunning)
	})
	step("wait for what is not there", func(within context.Context) (any, error) {
		return ended(within, docker, "nope", container.WaitConditionNotRunning)
	})
	step("wait without sense", func(within context.Context) (any, error) { return ended(within, docker, "gone-by", "nope") })
	step("remove one that runs", func(within context.Context) (any, error) {
		must(docker.ContainerStart(within, "gone-by", container.StartOptions{}))
		return done(docker.ContainerRemove(within, "gone-by", container.RemoveOptions{}))
	})
	step("wait for its removal", func(within context.Context) (any, error) {
		told, refused := docker.ContainerWait(within, "gone-by", container.WaitConditionRemoved)
		must(docker.ContainerRemove(within, "gone-by", container.RemoveOptions{Force: true, RemoveVolumes: true}))
		select {
		case one := <-told:
			return one, nil
		case err := <-refused:
			return nil, err
		}
	})
	step("remove of a link", func(within context.Context) (any, error) {
		return done(docker.ContainerRemove(within, "nope/link", container.RemoveOptions{RemoveLinks: true}))
	})
	step("what cannot be started", func(within context.Context) (any, error) {
		err := start(within, docker, "cannot", container.Config{Cmd: []string{"/nope"}}, container.HostConfig{})
		must(docker.ContainerRemove(within, "cannot", container.RemoveOptions{}))
		return nil, err
	})
	step("prune", func(within context.Context) (any, error) {
		_, err := docker.ContainerCreate(within, &container.Config{Image: "busybox", Labels: map[string]string{"idle": ""}}, nil, nil, nil, "idle")
		must(err)
		pruned, err := docker.ContainersPrune(within, filters.NewArgs(filters.Arg("label", "idle")))
		return []any{len(pruned.ContainersDeleted), pruned.SpaceReclaimed}, err
	})
	step("prune with a filter that there is not", func(within context.Context) (any, error) {
		return docker.ContainersPrune(within, filters.NewArgs(filters.Arg("nope", "x")))
	})
}

func titles(top container.ContainerTopOKBody, err error) (any, error) {
	var last []string
	for _, row := range top.Processes {
		last = append(last, row[len(row)-1])
	}
	return []any{top.Titles, last}, err
}
