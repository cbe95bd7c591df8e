//! Containers, from their making to their end.

use std::collections::HashMap;

use bollard::Docker;
use bollard::body_full;
use bollard::models::{
    ContainerConfig, ContainerCreateBody, ContainerUpdateBody, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount, MountTmpfsOptions, MountType, PortBinding, ResourcesUlimits,
    RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CommitContainerOptionsBuilder, ContainerArchiveInfoOptionsBuilder,
    CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder,
    InspectContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    PruneContainersOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions,
    RenameContainerOptionsBuilder, ResizeContainerTTYOptionsBuilder,
    RestartContainerOptionsBuilder, StatsOptionsBuilder, StopContainerOptionsBuilder,
    TopOptionsBuilder, UploadToContainerOptionsBuilder, WaitContainerOptionsBuilder,
};
use serde_json::{Value, json};

use crate::told::{
    Told, all, archive, bytes, done, filters, list, messages, names, some, start, step,
};

const NAME: &str = "gone-by";

pub(crate) async fn tell(docker: &Docker) {
    creation(docker).await;
    sights(docker).await;
    files(docker).await;
    changes(docker).await;
    ends(docker).await;
}

/// A container with a bit of everything.
fn wanted() -> ContainerCreateBody {
    let port = PortBinding {
        host_ip: Some("127.0.0.1".to_owned()),
        host_port: Some("18080".to_owned()),
    };
    let small = Mount {
        typ: Some(MountType::TMPFS),
        target: Some("/small".to_owned()),
        tmpfs_options: Some(MountTmpfsOptions {
            size_bytes: Some(1 << 20),
            ..Default::default()
        }),
        ..Default::default()
    };
    let kept = Mount {
        typ: Some(MountType::VOLUME),
        source: Some("kept".to_owned()),
        target: Some("/kept".to_owned()),
        ..Default::default()
    };
    let host = HostConfig {
        port_bindings: Some(HashMap::from([("80/tcp".to_owned(), Some(vec![port]))])),
        init: Some(true),
        cap_add: Some(list(&["NET_ADMIN"])),
        cap_drop: Some(list(&["MKNOD"])),
        dns: Some(list(&["192.0.2.53"])),
        extra_hosts: Some(list(&["far:192.0.2.9"])),
        security_opt: Some(list(&["no-new-privileges"])),
        mounts: Some(vec![small, kept]),
        memory: Some(1 << 26),
        memory_swap: Some(1 << 27),
        nano_cpus: Some(500_000_000),
        ulimits: Some(vec![ResourcesUlimits {
            name: Some("nofile".to_owned()),
            soft: Some(100),
            hard: Some(200),
        }]),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::ON_FAILURE),
            maximum_retry_count: Some(2),
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([("max-size".to_owned(), "1m".to_owned())])),
        }),
        sysctls: Some(HashMap::from([(
            "net.ipv4.ip_forward".to_owned(),
            "1".to_owned(),
        )])),
        shm_size: Some(1 << 20),
        ..Default::default()
    };
    ContainerCreateBody {
        image: Some("busybox".to_owned()),
        cmd: Some(list(&["sleep", "1000"])),
        env: Some(list(&["X=y"])),
        labels: Some(HashMap::from([("a".to_owned(), "b".to_owned())])),
        working_dir: Some("/tmp".to_owned()),
        user: Some("0:0".to_owned()),
        exposed_ports: Some(list(&["80/tcp", "53/udp"])),
        stop_signal: Some("SIGKILL".to_owned()),
        stop_timeout: Some(7),
        hostname: Some("host".to_owned()),
        healthcheck: Some(HealthConfig {
            test: Some(list(&["NONE"])),
            ..Default::default()
        }),
        volumes: Some(list(&["/volume"])),
        host_config: Some(host),
        ..Default::default()
    }
}

