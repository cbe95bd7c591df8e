//! Networks.

use std::collections::HashMap;

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig,
    NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::{
    InspectNetworkOptionsBuilder, ListNetworksOptionsBuilder, PruneNetworksOptionsBuilder,
    RemoveContainerOptionsBuilder,
};
use serde_json::json;

use crate::told::{Told, all, done, filters, list, some, start, step};

pub(crate) async fn tell(docker: &Docker) {
    creation(docker).await;
    members(docker).await;
    step("remove", async { done(docker.remove_network("net").await) }).await;
    step("remove of what is not there", async {
        done(docker.remove_network("net").await)
    })
    .await;
    step("remove of what is always there", async {
        done(docker.remove_network("bridge").await)
    })
    .await;
    let prune = async |only: &[(&str, &str)]| -> Told {
        let options = PruneNetworksOptionsBuilder::default()
            .filters(&filters(only))
            .build();
        Ok(all(docker.prune_networks(Some(options)).await?))
    };
    step("prune of networks", prune(&[])).await;
    step(
        "prune of networks with a filter that there is not",
        prune(&[("nope", "x")]),
    )
    .await;
}

async fn creation(docker: &Docker) {
    let subnet = IpamConfig {
        subnet: Some("192.0.2.0/24".to_owned()),
        gateway: Some("192.0.2.1".to_owned()),
        ..Default::default()
    };
    let wanted = NetworkCreateRequest {
        name: "net".to_owned(),
        driver: Some("bridge".to_owned()),
        internal: Some(true),
        attachable: Some(true),
        ipam: Some(Ipam {
            config: Some(vec![subnet]),
            ..Default::default()
        }),
        options: Some(HashMap::from([(
            "com.docker.network.driver.mtu".to_owned(),
            "1400".to_owned(),
        )])),
        labels: Some(HashMap::from([("a".to_owned(), "b".to_owned())])),
        ..Default::default()
    };
    let create = async |wanted: NetworkCreateRequest| -> Told {
        Ok(all(docker.create_network(wanted).await?))
    };
    step("create a network", create(wanted.clone())).await;
    step("create it twice", create(wanted)).await;
    step(
        "create one without a driver",
        create(NetworkCreateRequest {
            name: "no".to_owned(),
            driver: Some("nope".to_owned()),
            ..Default::default()
        }),
    )
    .await;
    step("inspect a network", async {
        let options = InspectNetworkOptionsBuilder::default()
            .scope("local")
            .build();
        let one = docker.inspect_network("net", Some(options)).await?;
        Ok(some(
            one,
            &[
                "Name",
                "Scope",
                "Driver",
                "EnableIPv6",
                "IPAM",
                "Internal",
                "Attachable",
                "Ingress",
                "Options",
                "Labels",
            ],
        ))
    })
    .await;
    step("inspect of a network that there is not", async {
        Ok(all(docker.inspect_network("nope", None).await?))
    })
    .await;
    let listed = async |only: &[(&str, &str)]| -> Told {
        let options = ListNetworksOptionsBuilder::default()
            .filters(&filters(only))
            .build();
        let mut names: Vec<_> = docker
            .list_networks(Some(options))
            .await?
            .into_iter()
            .map(|one| one.name)
            .collect();
        names.sort();
        Ok(all(names))
    };
    step("networks", listed(&[])).await;
    step("networks by label", listed(&[("label", "a=b")])).await;
    step(
        "networks with a filter that there is not",
        listed(&[("nope", "x")]),
    )
    .await;
}

async fn members(docker: &Docker) {
    step("connect", async {
        start(
            docker,
            "member",
            &["sleep", "1000"],
            ContainerCreateBody::default(),
        )
        .await?;
        let endpoint = EndpointSettings {
            aliases: Some(list(&["alias"])),
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some("192.0.2.9".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let wanted = NetworkConnectRequest {
            container: "member".to_owned(),
            endpoint_config: Some(endpoint),
        };
        docker.connect_network("net", wanted).await?;
        let settings = docker
            .inspect_container("member", None)
            .await?
            .network_settings
            .unwrap_or_default();
        let mut networks: Vec<_> = settings.networks.unwrap_or_default().into_iter().collect();
        networks.sort_by_key(|(name, _)| name.clone());
        Ok(networks
            .iter()
            .map(|(name, one)| json!([name, some(one, &["IPAMConfig", "Gateway", "IPPrefixLen"])]))
            .collect())
    })
    .await;
    step("connect twice", async {
        let wanted = NetworkConnectRequest {
            container: "member".to_owned(),
            ..Default::default()
        };
        done(docker.connect_network("net", wanted).await)
    })
    .await;
    step("members", async {
        let one = docker.inspect_network("net", None).await?;
        Ok(one
            .containers
            .unwrap_or_default()
            .values()
            .map(|one| some(one, &["Name", "IPv4Address", "IPv6Address"]))
            .collect())
    })
    .await;
    step("remove of one with members", async {
        Ok(docker.remove_network("net").await.is_err().into())
    })
    .await;
    let disconnect = async || {
        let wanted = NetworkDisconnectRequest {
            container: "member".to_owned(),
            force: Some(false),
        };
        done(docker.disconnect_network("net", wanted).await)
    };
    step("disconnect", disconnect()).await;
    step("disconnect twice", disconnect()).await;
    step("members end", async {
        done(
            docker
                .remove_container(
                    "member",
                    Some(RemoveContainerOptionsBuilder::default().force(true).build()),
                )
                .await,
        )
    })
    .await;
}
