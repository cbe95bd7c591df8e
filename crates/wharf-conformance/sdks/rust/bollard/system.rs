//! The daemon as a whole.

use std::time::{SystemTime, UNIX_EPOCH};

use bollard::errors::Error;
use bollard::models::VolumeCreateRequest;
use bollard::query_parameters::{
    DataUsageOptions, EventsOptionsBuilder, PruneBuildOptionsBuilder, RemoveVolumeOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::StreamExt as _;
use serde_json::json;

use crate::told::{all, filters, messages, some, step};

pub(crate) async fn tell(docker: &Docker, socket: &str) {
    step("ping", async { Ok(docker.ping().await?.into()) }).await;
    step("negotiation", async {
        let docker = Docker::connect_with_unix(socket, 60, API_DEFAULT_VERSION)?;
        let docker = docker.negotiate_version().await?;
        Ok((docker.client_version().minor_version >= 45).into())
    })
    .await;
    step("version", async {
        let version = docker.version().await?;
        let whole = version.version.is_some() && version.kernel_version.is_some();
        Ok(json!([some(version, &["Os", "Arch"]), whole]))
    })
    .await;
    step("info", async {
        let names = [
            "OSType",
            "Containers",
            "Images",
            "Driver",
            "CgroupDriver",
            "IndexServerAddress",
            "LoggingDriver",
            "SecurityOptions",
        ];
        Ok(some(docker.info().await?, &names))
    })
    .await;
    step("disk usage", async {
        docker.df(None::<DataUsageOptions>).await?;
        Ok("done".into())
    })
    .await;
    events(docker).await;
    step("prune of builds", async {
        let only = PruneBuildOptionsBuilder::default()
            .all(true)
            .filters(&filters(&[("until", "24h")]))
            .build();
        Ok(all(docker.prune_build(Some(only)).await?))
    })
    .await;
    step("prune of builds with a filter that there is not", async {
        let only = PruneBuildOptionsBuilder::default()
            .filters(&filters(&[("nope", "x")]))
            .build();
        Ok(all(docker.prune_build(Some(only)).await?))
    })
    .await;
}

async fn events(docker: &Docker) {
    let volume = async |name: &str| -> Result<(), Error> {
        let wanted = VolumeCreateRequest {
            name: Some(name.to_owned()),
            ..Default::default()
        };
        docker.create_volume(wanted).await?;
        docker
            .remove_volume(name, None::<RemoveVolumeOptions>)
            .await
    };
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs()
    };
    step("events", async {
        let since = now().to_string();
        volume("told").await?;
        let only = EventsOptionsBuilder::default()
            .since(&since)
            .until(&(now() + 1).to_string())
            .filters(&filters(&[("type", "volume"), ("volume", "told")]))
            .build();
        let told = messages(docker.events(Some(only))).await?;
        Ok(told
            .iter()
            .map(|one| some(one, &["Type", "Action", "Actor", "scope"]))
            .collect())
    })
    .await;
    step("events of now", async {
        let only = EventsOptionsBuilder::default()
            .filters(&filters(&[("type", "volume"), ("event", "destroy")]))
            .build();
        let mut told = std::pin::pin!(docker.events(Some(only)));
        // It asks when it is polled first, and hears of what comes after the answer.
        let again = async {
            loop {
                volume("now").await?;
            }
        };
        let one = tokio::select! {
            one = told.next() => one,
            refused = again => return refused,
        };
        let one = one.transpose()?;
        Ok(one
            .map(|one| some(one, &["Type", "Action", "Actor", "scope"]))
            .into())
    })
    .await;
    step("events with a filter that there is not", async {
        let only = EventsOptionsBuilder::default()
            .since("0")
            .until("1")
            .filters(&filters(&[("type", "nope")]))
            .build();
        Ok(messages(docker.events(Some(only))).await?.into())
    })
    .await;
}