async fn creation(docker: &Docker) {
    let create = async |name: &str, platform: &str, config: ContainerCreateBody| -> Told {
        let options = CreateContainerOptionsBuilder::default()
            .name(name)
            .platform(platform)
            .build();
        Ok(all(docker.create_container(Some(options), config).await?))
    };
    let of = |image: &str| ContainerCreateBody {
        image: Some(image.to_owned()),
        ..Default::default()
    };
    step("create", create(NAME, "linux/amd64", wanted())).await;
    step("create with a name in use", create(NAME, "", of("busybox"))).await;
    step(
        "create of an image that is not there",
        create("no", "", of("nope")),
    )
    .await;
    step(
        "create of another platform",
        create("no", "linux/s390x", of("busybox")),
    )
    .await;
    let tiny = HostConfig {
        memory: Some(1),
        ..Default::default()
    };
    step(
        "create without sense",
        create(
            "no",
            "",
            ContainerCreateBody {
                host_config: Some(tiny),
                ..of("busybox")
            },
        ),
    )
    .await;
    step("start", async {
        done(docker.start_container(NAME, None).await)
    })
    .await;
    step("start twice", async {
        done(docker.start_container(NAME, None).await)
    })
    .await;
    step("start of what is not there", async {
        done(docker.start_container("nope", None).await)
    })
    .await;
}

async fn sights(docker: &Docker) {
    step("inspect", async {
        let one = docker.inspect_container(NAME, None).await?;
        let ports = one
            .network_settings
            .as_ref()
            .map(|settings| all(&settings.ports));
        let known = some(
            &one,
            &["Name", "Path", "Args", "Driver", "Platform", "RestartCount"],
        );
        let names = [
            "Hostname",
            "User",
            "ExposedPorts",
            "Env",
            "Cmd",
            "Healthcheck",
            "Image",
            "Volumes",
            "WorkingDir",
            "Labels",
            "StopSignal",
            "StopTimeout",
        ];
        Ok(json!([known, some(one.config, &names), ports]))
    })
    .await;
    step("inspect of its host's part", async {
        let mut host = docker
            .inspect_container(NAME, None)
            .await?
            .host_config
            .unwrap_or_default();
        // Names of its own, and more paths that are hidden.
        (host.runtime, host.masked_paths) = (None, None);
        Ok(all(host))
    })
    .await;
    step("inspect of its mounts", async {
        let mut mounts = docker
            .inspect_container(NAME, None)
            .await?
            .mounts
            .unwrap_or_default();
        mounts.sort_by_key(|mount| mount.destination.clone());
        Ok(mounts
            .iter()
            .map(|mount| {
                some(
                    mount,
                    &["Type", "Destination", "Driver", "Mode", "RW", "Propagation"],
                )
            })
            .collect())
    })
    .await;
    step("inspect with its size", async {
        let options = InspectContainerOptionsBuilder::default().size(true).build();
        let one = docker.inspect_container(NAME, Some(options)).await?;
        Ok(json!([
            one.size_rw,
            one.size_root_fs.is_some_and(|size| size > 0)
        ]))
    })
    .await;
    step("inspect of what is not there", async {
        Ok(all(docker.inspect_container("nope", None).await?))
    })
    .await;
    let listed = async |only: &[(&str, &str)]| -> Told {
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters(only))
            .build();
        let rows = docker.list_containers(Some(options)).await?;
        Ok(rows.into_iter().map(|row| all(row.names)).collect())
    };
    step("list", listed(&[])).await;
    step(
        "list by label and state",
        listed(&[("label", "a=b"), ("status", "running")]),
    )
    .await;
    step(
        "list by port and volume",
        listed(&[("publish", "18080"), ("volume", "kept")]),
    )
    .await;
    step("list of none", listed(&[("ancestor", "nope")])).await;
    step(
        "list with a filter that there is not",
        listed(&[("nope", "x")]),
    )
    .await;
    step("list, whole", async {
        let options = ListContainersOptionsBuilder::default()
            .size(true)
            .limit(1)
            .build();
        let rows = docker.list_containers(Some(options)).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                some(
                    row,
                    &[
                        "Names",
                        "Command",
                        "Image",
                        "Labels",
                        "State",
                        "Ports",
                        "SizeRw",
                        "HostConfig",
                    ],
                )
            })
            .collect())
    })
    .await;
    step("top", async {
        let options = TopOptionsBuilder::default().ps_args("-o pid,args").build();
        Ok(all(docker.top_processes(NAME, Some(options)).await?.titles))
    })
    .await;
    step("stats", async {
        let once = StatsOptionsBuilder::default()
            .stream(false)
            .one_shot(true)
            .build();
        let all = messages(docker.stats(NAME, Some(once))).await?;
        Ok(all
            .iter()
            .map(|one| {
                json!([
                    one["memory_stats"]["limit"],
                    one["pids_stats"]["current"],
                    one["networks"].as_object().map(|all| all.len())
                ])
            })
            .collect())
    })
    .await;
    step("stats of what is not there", async {
        Ok(messages(docker.stats("nope", None)).await?.into())
    })
    .await;
}

