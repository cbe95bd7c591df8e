// Docker's own client for Go against a daemon: every method of it at least once, and what it says.
//
//	docker_go SOCKET REGISTRY API-VERSION
//
// REGISTRY is HOST:PORT as the daemon reaches it, with `busybox` in it; the daemon holds the image `busybox` and nothing else. Two
// daemons print the same.
package main

import (
	"fmt"
	"os"

	"github.com/docker/docker/client"
)

func main() {
	socket, registry, version := os.Args[1], os.Args[2], os.Args[3]
	docker, err := client.NewClientWithOpts(client.WithHost("unix://"+socket), client.WithVersion(version))
	must(err)
	system(docker, socket)
	images(docker, registry)
	containers(docker)
	streams(docker)
	networks(docker)
	volumes(docker)
	swarms(docker)
	must(docker.Close())
	fmt.Println("never called:", neverCalled())
}
