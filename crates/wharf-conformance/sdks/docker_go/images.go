package main

// Images, and what registries have of them.

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"slices"
	"strings"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/client"
	"github.com/docker/go-units"
)

// archive is a tar of files.
func archive(files ...[2]string) *bytes.Buffer {
	var into bytes.Buffer
	writer := tar.NewWriter(&into)
	for _, file := range files {
		must(writer.WriteHeader(&tar.Header{Name: file[0], Mode: 0o644, Size: int64(len(file[1]))}))
		_, err := writer.Write([]byte(file[1]))
		must(err)
	}
	must(writer.Close())
	return &into
}

// names are those in an archive.
func names(body io.Reader) ([]string, error) {
	var all []string
	reader := tar.NewReader(body)
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, header.Name)
	}
}

func tags(rows []image.Summary, err error) (any, error) {
	all := []string{}
	for _, row := range rows {
		all = append(all, row.RepoTags...)
	}
	slices.Sort(all)
	return all, err
}

func images(docker *client.Client, at string) {
	busybox := at + "/busybox"
	step("images", func(within context.Context) (any, error) {
		return tags(docker.ImageList(within, image.ListOptions{All: true}))
	})
	step("images by reference", func(within context.Context) (any, error) {
		return tags(docker.ImageList(within, image.ListOptions{Filters: filters.NewArgs(filters.Arg("reference", "busy*"))}))
	})
	step("images, whole", func(within context.Context) (any, error) {
		rows, err := docker.ImageList(within, image.ListOptions{SharedSize: true, ContainerCount: true})
		if err != nil {
			return nil, err
		}
		return []any{rows[0].Containers, rows[0].SharedSize, rows[0].Size > 0, rows[0].Labels, rows[0].RepoDigests, rows[0].ParentID}, nil
	})
	step("image", func(within context.Context) (any, error) {
		one, raw, err := docker.ImageInspectWithRaw(within, "busybox")
		if err != nil {
			return nil, err
		}
		names, err := fields(raw, nil)
		return []any{names, one.RepoTags, one.Config, one.Os, one.RootFS, one.GraphDriver.Name}, err
	})
	step("image without a name", func(within context.Context) (any, error) {
		_, _, err := docker.ImageInspectWithRaw(within, "")
		return nil, err
	})
	step("image that is not there", func(within context.Context) (any, error) {
		_, _, err := docker.ImageInspectWithRaw(within, "nope")
		return nil, err
	})
	step("history", func(within context.Context) (any, error) {
		all, err := docker.ImageHistory(within, "busybox")
		return []any{len(all), all[0].Tags, all[0].Comment}, err
	})
	step("pull", func(within context.Context) (any, error) {
		return last(messages(docker.ImagePull(within, busybox, image.PullOptions{})))
	})
	step("pull with a key", func(within context.Context) (any, error) {
		key, err := registry.EncodeAuthConfig(registry.AuthConfig{Username: "u", Password: "p"})
		must(err)
		return last(messages(docker.ImagePull(within, busybox, image.PullOptions{RegistryAuth: key, Platform: "linux/amd64"})))
	})
	step("pull without sense", func(within context.Context) (any, error) {
		return last(messages(docker.ImagePull(within, "No!", image.PullOptions{})))
	})
	step("pull of what is not there", func(within context.Context) (any, error) {
		return last(messages(docker.ImagePull(within, at+"/nope:x", image.PullOptions{})))
	})
	step("create by pull", func(within context.Context) (any, error) {
		return last(messages(docker.ImageCreate(within, busybox, image.CreateOptions{})))
	})
	step("what a registry has", func(within context.Context) (any, error) {
		found, err := docker.DistributionInspect(within, busybox, "")
		return []any{found.Descriptor.MediaType, found.Descriptor.Digest, found.Platforms}, err
	})
	step("what a registry has not", func(within context.Context) (any, error) { return docker.DistributionInspect(within, at+"/nope:x", "") })
	step("tag", func(within context.Context) (any, error) {
		return done(docker.ImageTag(within, "busybox", at+"/busybox:2"))
	})
	step("tag without sense", func(within context.Context) (any, error) { return done(docker.ImageTag(within, "busybox", "A:B:C")) })
	step("push", func(within context.Context) (any, error) {
		all, err := messages(docker.ImagePush(within, at+"/busybox:2", image.PushOptions{RegistryAuth: "e30="}))
		if err != nil {
			return nil, err
		}
		return []any{all[0], all[len(all)-1]["aux"].(map[string]any)["Tag"]}, nil
	})
	step("push of what is not there", func(within context.Context) (any, error) {
		return last(messages(docker.ImagePush(within, at+"/nope", image.PushOptions{RegistryAuth: "e30="})))
	})
	step("save and load", func(within context.Context) (any, error) {
		saved, err := docker.ImageSave(within, []string{"busybox", at + "/busybox:2"})
		if err != nil {
			return nil, err
		}
		defer saved.Close()
		loaded, err := docker.ImageLoad(within, saved, true)
		if err != nil {
			return nil, err
		}
		text, err := read(loaded.Body, nil)
		return []any{loaded.JSON, text}, err
	})
	step("load of nonsense", func(within context.Context) (any, error) {
		loaded, err := docker.ImageLoad(within, strings.NewReader("nonsense"), false)
		if err != nil {
			return nil, err
		}
		_, err = messages(loaded.Body, nil)
		return err != nil, nil
	})
	step("import", func(within context.Context) (any, error) {
		source := types.ImageImportSource{Source: archive([2]string{"f", "x"}), SourceName: "-"}
		return last(messages(docker.ImageImport(within, source, "imported:1", image.ImportOptions{Message: "m", Changes: []string{"CMD true", "ENV A=b"}})))
	})
	step("what was imported", func(within context.Context) (any, error) {
		one, _, err := docker.ImageInspectWithRaw(within, "imported:1")
		return []any{one.Comment, one.Config}, err
	})
	build := func(dockerfile string, options types.ImageBuildOptions) func(context.Context) (any, error) {
		return func(within context.Context) (any, error) {
			built, err := docker.ImageBuild(within, archive([2]string{"Dockerfile", dockerfile}, [2]string{"f", "text\n"}), options)
			if err != nil {
				return nil, err
			}
			all, err := messages(built.Body, nil)
			if err != nil {
				return nil, err
			}
			var text strings.Builder
			for _, one := range all {
				if said, is := one["stream"].(string); is {
					text.WriteString(said)
				}
			}
			return []any{text.String(), all[len(all)-1]}, nil
		}
	}
	a := "arg"
	step("build", build("FROM busybox\nARG A\nCOPY f /f\nRUN echo $A; ulimit -n; cat /etc/hosts | tail -n 1; df /dev/shm | tail -n 1 | awk '{print $2}'\nLABEL own=1", types.ImageBuildOptions{
		Tags: []string{"built:1", "built:2"}, BuildArgs: map[string]*string{"A": &a}, Labels: map[string]string{"l": "m"}, Remove: true, ForceRemove: true,
		NoCache: true, Ulimits: []*units.Ulimit{{Name: "nofile", Soft: 99, Hard: 99}}, ExtraHosts: []string{"far:192.0.2.9"}, ShmSize: 1 << 20, NetworkMode: "none",
	}))
	step("build of a stage", build("FROM busybox AS one\nFROM one AS two\nRUN false", types.ImageBuildOptions{Target: "one", SuppressOutput: true, Memory: 1 << 26, ForceRemove: true}))
	step("build that fails", build("FROM busybox\nRUN exit 4", types.ImageBuildOptions{ForceRemove: true}))
	step("build without sense", build("NOPE", types.ImageBuildOptions{}))
	step("build of another file", build("FROM busybox", types.ImageBuildOptions{Dockerfile: "Nothing"}))
	step("build without an argument's value", build("FROM busybox\nARG A=x\nRUN echo $A", types.ImageBuildOptions{BuildArgs: map[string]*string{"A": nil}, Remove: true}))
	step("what was built", func(within context.Context) (any, error) {
		one, _, err := docker.ImageInspectWithRaw(within, "built:1")
		tags := one.RepoTags
		slices.Sort(tags)
		return []any{tags, one.Config.Labels}, err
	})
	step("remove", func(within context.Context) (any, error) {
		return docker.ImageRemove(within, "built:2", image.RemoveOptions{})
	})
	step("remove by force, parents and all", func(within context.Context) (any, error) {
		removed, err := docker.ImageRemove(within, "built:1", image.RemoveOptions{Force: true, PruneChildren: true})
		return removed[0], err
	})
	step("remove one that is not there", func(within context.Context) (any, error) {
		return docker.ImageRemove(within, "nope", image.RemoveOptions{})
	})
	for _, name := range []string{"imported:1", busybox, busybox + ":2"} {
		_, err := docker.ImageRemove(context.Background(), name, image.RemoveOptions{})
		must(err)
	}
	step("prune", func(within context.Context) (any, error) {
		_, err := docker.ImagesPrune(within, filters.NewArgs(filters.Arg("dangling", "true")))
		return done(err)
	})
	step("prune with a filter that there is not", func(within context.Context) (any, error) {
		return docker.ImagesPrune(within, filters.NewArgs(filters.Arg("nope", "true")))
	})
	step("what is left", func(within context.Context) (any, error) { return tags(docker.ImageList(within, image.ListOptions{})) })
}