async fn files(docker: &Docker) {
    let upload = async |path: &str, name: &str| -> Told {
        let options = UploadToContainerOptionsBuilder::default()
            .path(path)
            .no_overwrite_dir_non_dir("true")
            .build();
        done(
            docker
                .upload_to_container(
                    NAME,
                    Some(options),
                    body_full(archive(&[(name, "text")]).into()),
                )
                .await,
        )
    };
    step("copy to it", upload("/", "new")).await;
    step("copy to where nothing is", upload("/nope", "new")).await;
    step("copy of a file over a folder", upload("/", "tmp")).await;
    let stat = async |path: &str| -> Told {
        let options = ContainerArchiveInfoOptionsBuilder::default()
            .path(path)
            .build();
        let stat = docker
            .get_container_archive_info(NAME, Some(options))
            .await?;
        Ok(json!([
            stat.name,
            stat.size,
            stat.file_mode,
            stat.link_target
        ]))
    };
    step("stat of a path", stat("/new")).await;
    step("stat of a path that is not there", stat("/nope")).await;
    let download = async |path: &str| -> Told {
        let options = DownloadFromContainerOptionsBuilder::default()
            .path(path)
            .build();
        Ok(names(&bytes(docker.download_from_container(NAME, Some(options))).await?).into())
    };
    step("copy from it", download("/new")).await;
    step("copy of what is not there", download("/nope")).await;
    step("changes", async {
        let changes = docker.container_changes(NAME).await?.unwrap_or_default();
        Ok(changes
            .iter()
            .filter(|one| one.path == "/new")
            .map(all)
            .collect())
    })
    .await;
    step("export", async {
        let names = names(&bytes(docker.export_container(NAME)).await?);
        Ok(json!([
            names.iter().any(|name| name == "new"),
            names.iter().any(|name| name == "bin/sh")
        ]))
    })
    .await;
    step("commit", async {
        let options = CommitContainerOptionsBuilder::default()
            .container(NAME)
            .repo("committed")
            .tag("t")
            .comment("c")
            .author("a")
            .pause(true)
            .changes("CMD true")
            .build();
        let config = ContainerConfig {
            labels: Some(HashMap::from([("c".to_owned(), "d".to_owned())])),
            ..Default::default()
        };
        docker.commit_container(options, config).await?;
        let one = docker.inspect_image("committed:t").await?;
        docker
            .remove_image("committed:t", None::<RemoveImageOptions>, None)
            .await?;
        Ok(json!([
            one.author,
            one.comment,
            some(one.config, &["Cmd", "Labels", "Env", "WorkingDir"])
        ]))
    })
    .await;
}

