package main

// What is written to and read from processes.

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
)

// split is what a framed stream has of stdout and stderr.
func split(body io.Reader) (any, error) {
	var out, err bytes.Buffer
	_, failed := stdcopy.StdCopy(&out, &err, body)
	return []string{out.String(), err.String()}, failed
}

// code is an exit status. Which of two says that nothing could be started is not the same in all versions.
func code(status int) int {
	if status == 127 {
		return 126
	}
	return status
}

func streams(docker *client.Client) {
	both := []string{"sh", "-c", "echo out; echo err >&2; echo more"}
	must(start(context.Background(), docker, "spoken", container.Config{Cmd: both}, container.HostConfig{}))
	_, err := ended(context.Background(), docker, "spoken", "")
	must(err)
	logs := func(options container.LogsOptions) func(context.Context) (any, error) {
		return func(within context.Context) (any, error) {
			body, err := docker.ContainerLogs(within, "spoken", options)
			if err != nil {
				return nil, err
			}
			defer body.Close()
			return split(body)
		}
	}
	step("logs", logs(container.LogsOptions{ShowStdout: true, ShowStderr: true}))
	step("logs of stderr", logs(container.LogsOptions{ShowStderr: true, Follow: true}))
	step("logs, the last lines", logs(container.LogsOptions{ShowStdout: true, Tail: "3", Details: true}))
	step("logs with times", logs(container.LogsOptions{ShowStdout: true, Timestamps: true, Since: "1h"}))
	step("logs of long ago", logs(container.LogsOptions{ShowStdout: true, Until: "2000-01-01"}))
	step("logs of nothing", logs(container.LogsOptions{}))
	step("logs with a time that is none", logs(container.LogsOptions{ShowStdout: true, Since: "nope"}))
	step("attach before the start", func(within context.Context) (any, error) {
		_, err := docker.ContainerCreate(within, &container.Config{Image: "busybox", Cmd: []string{"cat"}, OpenStdin: true, StdinOnce: true}, nil, nil, nil, "cat")
		must(err)
		attached, err := docker.ContainerAttach(within, "cat", container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
		if err != nil {
			return nil, err
		}
		defer attached.Close()
		must(docker.ContainerStart(within, "cat", container.StartOptions{}))
		_, err = io.WriteString(attached.Conn, "spoken to\n")
		must(err)
		must(attached.CloseWrite())
		kind, told := attached.MediaType()
		said, err := split(attached.Reader)
		must(err)
		status, err := ended(within, docker, "cat", "")
		return []any{kind, told, said, status}, err
	})
	step("attach to a terminal", func(within context.Context) (any, error) {
		_, err := docker.ContainerCreate(within, &container.Config{Image: "busybox", Cmd: []string{"sh", "-c", "read it; echo got $it"}, OpenStdin: true, Tty: true}, nil, nil, nil, "tty")
		must(err)
		attached, err := docker.ContainerAttach(within, "tty", container.AttachOptions{Stream: true, Stdin: true, Stdout: true})
		if err != nil {
			return nil, err
		}
		defer attached.Close()
		must(docker.ContainerStart(within, "tty", container.StartOptions{}))
		must(docker.ContainerResize(within, "tty", container.ResizeOptions{Height: 10, Width: 20}))
		_, err = io.WriteString(attached.Conn, "typed\n")
		must(err)
		kind, _ := attached.MediaType()
		said, err := io.ReadAll(attached.Reader)
		return []any{kind, string(said)}, err
	})
	step("attach, and only what was said", func(within context.Context) (any, error) {
		attached, err := docker.ContainerAttach(within, "spoken", container.AttachOptions{Stdout: true, Logs: true})
		if err != nil {
			return nil, err
		}
		defer attached.Close()
		return split(attached.Reader)
	})
	step("attach to what is not there", func(within context.Context) (any, error) {
		_, err := docker.ContainerAttach(within, "nope", container.AttachOptions{Stream: true})
		return nil, err
	})
	must(start(context.Background(), docker, "inside", container.Config{Cmd: []string{"sleep", "1000"}, Env: []string{"A=b"}}, container.HostConfig{}))
	exec := func(config types.ExecConfig, typed string) func(context.Context) (any, error) {
		return func(within context.Context) (any, error) {
			made, err := docker.ContainerExecCreate(within, "inside", config)
			if err != nil {
				return nil, err
			}
			attached, err := docker.ContainerExecAttach(within, made.ID, types.ExecStartCheck{Tty: config.Tty, ConsoleSize: config.ConsoleSize})
			if err != nil {
				return nil, err
			}
			defer attached.Close()
			if typed != "" {
				_, err = io.WriteString(attached.Conn, typed)
				must(err)
				must(attached.CloseWrite())
			}
			kind, _ := attached.MediaType()
			var said any
			if config.Tty {
				all, err := io.ReadAll(attached.Reader)
				must(err)
				said = strings.ReplaceAll(string(all), "\r", "")
			} else if said, err = split(attached.Reader); err != nil {
				return nil, err
			}
			found, err := docker.ContainerExecInspect(within, made.ID)
			return []any{kind, said, code(found.ExitCode), found.Running}, err
		}
	}
	step("exec", exec(types.ExecConfig{AttachStdout: true, AttachStderr: true, Cmd: []string{"sh", "-c", "echo out; echo err >&2; exit 3"}}, ""))
	step("exec with input", exec(types.ExecConfig{AttachStdin: true, AttachStdout: true, Cmd: []string{"cat"}}, "typed"))
	step("exec as somebody, somewhere", exec(types.ExecConfig{AttachStdout: true, User: "65534:65534", WorkingDir: "/tmp", Env: []string{"C=d"}, Cmd: []string{"sh", "-c", "id -u; pwd; echo $A $C"}}, ""))
	step("exec in a terminal", exec(types.ExecConfig{AttachStdout: true, Tty: true, ConsoleSize: &[2]uint{10, 20}, Cmd: []string{"stty", "size"}}, ""))
	step("exec of what is not there", exec(types.ExecConfig{AttachStdout: true, Cmd: []string{"/nope"}}, ""))
	step("exec of nothing", exec(types.ExecConfig{}, ""))
	step("exec that is left alone", func(within context.Context) (any, error) {
		made, err := docker.ContainerExecCreate(within, "inside", types.ExecConfig{Cmd: []string{"sleep", "1000"}, Privileged: true})
		must(err)
		must(docker.ContainerExecStart(within, made.ID, types.ExecStartCheck{Detach: true}))
		must(docker.ContainerExecResize(within, made.ID, container.ResizeOptions{Height: 10, Width: 20}))
		found, err := docker.ContainerExecInspect(within, made.ID)
		return []any{found.Running, found.Pid > 0}, err
	})
	step("exec, started twice", func(within context.Context) (any, error) {
		made, err := docker.ContainerExecCreate(within, "inside", types.ExecConfig{Cmd: []string{"sleep", "1000"}})
		must(err)
		must(docker.ContainerExecStart(within, made.ID, types.ExecStartCheck{Detach: true}))
		return done(docker.ContainerExecStart(within, made.ID, types.ExecStartCheck{Detach: true}))
	})
	step("exec that there is not", func(within context.Context) (any, error) { return docker.ContainerExecInspect(within, "nope") })
	step("exec that there is not, attached", func(within context.Context) (any, error) {
		_, err := docker.ContainerExecAttach(within, "nope", types.ExecStartCheck{})
		return nil, err
	})
	for _, name := range []string{"spoken", "cat", "tty", "inside"} {
		must(docker.ContainerRemove(context.Background(), name, container.RemoveOptions{Force: true}))
	}
}