async fn changes(docker: &Docker) {
    step("pause", async { done(docker.pause_container(NAME).await) }).await;
    step("pause twice", async {
        done(docker.pause_container(NAME).await)
    })
    .await;
    step("state of what is paused", state(docker)).await;
    step("unpause", async {
        done(docker.unpause_container(NAME).await)
    })
    .await;
    let update = async |memory: i64, swap: i64| -> Told {
        let body = ContainerUpdateBody {
            memory: Some(memory),
            memory_swap: Some(swap),
            ..Default::default()
        };
        docker.update_container(NAME, body).await?;
        let host = docker
            .inspect_container(NAME, None)
            .await?
            .host_config
            .unwrap_or_default();
        Ok(json!([host.memory, host.memory_swap]))
    };
    step("update", update(1 << 27, 1 << 28)).await;
    step("update without sense", update(1 << 28, 1 << 27)).await;
    let options = ResizeContainerTTYOptionsBuilder::default()
        .h(10)
        .w(20)
        .build();
    step("resize", async {
        done(docker.resize_container_tty(NAME, options).await)
    })
    .await;
    let rename = async |from: &str, to: &str| {
        done(
            docker
                .rename_container(
                    from,
                    RenameContainerOptionsBuilder::default().name(to).build(),
                )
                .await,
        )
    };
    step("rename", rename(NAME, "other")).await;
    step("rename back", rename("other", NAME)).await;
    step("rename without sense", rename(NAME, "no/such")).await;
    let options = RestartContainerOptionsBuilder::default().t(0).build();
    step("restart", async {
        done(docker.restart_container(NAME, Some(options)).await)
    })
    .await;
}

async fn state(docker: &Docker) -> Told {
    let state = docker.inspect_container(NAME, None).await?.state;
    Ok(some(
        state,
        &["Status", "ExitCode", "Running", "Paused", "Error"],
    ))
}

async fn ends(docker: &Docker) {
    let kill = async |signal: &str| {
        done(
            docker
                .kill_container(
                    NAME,
                    Some(
                        KillContainerOptionsBuilder::default()
                            .signal(signal)
                            .build(),
                    ),
                )
                .await,
        )
    };
    let wait = async |name: &str, condition: &str| -> Told {
        let options = WaitContainerOptionsBuilder::default()
            .condition(condition)
            .build();
        Ok(messages(docker.wait_container(name, Some(options)))
            .await?
            .into())
    };
    step("kill without sense", kill("SIGNOPE")).await;
    step("kill and wait", async {
        // A container that is killed is waited for first by way of its next exit; it may have ended before that.
        kill("KILL").await?;
        Ok(wait(NAME, "not-running")
            .await
            .map_or_else(|error| error.to_string().into(), Value::from))
    })
    .await;
    step("state of what has ended", state(docker)).await;
    step("kill of what has ended", kill("KILL")).await;
    step("stop of what has ended", async {
        done(docker.stop_container(NAME, None).await)
    })
    .await;
    step("stop", async {
        docker.start_container(NAME, None).await?;
        done(
            docker
                .stop_container(
                    NAME,
                    Some(
                        StopContainerOptionsBuilder::default()
                            .signal("SIGINT")
                            .t(1)
                            .build(),
                    ),
                )
                .await,
        )
    })
    .await;
    step("wait for what is not there", wait("nope", "not-running")).await;
    step("wait without sense", wait(NAME, "nope")).await;
    step("wait for a good end", async {
        start(docker, "good", &["true"], ContainerCreateBody::default()).await?;
        wait("good", "not-running").await
    })
    .await;
    let remove = async |name: &str, force: bool| {
        done(
            docker
                .remove_container(
                    name,
                    Some(
                        RemoveContainerOptionsBuilder::default()
                            .v(true)
                            .force(force)
                            .build(),
                    ),
                )
                .await,
        )
    };
    step("remove one that runs", async {
        docker.start_container(NAME, None).await?;
        remove(NAME, false).await
    })
    .await;
    step("remove by force", remove(NAME, true)).await;
    step("remove what is not there", remove(NAME, false)).await;
    let prune = async |only: &[(&str, &str)]| -> Told {
        let options = PruneContainersOptionsBuilder::default()
            .filters(&filters(only))
            .build();
        Ok(all(docker.prune_containers(Some(options)).await?))
    };
    step("prune", prune(&[("until", "24h")])).await;
    step("prune of all", prune(&[])).await;
    step(
        "prune with a filter that there is not",
        prune(&[("nope", "x")]),
    )
    .await;
}
